"""Trains one network alone, by the job's loop and losses, which may change over its rounds."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from evo_c2f.errors import InputError
from supernet import checkpoint
from supernet.jobs.job import Batches, Data, Job, OnRound, OnSetback
from supernet.network.generator import Supernet
from supernet.rounds.students import Alone
from supernet.training import loop
from supernet.training.learning import Learning

if TYPE_CHECKING:
    from evo_c2f.sections.training import LossesSection, TrainingSection


@dataclass(frozen=True)
class Plan:
    """How the training of one network changes over its rounds.

    sides: (until which round, side of the patches); losses: (until which round, the losses until then), followed by the
    settings' own. supernet: its widest subnet may guide.
    """

    batch: int | None = None
    sides: Sequence[tuple[int, int | None]] = ()
    losses: Sequence[tuple[int, LossesSection]] = ()
    supernet: Supernet | None = None

    def check(self, data: Data) -> None:
        """InputError if a patch is larger than the images."""
        for _, side in self.sides:
            if side and side > data.largest_side:
                raise InputError(f"patches of side {side} don't fit images of side {data.largest_side}")


@dataclass(frozen=True)
class Scheduled:
    """Batches that change at certain rounds."""

    earlier: Sequence[tuple[int, Batches]]
    last: Batches

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return next((batches for until, batches in self.earlier if index < until), self.last)[index]

    def close(self) -> None:
        for batches in (*(batches for _, batches in self.earlier), self.last):
            batches.close()


@dataclass(frozen=True)
class TrainingAlone:
    """Trains networks alone. Without a plan, the recipe's batches and losses apply throughout."""

    job: Job
    settings: TrainingSection
    plan: Plan = Plan()

    def batches(self) -> Batches:
        """The batches of each round."""
        plan = self.plan
        sides = {None, *(side for _, side in plan.sides)}
        # 3 is the path stage's number too, so both draw alike.
        kinds = {side: self.job.batches(3, side, plan.batch) for side in sides}
        return Scheduled([(until, kinds[side]) for until, side in plan.sides], kinds[None])

    def run(
        self,
        network: nn.Module,
        target: Path,
        metadata: dict[str, Any],
        on_round: OnRound,
        on_setback: OnSetback = lambda index, trouble: None,
    ) -> None:
        """Train the network in place, and write its averaged weights to `target`.

        metadata: goes into the file, with the total `seconds` over all sittings; the state includes it too.
        """
        job, state = self.job, checkpoint.state_of(target)
        network.to(job.device)
        criterion = job.criterion(self.settings, self.plan.supernet, self.plan.losses)
        if job.board:
            on_round = job.board.following(target.parent.name, network, self.settings.rounds, on_round)
        learning = Learning(Alone(network), criterion, self.settings, job.ranks)
        with closing(self.batches()) as batches:
            weights = loop.train(learning, batches, state, on_round, on_setback, metadata)

        def keep() -> None:
            checkpoint.save(target, weights, metadata)
            state.unlink(missing_ok=True)

        job.ranks.from_first(keep)
