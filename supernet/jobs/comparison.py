"""A searched generator against a teacher: both trained alone by one loop, on the same images, with the same losses."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from math import inf, isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from evo_c2f.errors import FailedError, InputError
from evo_c2f.space import Architecture
from supernet import checkpoint
from supernet.batches.fixed import Side
from supernet.jobs.alone import TrainingAlone
from supernet.jobs.job import Job, OnRound, OnSetback
from supernet.metrics.tasks import is_of_rgb
from supernet.models import model
from supernet.models.measure import Score
from supernet.network.cost import network_costs
from supernet.network.teacher import ResNetGenerator

if TYPE_CHECKING:
    from evo_c2f.sections.training import TrainingSection

log = logging.getLogger(__name__)

CURVE_POINTS = 10
Watching = Callable[[str, int], AbstractContextManager[tuple[OnRound, OnSetback]]]


@dataclass(frozen=True)
class Trained:
    """A network that was trained alone, and its training's record.

    curve: the search's first metric during training; the last point is that of `network`, which has the averaged
    weights.
    """

    network: nn.Module
    learning_rate: float
    images: int
    seconds: float
    curve: list[float]

    def row(self) -> dict[str, Any]:
        """Its training, for a table."""
        return {
            "learning_rate": self.learning_rate,
            "images": self.images,
            "seconds": round(self.seconds),
            "curve": self.curve,
        }


@dataclass(frozen=True)
class Trials:
    """How networks are compared: each tries some learning rates, and is trained with the best of them.

    images: for each network's training; trial_images: for choosing the rate by the search's first metric, which is
    better if sign * it is lower.
    """

    images: int
    trial_images: int
    sign: int
    searched_rates: Sequence[float]


@dataclass(frozen=True)
class Contender:
    """A network of a comparison, by the name of its row and files.

    make: gives it before its training, for a Comparison's job. rates: the learning rates that it tries.
    """

    name: str
    make: Callable[[Comparison], nn.Module]
    rates: Sequence[float]
    origin: Callable[[Comparison], Path] | None = None  # the file of the trained weights that it begins with
    distilled: bool = False  # it learns from a teacher too


@dataclass(frozen=True)
class Finalist:
    """A subnet that may be the best, and the supernet's weights that scored it."""

    id: str
    architecture: Architecture
    weights: Path


@dataclass
class Comparison:
    """Trains networks for one comparison. Each is stored in `folder` by its name, and loaded from there later."""

    job: Job
    settings: TrainingSection
    search: Score
    batch: int
    folder: Path
    watching: Watching
    began_with: str = ""  # the hash of the trained weights that they begin with, if any
    taught_by: str = ""  # the hash of the teacher that they learn from, if any
    suffix: str = ""  # of the files' names

    def with_seed(self, number: int) -> Comparison:
        """The same for another seed, `number` after this one's; its networks have files of their own."""
        if not number:
            return self
        seed = self.job.seed + number
        return replace(self, job=replace(self.job, seed=seed), suffix=f"-seed-{seed}")

    def file(self, name: str) -> Path:
        """The file of the network of that name."""
        return self.folder / f"{name}{self.suffix}.safetensors"

    def train(self, name: str, network: nn.Module, images: int, learning_rate: float) -> Trained:
        """Train the network on so many images; it ends with the averaged weights.

        InputError if a network of that name exists that was trained differently.
        """
        target = self.file(name)
        if not target.is_file():
            self._train(name, network, target, images, learning_rate)
        tensors, metadata = checkpoint.load(target)
        with torch.device("meta"):  # a file of an older version lacks what all its networks had in common
            held = model.build_network(metadata)
        if model.header(held) != model.header(network):
            raise InputError(f"{target} holds another network; remove it to train this one")
        before = metadata.get("weights", self.began_with), metadata.get("teacher", "")  # an older file lacks weights
        if before != (self.began_with, self.taught_by):
            raise InputError(f"{target} came from other weights or another teacher; remove it to train this one")
        if (metadata.get("images"), metadata.get("learning_rate")) != (images, learning_rate):
            how = f"on {metadata.get('images')} images at a learning rate of {metadata.get('learning_rate')}"
            raise InputError(f"{target} was trained {how}; remove it to train on {images} at {learning_rate:g}")
        network.to(self.job.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        network.load_state_dict(tensors)
        network.eval()
        curve = [*metadata["curve"][:-1], self._point(network)]
        return Trained(network, learning_rate, images, metadata["seconds"], curve)

    def _point(self, network: nn.Module) -> float:
        return round(next(iter(self.search.of(network).values())), 5)

    def _train(self, name: str, network: nn.Module, target: Path, images: int, learning_rate: float) -> None:
        rounds = max(1, images // self.batch)
        settings = self.settings.lasting(rounds).model_copy(update={"learning_rate": learning_rate})
        metadata: dict[str, Any] = {**model.header(network), "images": images, "learning_rate": learning_rate}
        metadata["curve"] = []
        if self.began_with:
            metadata["weights"] = self.began_with
        if self.taught_by:
            metadata["teacher"] = self.taught_by
        forget_another(checkpoint.state_of(target), metadata)
        between = max(1, rounds // CURVE_POINTS)
        with self.watching(name, rounds) as (on_round, on_setback):

            def on_round_and_curve(index: int, loss: float) -> None:
                if index % between == 0 or index == rounds:
                    # After a setback the points of the rounds that were undone go.
                    metadata["curve"][(index - 1) // between :] = [self._point(network)]
                on_round(index, loss)

            TrainingAlone(self.job, settings).run(network, target, metadata, on_round_and_curve, on_setback)

    def best_rate(self, contender: Contender, trials: Trials) -> tuple[float, list[dict[str, Any]]]:
        """The best of the contender's learning rates, and the trial of each. One at which training fails is left out,
        with a warning; FailedError if it fails at all of them.
        """
        tried, failure = list[Trained](), FailedError("there is no learning rate to try")
        for rate in contender.rates:
            name = f"{contender.name}-trial-{rate:g}"
            try:
                tried.append(self.train(name, contender.make(self), trials.trial_images, rate))
            except FailedError as error:
                failure = error
                log.warning(f"{name} is left out: {error}")
        if not tried:
            raise failure
        best = min(tried, key=lambda trial: trials.sign * trial.curve[-1] if isfinite(trial.curve[-1]) else inf)
        return best.learning_rate, [{"network": contender.name, **trial.row()} for trial in tried]

    def try_finalist(self, finalist: Finalist, size: tuple[int, int], images: int, trials: Trials) -> dict[str, Any]:
        """Train it from scratch on so many images, at the middle rate. Returns its row, whose curve ends in its score.

        size: (height, width) for the costs.
        """
        middle = trials.searched_rates[len(trials.searched_rates) // 2]
        name = f"finalist-{finalist.id}-{images}"
        alone = self.train(name, self.job.fresh(finalist.architecture), images, middle)
        return {"network": name} | network_costs(alone.network, size) | alone.row()


def baselines(job: Job, score: Score) -> list[dict[str, Any]]:
    """Rows of what is not trained here: the input, the mean image, and the teacher that was brought, if any."""
    others: dict[str, Callable[[Tensor], Tensor]] = {"the input itself": job.task.baseline}
    search, full = job.data.search(), job.data.full()
    shapes = [shape for batches in (search, full) for shape in Side(batches, 1).shapes]
    if len({shape[1:] for shape in shapes}) == 1:  # images of several sizes have no mean
        others["the mean image"] = mean_target(search)
    if job.judged_teacher:
        others["the teacher that was brought"] = job.judged_teacher
    return [{"network": name, **score.of(network)} for name, network in others.items()]


def new_teacher(width: int, job: Job) -> ResNetGenerator:
    """Freshly initialised from the job's seed. InputError if the task has no teacher."""
    if job.task.frame.input_level:
        raise InputError(f"the teacher gives images of the size of its input; {job.task.name} enlarges them")
    if not is_of_rgb(job.task):
        raise InputError("the teacher takes and gives RGB; this recipe's task has other channels")
    torch.manual_seed(job.seed)
    return ResNetGenerator(width)


def widest_within(limits: Mapping[str, float], size: tuple[int, int]) -> int:
    """The most base channels of a teacher whose costs exceed none of the limits; 0 if the narrowest exceeds one.

    limits: by the names of `network_costs`; size: (height, width) for them.
    """
    width = 0
    while True:
        with torch.device("meta"):
            found = network_costs(ResNetGenerator(width + 1), size)
        if any(found[name] > most for name, most in limits.items()):
            return width
        width += 1


def mean_target(batches: Sequence[tuple[Tensor, Tensor]]) -> Callable[[Tensor], Tensor]:
    """A network whose output is always the mean of these batches' targets."""
    total = sum(target.sum(dim=0, keepdim=True) for _, target in batches)
    assert isinstance(total, Tensor)
    mean = total / sum(len(target) for _, target in batches)
    return lambda source: mean.to(source.device).expand_as(source)


def forget_another(state: Path, metadata: dict[str, Any]) -> None:
    """Remove the state of a stopped training of another kind, which must not be resumed as this one."""
    if state.is_file():
        before, wanted = checkpoint.load(state)[1]["notes"], json.loads(json.dumps(metadata))
        if any(before.get(key) != value for key, value in wanted.items() if key != "curve"):
            state.unlink()
