"""Habits of training, each from scratch on one small subnet and as many images: ablation.md and .json beside this file.

python -P results/sr-x4/ablation.py PHOTOGRAPHS
"""

import json
import os
import sys
import tempfile
from pathlib import Path

import torch

from evo_c2f.json_text import to_json
from evo_c2f.runs import recipe
from evo_c2f.runs.run import write_text
from evo_c2f.scores.tables import markdown
from evo_c2f.space import Architecture, Cell
from supernet import checkpoint
from supernet.data.photograph_data import PhotographData
from supernet.jobs.alone import TrainingAlone
from supernet.jobs.finetune import plan_of
from supernet.jobs.job import Job
from supernet.metrics.tasks import SuperResolution

IMAGES = 16_000
WIDTH, BLOCKS = 24, 7  # 0.33 MB: four minutes on one slow core
LATE = "finetune.phases=[{until: 0.7, side: 32}, {until: 1, side: 48}]"
SPECTRUM = "finetune.phases=[{until: 1, side: 32, losses: {l1: 1, spectrum: 0.05}}]"
L2 = "finetune.phases=[{until: 0.9, side: 32}, {until: 1, side: 32, losses: {l1: 0, l2: 1}}]"
MUON = ("finetune.optimizer=muon", "finetune.learning_rate=0.003")
HABITS: dict[str, tuple[int, tuple[str, ...]]] = {
    "Muon, learning rate 0.003, batch 4, L1": (4, MUON),
    "the same, patches of 48 instead of 32 in the last 30 %": (4, (*MUON, LATE)),
    "the same, L1 + 0.05 spectrum": (4, (*MUON, SPECTRUM)),
    "the same, L2 in the last 10 %": (4, (*MUON, L2)),
    "Adam, learning rate 0.001, batch 4, L1": (4, ()),
    "Adam, learning rate 0.001, batch 16, L1": (16, ()),
}


def trained(photographs: str, batch: int, changes: tuple[str, ...]) -> dict[str, float]:
    """The PSNR on the whole held-out photographs, and the seconds of training."""
    usual = (
        f"data.folder={photographs}",
        f"finetune.batch={batch}",
        f"finetune.rounds={IMAGES // batch}",
        "finetune.optimizer=adam",
        "finetune.learning_rate=0.001",
        "finetune.phases=[{until: 1, side: 32}]",
    )
    settings = recipe.load("sr-x4", (*usual, *changes))
    assert isinstance(settings, recipe.SuperResolutionRecipe)
    how, data = settings.finetune, PhotographData(settings.data, 4, settings.seed, print)
    job = Job(settings.space, SuperResolution(4), data, settings.seed, torch.device("cpu"))
    cells = tuple(Cell(position, 2, "residual", WIDTH) for position in range(BLOCKS))
    network = job.fresh(Architecture(cells, ((2, WIDTH),)))
    training = settings.training.model_copy(
        update={key: getattr(how, key) for key in ("rounds", "optimizer", "learning_rate", "final_rate", "ema")}
    )
    with tempfile.TemporaryDirectory() as folder:
        target, notes = Path(folder) / "trained.safetensors", dict[str, float]()
        plan = plan_of(how, settings.training.losses, None)
        TrainingAlone(job, training, plan).run(network, target, notes, lambda index, loss: None)
        network.load_state_dict(checkpoint.load(target)[0])
    return job.score(["psnr_y"], full=True).of(network.eval()) | {"seconds": notes["seconds"]}


def main(photographs: str) -> None:
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    table = Path(__file__).with_name("ablation.json")
    done: dict[str, dict[str, float]] = json.loads(table.read_text(encoding="utf-8")) if table.is_file() else {}
    for habit, (batch, changes) in HABITS.items():
        if habit not in done:
            done[habit] = trained(photographs, batch, changes)
            write_text(table, to_json(done, indent=1) + "\n")
    write_text(table.with_suffix(".md"), markdown([{"habit": habit, **row} for habit, row in done.items()]))


if __name__ == "__main__":
    main(sys.argv[1])
