"""How fast one GPU trains: a network alone and a supernet, beside a plain torch loop. Some two minutes.

python benchmarks/gpu/01_speed.py --data PHOTOGRAPHS --out results/sr-x4/gpu
"""

from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path

import click
import numpy as np
import torch
import torch.nn.functional as F
from common import Row, Table
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from evo_c2f.runs import recipe
from evo_c2f.runs.sections import TrainingSection
from evo_c2f.workers.machine import Machine
from evo_c2f.workflows.session import make_job
from supernet.jobs.job import Job
from supernet.network.generator import Supernet
from supernet.network.plain import PlainUpscaler
from supernet.rounds.fairness import FairRounds
from supernet.rounds.students import Alone, SharedSubnets, Students
from supernet.timing import seconds
from supernet.training import loop
from supernet.training.captured import WARM_UPS, Captured, Round
from supernet.training.learning import Learning
from supernet.training.losses import spectrum_distance
from supernet.training.optimizer import make_optimizer
from supernet.training.precision import Precision, casting

SPECTRUM, PATCH = 0.05, 24
PRECISIONS: tuple[Precision, ...] = ("float32", "tf32", "bf16")
Step = Callable[[int], object]
Loop = Callable[[Job, nn.Module, Precision, int, int], Step]


def measured(step: Step, images: int, rounds: int, device: torch.device) -> Row:
    """Images and rounds a second, the share of the time in which kernels ran, and the peak memory of some steps."""
    for index in range(2 * WARM_UPS):
        step(index)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    took = seconds(lambda: [step(index) for index in range(rounds)], device)
    row: Row = {"images_per_s": images * rounds / took, "rounds_per_s": rounds / took}
    if device.type == "cuda":
        with profile(activities=[ProfilerActivity.CUDA]) as profiler:
            traced = seconds(lambda: [step(index) for index in range(rounds)], device)
        kernels = sum(event.self_device_time_total for event in profiler.key_averages())
        row |= {"busy": kernels / 1e6 / traced, "peak_mb": torch.cuda.max_memory_allocated(device) / 1e6}
    return row


def settings(precision: Precision) -> TrainingSection:
    losses = {"l1": 1.0, "spectrum": SPECTRUM}
    return TrainingSection.model_validate(
        {"rounds": 100_000, "optimizer": "muon", "learning_rate": 0.001, "precision": precision, "losses": losses}
    )


def our_loop(job: Job, network: nn.Module, precision: Precision, side: int, batch: int, recorded: bool = False) -> Step:
    """A round of the project's loop: its batch, its update, its EMA."""
    batches, how = job.data.training((job.seed, 0, 3), side, batch), settings(precision)
    students: Students = Alone(network)
    if isinstance(network, Supernet):
        students = SharedSubnets(network, FairRounds(job.space, "joint", None, np.random.default_rng(0)))
    learning = Learning(students, job.criterion(how, None), how)
    run: Round = partial(loop.one_round, learning)
    if recorded:
        run = Captured(learning, run, loop.recordable_round)

    def step(index: int) -> object:
        source, target = (t.to(job.device, memory_format=torch.channels_last) for t in batches[index])
        learning.index += 1
        return run(source, target)

    return step


recorded_loop = partial(our_loop, recorded=True)


def plain_loop(job: Job, network: nn.Module, precision: Precision, side: int, batch: int) -> Step:
    """The loop that one writes by hand around the same network, on one batch that lies on the GPU."""
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    source, target = (t.to(job.device) for t in job.data.training((job.seed, 0, 3), side, batch)[0])
    optimizer = make_optimizer("muon", list(network.parameters()), 0.001, (0.9, 0.99))

    def step(index: int) -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        with casting(job.device, precision):
            output = network(source).float()
        loss = F.l1_loss(output, target) + SPECTRUM * spectrum_distance(output, target)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


@click.command()
@click.option("--data", default="embedded", help="A folder of photographs.")
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--rounds", default=100, help="Of each row.")
@click.option("--batch", default=64)
@click.option("--side", "sides", multiple=True, default=(32, 64), help="Of the patches of the network alone.")
@click.option("--precision", "precisions", multiple=True, default=PRECISIONS, type=click.Choice(PRECISIONS))
@click.option("--device", default="auto")
def main(data: str, out: Path, rounds: int, batch: int, sides: tuple[int, ...], precisions: tuple[Precision, ...],
         device: str) -> None:  # fmt: skip
    """Write 01_speed.json and 01_speed.md to --out."""
    held_out = ("data.validation_images=2", "data.validation_crops=2", "data.crop=64")
    job = make_job(recipe.load("sr-x4", (f"data.folder={data}", *held_out)), Machine(device))
    table = Table(out, "01_speed", job.device)
    loops: dict[str, Loop] = {"plain torch": plain_loop, "usual": our_loop}
    if job.device.type == "cuda":
        loops["recorded"] = recorded_loop
    for side, precision, (name, loop_of) in product(sides, precisions, loops.items()):
        key = {"what": "network of 1.5 MB", "patch": side, "batch": batch, "precision": precision, "loop": name}
        if not table.find(key):
            step = loop_of(job, PlainUpscaler().to(job.device), precision, side, batch)
            table.add({**key, **measured(step, batch, rounds, job.device)})
    for precision in precisions:
        key = {"what": "supernet of sr-x4", "patch": PATCH, "batch": batch, "precision": precision, "loop": "usual"}
        if not table.find(key):
            step = our_loop(job, job.supernet(), precision, PATCH, batch)
            table.add({**key, **measured(step, batch, max(1, rounds // 4), job.device)})


if __name__ == "__main__":
    main()
