"""What a teacher costs a round of training, once its outputs are on disk: CPU time with and without it.

python benchmarks/teacher.py
"""

import tempfile
import time
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

ROUNDS = 20


def enlarged(x: Tensor) -> Tensor:
    return resize_bicubic(x, 4).clamp(0, 1)


def times(settings: recipe.Recipe, folder: Path | None) -> tuple[float, list[float]]:
    """CPU seconds of the first pass over the training images (0 without a teacher), and of each round."""
    job, first = make_job(settings, Machine(threads=1)), 0.0
    if folder:
        outputs = Outputs(folder, "bicubic", enlarged, 1 << 30, torch.device("cpu"))
        job.data.taught = Taught(outputs, 4, alone=False)
        started = time.process_time()
        for source, _ in job.data.samples(1000):
            outputs.of(source)
        first = time.process_time() - started
    supernet, how = job.supernet(), settings.training
    rounds = make_rounds(how.sampler, job.space, "joint", None, np.random.default_rng(0))
    learning = Learning(SharedSubnets(supernet, rounds, how.divide_gradients), job.criterion(how, supernet), how)
    batches, taken = job.data.training((0,)), list[float]()
    for index in range(ROUNDS):
        started = time.process_time()
        one_round(learning, *batches[index])
        learning.index += 1
        taken.append(time.process_time() - started)
    return first, taken[2:]


def main() -> None:
    plain = recipe.load("quick", ("training.stages=[joint]",))
    taught = plain.with_teacher("bicubic", "")
    taught = taught.model_copy(update={"teacher": plain.teacher})
    with tempfile.TemporaryDirectory() as folder:
        first, with_it = times(taught, Path(folder))
        without = times(plain, None)[1]
    a, b = 1000 * median(without), 1000 * median(with_it)
    print(f"a round: {a:.1f} ms of CPU time without a teacher, {b:.1f} ms with one ({b / a - 1:+.1%})")
    print(f"the first pass over the images, by bicubic as the teacher: {first:.2f} s")


if __name__ == "__main__":
    main()
