"""A plain network, trained as `study winners` trains, with three seeds.

python -P results/sr-x4-fast/plain.py RUN WIDTHxBLOCKS IMAGES Set5 Set14
"""

import sys
from pathlib import Path

from evo_c2f.runs.run import RunFolder
from evo_c2f.workers.machine import Machine
from evo_c2f.workflows.progress import silent
from evo_c2f.workflows.session import open_session
from evo_c2f.workflows.studies.winners import train_contenders
from supernet.jobs.contestants import Contestant

BATCH = 4  # the recipe's, in `finetune`

if __name__ == "__main__":  # processes of the study import this file
    run, name, images, *benchmarks = sys.argv[1:]
    width, blocks = map(int, name.split("x"))
    rounds = f"finetune.rounds={int(images) // BATCH}"
    session = open_session(RunFolder.open(Path(run)), Machine(threads=1, workers=2), silent, (rounds,))
    networks = [(f"plain-{name}", Contestant(plain=(width, blocks)), seed) for seed in range(3)]
    for row in train_contenders(session, networks, int(images), [*map(Path, benchmarks)]):
        print({quality: value for quality, value in row.items() if "psnr" in quality}, flush=True)
