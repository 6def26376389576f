"""How fast one GPU trains: a network alone and a supernet, beside a plain torch loop. Some two minutes.

python benchmarks/gpu/01_speed.py --data PHOTOGRAPHS --out results/sr-x4/gpu
"""

from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path

import click
from common import Table

from evo_c2f.runs import recipe
from evo_c2f.sections.training import TrainingSection
from evo_c2f.workers.machine import Machine
from evo_c2f.workflows.session import make_job
from supernet.jobs.bench import Step, our_loop, plain_loop, speed
from supernet.network.plain import PlainUpscaler
from supernet.training.precision import Precision

PATCH = 24
PRECISIONS: tuple[Precision, ...] = ("float32", "tf32", "bf16")


def settings(precision: Precision) -> TrainingSection:
    how = {"rounds": 100_000, "optimizer": "muon", "learning_rate": 0.001, "precision": precision}
    return TrainingSection.model_validate(how)


@click.command()
@click.option("--data", default="embedded", help="A folder of photographs.")
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--rounds", default=100, help="Of each row.")
@click.option("--batch", default=64)
@click.option("--side", "sides", multiple=True, default=(32, 64), help="Of the patches of the network alone.")
@click.option("--precision", "precisions", multiple=True, default=PRECISIONS, type=click.Choice(PRECISIONS))
@click.option("--device", default="auto")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE")
def main(data: str, out: Path, rounds: int, batch: int, sides: tuple[int, ...], precisions: tuple[Precision, ...],
         device: str, changes: tuple[str, ...]) -> None:  # fmt: skip
    """Write 01_speed.json and 01_speed.md to --out."""
    held_out = ("data.validation_images=2", "data.validation_crops=2", "data.crop=64")
    job = make_job(recipe.load("sr-x4", (f"data.folder={data}", *held_out, *changes)), Machine(device))
    table = Table(out, "01_speed", job.device)
    loops: dict[str, Callable[..., Step]] = {"plain torch": plain_loop, "usual": partial(our_loop, recorded=False)}
    if job.device.type == "cuda":
        loops["recorded"] = partial(our_loop, recorded=True)
    for side, precision, (name, loop_of) in product(sides, precisions, loops.items()):
        key = {"what": "network of 1.5 MB", "patch": side, "batch": batch, "precision": precision, "loop": name}
        if not table.find(key):
            step = loop_of(job, PlainUpscaler().to(job.device), settings(precision), side, batch)
            table.add({**key, **speed(step, batch, rounds, job.device)})
    for precision in precisions:
        key = {"what": "supernet of sr-x4", "patch": PATCH, "batch": batch, "precision": precision, "loop": "usual"}
        if not table.find(key):
            step = our_loop(job, job.supernet(), settings(precision), PATCH, batch)
            table.add({**key, **speed(step, batch, max(1, rounds // 4), job.device)})


if __name__ == "__main__":
    main()
