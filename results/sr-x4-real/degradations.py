"""One architecture, trained with degraded inputs and without: a table and a sheet beside this file.

python -P results/sr-x4-real/degradations.py PHOTOGRAPHS
"""

import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from torch import Tensor

from evo_c2f.json_text import to_json
from evo_c2f.runs import recipe
from evo_c2f.runs.run import RunFolder, write_text
from evo_c2f.scores.tables import markdown
from evo_c2f.workers.machine import Machine
from evo_c2f.workflows.finetune import finetuned
from evo_c2f.workflows.session import Session, make_job
from supernet import load_model
from supernet.data.images import resize_bicubic
from supernet.drawing.sheet import draw_sheet, sample_columns
from supernet.jobs.finetune import Finetuning, plan_of
from supernet.jobs.job import Job

Network = Callable[[Tensor], Tensor]
HERE = Path(__file__).parent
SEARCHED = HERE.parent / "sr-x4" / "models" / "0.6MB-scratch-32000"  # its architecture is trained anew
INPUTS: dict[str, tuple[str, ...]] = {"degraded": (), "bicubic": ("data.degradation=null",)}


def trained(photographs: str, inputs: str) -> Job:
    """Train the architecture into models/<inputs>, unless that is done. Returns the job, with the held-out images."""
    settings, machine = recipe.load("sr-x4-real", (f"data.folder={photographs}", *INPUTS[inputs])), Machine(threads=1)
    run = RunFolder.begin(HERE / "models" / inputs, settings)
    session = Session(run, settings, make_job(settings, machine, run=run), machine)
    training, how = settings.for_finetuning(), settings.finetune
    about = {"network": SEARCHED.name, "start": "scratch", "inputs": inputs, "rounds": how.rounds, "batch": how.batch}
    work = Finetuning(session.job, run.folder, training, plan_of(how, training.losses, None), about)
    finetuned(session, work, session.job.fresh(load_model(SEARCHED).architecture))
    return session.job


def draw(networks: Mapping[str, Network]) -> None:
    """Write the sheet: photographs that come with scikit-image, which the networks have not seen, with degradations."""
    job = make_job(recipe.load("sr-x4-real", ("data.folder=embedded", "data.validation_images=10")), Machine(threads=1))
    titled = {name.replace("on ", "on\n"): network for name, network in networks.items()}
    draw_sheet(sample_columns(job.data.full(), titled, job.device), HERE / "sheet.png")


def main(photographs: str) -> None:
    jobs = {inputs: trained(photographs, inputs) for inputs in INPUTS}
    networks: dict[str, Network] = {"bicubic": partial(resize_bicubic, scale=4)}
    networks |= {f"trained on {inputs} inputs": load_model(HERE / "models" / inputs).eval() for inputs in INPUTS}
    rows = []
    for inputs, job in jobs.items():
        score = job.score(["lpips", "psnr_y", "ssim_y"], full=True)
        rows += [{"inputs": inputs, "network": name, **score.of(network)} for name, network in networks.items()]
    draw(networks)
    write_text(HERE / "degradations.json", to_json(rows, indent=1) + "\n")
    write_text(HERE / "degradations.md", markdown(rows))


if __name__ == "__main__":
    main(*sys.argv[1:])
