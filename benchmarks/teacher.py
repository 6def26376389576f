"""What a teacher costs a round of training, once its outputs are on disk: CPU time with and without it.

python benchmarks/teacher.py
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import Tensor

from evo_c2f.runs import recipe
from evo_c2f.workers.machine import Machine
from evo_c2f.workflows.session import make_job
from supernet.data.images import resize_bicubic
from supernet.rounds.sampling import make_rounds
from supernet.rounds.students import SharedSubnets
from supernet.teachers.outputs import Outputs, Taught
from supernet.training.learning import Learning
from supernet.training.loop import one_round

ROUNDS, FIRST = 40, 4  # the first ones are not counted


def enlarged(x: Tensor) -> Tensor:
    return resize_bicubic(x, 4).clamp(0, 1)


def rounds_of(settings: recipe.Recipe, folder: Path | None) -> Callable[[int], None]:
    """A function that takes a batch by its number, and trains a round on it. folder: for a teacher's outputs."""
    job = make_job(settings, Machine(threads=1))
    if folder:
        outputs = Outputs(folder, "bicubic", enlarged, 1 << 30, torch.device("cpu"))
        job.data.taught = Taught(outputs, 4, alone=False)
        for source, _ in job.data.samples(1000):
            outputs.of(source)
    supernet, how = job.supernet(), settings.training
    rounds = make_rounds(how.sampler, job.space, "joint", None, np.random.default_rng(0))
    learning = Learning(SharedSubnets(supernet, rounds, how.divide_gradients), job.criterion(how, supernet), how)
    batches = job.data.training((0,))

    def train(index: int) -> None:
        one_round(learning, *batches[index])
        learning.index += 1

    return train


def seconds(work: Callable[[int], None], index: int) -> float:
    started = time.process_time()
    work(index)
    return time.process_time() - started


def main() -> None:
    plain = recipe.load("quick", ("training.stages=[joint]",))
    taught = plain.with_teacher("bicubic", "").model_copy(update={"teacher": plain.teacher})
    with tempfile.TemporaryDirectory() as folder:
        without, with_it = rounds_of(plain, None), rounds_of(taught, Path(folder))
        # In turn, so that what else the machine does falls on both alike.
        pairs = [(seconds(without, index), seconds(with_it, index)) for index in range(ROUNDS)][FIRST:]
    a, b = (1000 * median(each) for each in zip(*pairs, strict=True))
    ratio = median(taken / usual for usual, taken in pairs)
    print(f"a round: {a:.1f} ms of CPU time without a teacher, {b:.1f} ms with one; in the median {ratio - 1:+.1%}")


if __name__ == "__main__":
    main()
