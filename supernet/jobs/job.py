"""One job: a task, its data, and networks to train and measure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from evo_c2f.errors import DamagedFileError, InputError
from evo_c2f.space import Architecture, Genomes, SearchSpace, Stage, subnet_ids
from supernet import checkpoint
from supernet.batches.ahead import CPU
from supernet.batches.fixed import Batch
from supernet.data.images import Pixels, Taught
from supernet.drawing.board import Board
from supernet.latency.table import describe, read_table
from supernet.latency.whole import timers
from supernet.layouts.index import Index
from supernet.layouts.record import Record
from supernet.metrics import qualities
from supernet.metrics.perceptual import VggFeatures
from supernet.metrics.tasks import Task
from supernet.models.measure import Measure, Score
from supernet.models.model import load_network
from supernet.network.cost import costs
from supernet.network.discriminator import PatchGan
from supernet.network.generator import Frame, Subnet, Supernet
from supernet.network.operators import OPERATORS
from supernet.ranks import ALONE, Ranks
from supernet.rounds.fairness import Ledger
from supernet.rounds.sampling import make_rounds
from supernet.rounds.students import SharedSubnets
from supernet.teachers.bringing import Brought
from supernet.training import loop
from supernet.training.adversary import Adversary
from supernet.training.criterion import Criterion, Guide, Terms
from supernet.training.learning import Learning

if TYPE_CHECKING:
    from evo_c2f.sections.training import LossesSection, TrainingSection

OnRound = Callable[[int, float], None]
OnSetback = Callable[[int, str], None]


class Batches(loop.Batches, Protocol):
    """Batches that may be made by threads, which `close` ends."""

    def close(self) -> None: ...


class Data(Protocol):
    """The images of a job."""

    taught: Taught | None
    index: Index  # what is known of the pictures' files

    @property
    def side(self) -> int: ...
    @property
    def largest_side(self) -> int: ...
    @property
    def side_setting(self) -> str: ...  # what decides how large the judged images are; '' if they do themselves
    @property
    def fingerprint(self) -> str: ...
    @property
    def unpaired(self) -> bool: ...  # the inputs, and beside the targets real pictures that are no partners of them
    def reals(self, use: str) -> Sequence[Tensor]: ...  # for Frechet distances; none: the targets
    def samples(self, n: int) -> Sequence[tuple[Pixels, Pixels]]: ...
    def record(self) -> Record: ...
    def counts(self) -> tuple[tuple[int, int], tuple[int, int]]: ...
    def training(
        self,
        seed: Sequence[int],
        side: int | None = None,
        batch: int | None = None,
        ranks: Ranks = ALONE,
        device: torch.device = CPU,
    ) -> Batches: ...
    def search(self) -> Sequence[Batch]: ...
    def full(self) -> Sequence[Batch]: ...


@dataclass(frozen=True)
class StageTraining:
    """One of the supernet's trainings, and its starting point.

    survivors: genomes (n, n_genes); in the genes of earlier stages, only their values are trained. None: all values.
    start: the file of the initial weights; None: fresh weights.
    """

    stage: Stage
    survivors: Genomes | None = None
    start: Path | None = None


@dataclass
class Job:
    """The torch-side state and functions that all commands share."""

    space: SearchSpace
    task: Task
    data: Data
    seed: int
    device: torch.device
    ranks: Ranks = ALONE  # the processes that train together; each measures by itself
    board: Board | None = None  # the TensorBoard files that its trainings write
    teacher: Brought | None = None  # to learn from, and to be compared with

    def __post_init__(self) -> None:
        """InputError if the space names an unknown operator."""
        unknown = [name for name in self.space.operators if name not in OPERATORS]
        if unknown:
            raise InputError(
                f"operator {unknown[0]!r} is unknown; there are {', '.join(OPERATORS)}, and what a --plugin adds"
            )
        # Another process that unpickles them imports the plugins that they are of.
        self.operators = [OPERATORS[name] for name in self.space.operators]

    def check(self, settings: TrainingSection | None, names: Sequence[str], rescored: Sequence[str]) -> None:
        """InputError, before training starts, if the images, the space, the losses or the metrics are not usable.

        settings: None: its losses can't be told yet. names: metrics of the search and its front; rescored: more of it.
        """
        (n, side), full = self.data.counts()
        wanted = [name for name in names if qualities.is_quality(name, self.task)]
        for name in wanted:
            qualities.check(name, self.task, n, side, self.data.side_setting)
        self.check_full([*(qualities.for_count(name, full[0]) for name in wanted), *rescored])
        if settings:
            self.criterion(settings, self.supernet())

    def check_full(self, names: Sequence[str]) -> None:
        """InputError if one of these qualities can't be measured on the images for final fronts."""
        n, side = self.data.counts()[1]
        for name in names:
            qualities.check(name, self.task, n, side, self.data.side_setting)

    def costs(self, output_size: tuple[int, int]) -> Callable[[Architecture], dict[str, float]]:
        """Architecture -> params, macs, size_mb for an output of (height, width)."""
        return partial(costs, frame=self.task.frame, output_size=output_size)

    def supernet(self) -> Supernet:
        """A supernet freshly initialised from the seed, on the job's device."""
        torch.manual_seed(self.seed)
        return Supernet(self.space, self.task.frame).to(self.device)

    def fresh(self, architecture: Architecture) -> Subnet:
        """One subnet alone, initialised from the seed for its own widths, on the job's device."""
        torch.manual_seed(self.seed)
        return Subnet(architecture, self.task.frame).to(self.device)

    def trained(self, path: Path, ranks: Ranks = ALONE) -> Supernet:
        """A supernet with the weights of a checkpoint. DamagedFileError if unreadable, InputError if older than its
        task.

        ranks: the first process reads it for all.
        """
        supernet = self.supernet()
        tensors, metadata = ranks.from_first(lambda: checkpoint.load(path))
        older = {**asdict(self.task.frame), "activation": "gelu", "bounded": False}
        if Frame(**metadata.get("frame", older)) != self.task.frame:
            raise InputError(f"{path} was trained for networks of an older version; remove it and train again")
        try:
            supernet.load_state_dict(tensors)
        except RuntimeError:
            raise DamagedFileError(f"{path} holds the weights of another space; remove it and train again") from None
        return supernet

    def criterion(
        self, settings: TrainingSection, supernet: Supernet | None, earlier: Sequence[tuple[int, LossesSection]] = ()
    ) -> Criterion:
        """The recipe's losses, and those until certain rounds. InputError if one of them is not available.

        earlier: (until which round, the losses until then). supernet: its widest subnet may guide; without one,
        its guidance is left out. The first `pixel_rounds` rounds use L1 alone: before a generator makes an image,
        perceptual and adversarial terms only disturb it (SRGAN, arXiv 1609.04802, sec. 3.2).
        """
        judge, begun, unpaired = settings.discriminator, 0, self.data.unpaired
        taken, given = self.task.frame.input_channels, self.task.frame.output_channels
        if unpaired and not (self.data.taught and self.data.taught.alone):
            raise InputError(
                "the pictures have no partners to learn from; train a teacher by 'train-teacher --unpaired', and name "
                "it with --teacher and --set data.target=teacher"
            )
        parts: list[tuple[int, LossesSection]] = []
        for end, usual in [*earlier, (settings.rounds, settings.losses)]:
            for until, losses in (usual if supernet else usual.without_supernet()).parts(end):
                if until > begun:
                    parts.append((until, losses))
                    begun = until
        adversary = None
        if any(losses.adversarial or losses.feature_matching for _, losses in parts):
            if unpaired and judge.conditioned:
                raise InputError(
                    "real pictures without partners can't be judged beside an input; set "
                    "training.discriminator.conditioned=false"
                )
            torch.manual_seed(self.seed)
            seen = taken if judge.conditioned and self.task.frame.input_level == 0 else 0
            discriminator = PatchGan(self.data.side, judge.width, judge.layers, seen, taken, given).to(self.device)
            adversary = Adversary(discriminator, judge.loss, judge.learning_rate)
        schedule = list[tuple[int, Terms]]()
        for until, losses in parts:
            features = VggFeatures(losses.perceptual_layers, given).to(self.device) if losses.perceives else None
            guide = self._guide(losses.guide, supernet) if losses.guided else None
            schedule.append((until, Terms(losses, features, guide)))
        return Criterion(schedule[-1][1], adversary, schedule[:-1], unpaired, given)

    @property
    def judged_teacher(self) -> Brought | None:
        """The teacher to compare with; None if there is none, or if its own outputs are the targets."""
        return None if self.data.taught is None or self.data.taught.alone else self.teacher

    def _guide(self, name: str, supernet: Supernet | None) -> Guide | None:
        if name == "teacher":
            if self.data.taught is None:
                raise InputError("losses.guide is 'teacher', and there is none; name one with --teacher FILE")
            if self.data.taught.alone:
                raise InputError("the teacher's outputs are the targets, and losses.guide names it too; set another")
            return None
        if name != "widest":
            return load_network(Path(name)).to(self.device)
        assert supernet is not None  # else nothing is guided by it
        return partial(supernet, architecture=self.space.decode(self.space.reference))

    def batches(self, number: int, side: int | None = None, batch: int | None = None) -> Batches:
        """The batches of one of the job's trainings, on its device. number: each draws others."""
        return self.data.training((self.seed, 0, number), side, batch, self.ranks, self.device)

    def train(
        self,
        which: StageTraining,
        settings: TrainingSection,
        target: Path,
        finish: Callable[[Ledger, float], None],
        on_round: OnRound,
        on_setback: OnSetback = lambda index, trouble: None,
    ) -> None:
        """Train the supernet, and write its averaged weights to `target`.

        finish: gets the updates of every choice, and the total seconds over all sittings, before `target` is written.
        So its results exist whenever `target` does, even after a kill. If several processes call this together, only
        the first calls `finish` and writes.
        """
        stage, survivors = which.stage, which.survivors
        supernet = self.trained(which.start, self.ranks) if which.start else self.supernet()
        # Each training draws its own batches and its own decks: its place here is part of the seed.
        number = ("joint", "operator", "channel", "path").index(stage)
        rng = np.random.default_rng([self.seed, 1, number])
        rounds = make_rounds(settings.sampler, self.space, stage, survivors, rng)
        state, notes = checkpoint.state_of(target), dict[str, float]()
        if self.board:
            widest = partial(supernet, architecture=self.space.decode(self.space.reference))
            on_round = self.board.following(stage, widest, settings.rounds, on_round)
        students = SharedSubnets(supernet, rounds, settings.divide_gradients)
        learning = Learning(students, self.criterion(settings, supernet), settings, self.ranks)
        with closing(self.batches(number)) as batches:
            weights = loop.train(learning, batches, state, on_round, on_setback, notes)

        def keep() -> None:
            finish(rounds.ledger, notes["seconds"])
            about: dict[str, Any] = {"stage": stage, "space": self.space.to_dict(), "frame": asdict(self.task.frame)}
            if survivors is not None:
                about["survivors"] = subnet_ids(survivors)
            checkpoint.save(target, weights, about)
            state.unlink(missing_ok=True)

        self.ranks.from_first(keep)

    def measure(
        self, supernet: Supernet, names: list[str], output_size: tuple[int, int], latencies: Path | None = None
    ) -> Measure:
        """The cheap measure of the search, on the images that all candidates are compared on.

        latencies: the table that latency_ms and latency_ratio are summed from. InputError if it was made for something
        else.
        """
        table = None
        if latencies:
            table = read_table(latencies, describe(self.space, self.task.frame, output_size, self.device))
        timed, images = timers(supernet, output_size, table), [*self.data.search()]  # workers may lack the files
        return Measure(supernet, self.task, images, names, output_size, "", self.data.reals("search"), timed)

    def full_measure(self, supernet: Supernet, names: list[str], output_size: tuple[int, int]) -> Measure:
        """The measure of a final front; its qualities are named `*_full`."""
        wanted = [name for name in names if qualities.is_quality(name, self.task)]
        return Measure(supernet, self.task, self.data.full(), wanted, output_size, "_full", self.data.reals("full"))

    def score(self, names: Sequence[str], full: bool = False) -> Score:
        """The qualities of any network on the search's images, or on those of the final front."""
        images = self.data.full() if full else self.data.search()
        return Score(self.task, images, names, self.device, reals=self.data.reals("full" if full else "search"))
