"""How far ten minutes of a GPU bring the 1.49 MB network, beside the best hand-made one. It takes up where it stopped.

python benchmarks/gpu/02_sr.py --data PHOTOGRAPHS --benchmark Set5 --benchmark Set14 --out results/sr-x4/gpu
"""

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import click
from common import ROOT, Table

from evo_c2f.runs import recipe
from evo_c2f.runs.run import RunFolder
from evo_c2f.space import Architecture
from evo_c2f.workers.machine import Machine
from evo_c2f.workflows.session import Session, make_job
from evo_c2f.workflows.studies.winners import train_contenders
from supernet import checkpoint
from supernet.jobs.alone import Plan, TrainingAlone
from supernet.jobs.contestants import Contestant
from supernet.models.model import FILE
from supernet.timing import seconds

SEARCHED = ROOT / "results" / "sr-x4" / "models" / "1.49MB-scratch-32000" / FILE
HAND_MADE = (36, 14)  # channels and blocks: the best plain network of this size (results/sr-x4)
JUDGING = 30  # seconds for start and judgement
TRIED = 200  # rounds by which the rate of the training is measured


def images_within(session: Session, networks: Iterable[Contestant], left: float) -> int:
    """How many images each network can be trained on, if all are to be done in that many seconds."""
    settings, job = session.settings, session.job
    training, spent = settings.for_finetuning().lasting(TRIED), 0.0
    alone = TrainingAlone(job, training, Plan(settings.finetune.batch))
    file = session.run.folder / "tried.safetensors"
    for network in networks:
        spent += seconds(partial(alone.run, network.build(job), file, {}, lambda index, loss: None), job.device)
        file.unlink()
    # The last fifth of the rounds has patches of four times the area: 1.6 times as long on the whole.
    return int(left / 1.6 / spent * TRIED) * (settings.finetune.batch or settings.data.batch)


@click.command()
@click.option("--data", default="embedded", help="A folder of photographs.")
@click.option("--benchmark", "benchmarks", type=click.Path(path_type=Path, exists=True), multiple=True)
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--minutes", default=7.0)
@click.option("--images", type=int, help="In place of as many as the minutes allow.")
@click.option("--device", default="auto")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE")
def main(data: str, benchmarks: tuple[Path, ...], out: Path, minutes: float, images: int | None, device: str,
         changes: tuple[str, ...]) -> None:  # fmt: skip
    """Train both alike; write 02_sr.json and 02_sr.md to --out."""
    machine = Machine(device)
    settings = recipe.load("sr-x4-gpu", (f"data.folder={data}", *changes))
    run = RunFolder.begin(out / "02_sr", settings)
    run.keep_recipe()
    session = Session(run, settings, make_job(settings, machine), machine)
    searched = checkpoint.load(SEARCHED)[1]
    networks = {
        "searched": Contestant(Architecture.from_dict(searched["architecture"])),
        "hand-made": Contestant(plain=HAND_MADE),
    }
    table = Table(out, "02_sr", session.job.device)
    plan = table.find({"what": "plan"})
    if not plan:
        n = images or images_within(session, networks.values(), 60 * minutes - JUDGING)
        plan = table.add({"what": "plan", "images": n})
    for name, network in networks.items():
        if not table.find({"what": name}):
            (found,) = train_contenders(session, [(name, network, 0)], plan["images"], benchmarks)
            table.add({"what": name, "images": plan["images"], **found})


if __name__ == "__main__":
    main()
