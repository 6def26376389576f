"""One job: a task, its data, and a supernet to train and to measure."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from evo_c2f.errors import DamagedFileError, InputError
from evo_c2f.space import Architecture, Genomes, SearchSpace, Stage
from supernet import checkpoint, training
from supernet.cost import costs
from supernet.data import photographs
from supernet.data.photographs import Photograph
from supernet.fairness import FairRounds, Ledger
from supernet.generator import Supernet
from supernet.measure import Measure
from supernet.operators import OPERATORS
from supernet.tasks import SuperResolution


class DataSettings(Protocol):
    """The part of a recipe that says which images are used, and how."""

    @property
    def folder(self) -> str | None: ...
    @property
    def benchmarks(self) -> list[str]: ...
    @property
    def patch(self) -> int: ...
    @property
    def batch(self) -> int: ...
    @property
    def validation_images(self) -> int: ...
    @property
    def validation_crops(self) -> int: ...
    @property
    def crop(self) -> int: ...


def choose_device(name: str) -> torch.device:
    """'auto' is the GPU if there is one. InputError if there is no such device."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
        return torch.device(name)
    except (RuntimeError, AssertionError, NotImplementedError, ImportError):
        raise InputError(f"device {name!r} is not there; use --device cpu") from None


@dataclass
class Job:
    """Everything torch-side that the commands share; images are read when first needed."""

    space: SearchSpace
    task: SuperResolution
    data: DataSettings
    seed: int
    device: torch.device
    warn: Callable[[str], None]

    @cached_property
    def images(self) -> tuple[list[Photograph], list[Photograph]]:
        """(training, validation). InputError if the folder can't serve."""
        if self.data.folder is None:
            raise InputError("this recipe comes without photographs; give a folder of them with --data DIR")
        paths = photographs.embedded() if self.data.folder == "embedded" else photographs.listed(Path(self.data.folder))
        side = max(self.data.patch * self.task.scale, self.data.crop)
        found = photographs.load(paths, side, self.warn)
        for benchmark in self.data.benchmarks:
            judged = photographs.load(photographs.benchmark_highs(Path(benchmark)), 1, self.warn)
            photographs.refuse_benchmark_images(found, judged)
        return photographs.split(found, self.data.validation_images, self.seed)

    @cached_property
    def dataset_fingerprint(self) -> str:
        """A short hash of the validation images and of how crops are taken from them."""
        return photographs.fingerprint(self.images[1], self.data.crop, self.data.validation_crops)

    def check(self) -> None:
        """InputError if the images or the space can't serve."""
        assert self.images
        unknown = [name for name in self.space.operators if name not in OPERATORS]
        if unknown:
            raise InputError(f"operator {unknown[0]!r} is unknown; there are {', '.join(OPERATORS)}")

    def costs(self, output_size: tuple[int, int]) -> Callable[[Architecture], dict[str, float]]:
        """Architecture -> params, macs, size_mb for an output of (height, width)."""
        return partial(costs, frame=self.task.frame, output_size=output_size)

    def supernet(self) -> Supernet:
        """Freshly initialised from the seed, on the job's device."""
        torch.manual_seed(self.seed)
        return Supernet(self.space, self.task.frame).to(self.device)

    def trained(self, path: Path) -> Supernet:
        """With the weights of a checkpoint. DamagedFileError if it can't be read."""
        supernet = self.supernet()
        tensors, _ = checkpoint.load(path)
        try:
            supernet.load_state_dict(tensors)
        except RuntimeError:
            raise DamagedFileError(f"{path} holds the weights of another space; remove it and train again") from None
        return supernet

    def train(
        self,
        stage: Stage,
        survivors: Genomes | None,
        settings: training.Settings,
        start: Path | None,
        target: Path,
        on_round: Callable[[int, float], None],
    ) -> Ledger:
        """Train, from the weights at `start` if given, and write the averaged weights to `target`."""
        supernet = self.trained(start) if start else self.supernet()
        # Each training draws its own batches and its own decks.
        number = ("joint", "operator", "channel").index(stage)
        rng = np.random.default_rng([self.seed, 1, number])
        rounds = FairRounds(self.space, stage, survivors, rng)
        data, seed = self.data, (self.seed, 0, number)
        batches = photographs.PatchPairs(self.images[0], self.task.scale, data.patch, data.batch, seed)
        state = target.with_suffix(".state.safetensors")
        weights = training.train(supernet, rounds, batches, self.task, settings, state, on_round)
        checkpoint.save(target, weights, {"stage": stage, "space": self.space.to_dict()})
        state.unlink(missing_ok=True)
        return rounds.ledger

    def measure(self, supernet: Supernet, names: list[str], output_size: tuple[int, int]) -> Measure:
        """The cheap measure of the search, on the validation crops."""
        data = self.data
        crops = photographs.validation_crops(self.images[1], self.task.scale, data.crop, data.validation_crops)
        return Measure(supernet, self.task, [crops], names, output_size)

    def full_measure(self, supernet: Supernet, names: list[str], output_size: tuple[int, int]) -> Measure:
        """On the whole validation images; qualities are named `*_full`."""
        whole = photographs.whole_images(self.images[1], self.task.scale)
        qualities = [name for name in names if name in self.task.metrics]
        return Measure(supernet, self.task, whole, qualities, output_size, suffix="_full")
