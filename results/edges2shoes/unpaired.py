"""Held-out shoes by CycleGAN and by the network that learnt from it: unpaired.png beside this file.

python -P results/edges2shoes/unpaired.py PAIRS results/cyclegan/models/teacher.safetensors results/apart/twelfth
"""

import sys
from pathlib import Path

from evo_c2f.runs import recipe
from evo_c2f.workers.machine import Machine
from evo_c2f.workflows.session import make_job
from supernet import load_model
from supernet.drawing.sheet import draw_sheet, sample_columns


def main(pairs: str, teacher: str, student: str) -> None:
    settings = recipe.load("edges2shoes-64", (f"data.folder={pairs}", "data.direction=BtoA"))
    job = make_job(settings, Machine(threads=1))
    networks = {"CycleGAN": load_model(Path(teacher)).eval(), "1/12 of its MACs": load_model(Path(student)).eval()}
    draw_sheet(sample_columns(job.data.full(), networks, job.device), Path(__file__).parent / "unpaired.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
