"""Trains CycleGAN on a job's unpaired images, and writes both of its generators as models."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from evo_c2f.errors import InputError
from supernet import checkpoint
from supernet.jobs.comparison import forget_another
from supernet.jobs.job import Job, OnRound, OnSetback
from supernet.metrics.tasks import is_of_rgb
from supernet.models.model import header
from supernet.network.discriminator import PatchGan
from supernet.training import loop
from supernet.training.adversary import Adversary
from supernet.unpaired.cyclegan import WAYS, CycleGan, Generators

if TYPE_CHECKING:
    from evo_c2f.sections.training import TrainingSection

BATCHES = 4  # the number of its batches among those of the job; a supernet's stages have 0 to 3


@dataclass(frozen=True)
class UnpairedTraining:
    """A training of CycleGAN.

    settings: the recipe's, of which the discriminator's size, the EMA and the precision count. images: how many of each
    domain it sees.
    """

    job: Job
    settings: TrainingSection
    width: int
    images: int
    rounds: int
    learning_rate: float

    def learning(self) -> CycleGan:
        """Its state before the first round, made from the job's seed."""
        job, judge, rate = self.job, self.settings.discriminator, self.learning_rate
        if not is_of_rgb(job.task):
            raise InputError("CycleGAN takes and gives RGB; this recipe's task has other channels")
        torch.manual_seed(job.seed)
        generators = Generators(self.width).to(job.device)
        judges = {
            way: Adversary(PatchGan(job.data.side, judge.width, judge.layers, 0).to(job.device), "lsgan", rate)
            for way in WAYS
        }
        changes = {"learning_rate": rate, "optimizer": "adam", "beta1": 0.5}
        settings = self.settings.lasting(self.rounds).model_copy(update=changes)
        return CycleGan(generators, judges, settings, job.seed)

    def run(self, target: Path, on_round: OnRound, on_setback: OnSetback) -> float:
        """Write the direction's generator to `target`, and the other to its `way_back`; returns the training's seconds.

        Nothing is trained if `target` exists. InputError if that is of another training.
        """
        learning = self.learning()
        about = {**header(learning.generators.there), "images": self.images, "learning_rate": self.learning_rate}
        if not target.is_file():
            self._train(learning, target, dict(about), on_round, on_setback)
        known = checkpoint.load(target)[1]
        for key, value in about.items():
            if known.get(key) != value:
                raise InputError(
                    f"{target} is of another training ({key} is {known.get(key)} there, {value} here); remove it to "
                    "train this one"
                )
        return float(known["seconds"])

    def _train(
        self, learning: CycleGan, target: Path, about: dict[str, Any], on_round: OnRound, on_setback: OnSetback
    ) -> None:
        state = checkpoint.state_of(target)
        forget_another(state, about)
        with closing(self.job.batches(BATCHES)) as batches:
            weights = loop.train(learning, batches, state, on_round, on_setback, about, learning.round)
        # The target is the last, so that both files are there if it is.
        for way, path in (("back", self.way_back(target)), ("there", target)):
            own = {
                name.removeprefix(f"{way}."): tensor for name, tensor in weights.items() if name.startswith(f"{way}.")
            }
            checkpoint.save(path, own, about)
        state.unlink(missing_ok=True)

    @staticmethod
    def way_back(target: Path) -> Path:
        """The file of the other direction's generator."""
        return target.with_stem(f"{target.stem}-back")
