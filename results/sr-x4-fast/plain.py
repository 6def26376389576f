"""The plain network of 8 blocks and 48 channels, trained as `study winners --ratio 1` trains, with three seeds.

python -P results/sr-x4-fast/plain.py RUN Set5 Set14
"""

import sys
from pathlib import Path

from evo_c2f.runs.run import RunFolder
from evo_c2f.workers.machine import Machine
from evo_c2f.workflows.progress import silent
from evo_c2f.workflows.session import open_session
from evo_c2f.workflows.studies.winners import train_contenders
from supernet.jobs.contestants import Contestant

IMAGES = 4000

if __name__ == "__main__":  # processes of the study import this file
    run, *benchmarks = map(Path, sys.argv[1:])
    session = open_session(RunFolder.open(run), Machine(threads=1, workers=2), silent, ("finetune.rounds=1000",))
    networks = [("plain-48x8", Contestant(plain=(48, 8)), seed) for seed in range(3)]
    for row in train_contenders(session, networks, IMAGES, benchmarks):
        print({name: value for name, value in row.items() if "psnr" in name}, flush=True)
