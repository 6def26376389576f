"""The trainings of a supernet's studies: subnets alone, and supernets at equal cost."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from evo_c2f.space import Architecture
from supernet import checkpoint
from supernet.jobs.alone import Plan, TrainingAlone
from supernet.jobs.job import Job
from supernet.models.measure import Score
from supernet.rounds.sampling import Sampler, make_rounds

if TYPE_CHECKING:
    from evo_c2f.sections.training import TrainingSection

STREAM = 5  # of the job's seed: the rounds that are only counted


class TrainedAlone:
    """A measure: trains each architecture from scratch, and judges it like candidates and fronts."""

    def __init__(self, job: Job, settings: TrainingSection, plan: Plan, names: Sequence[str], folder: Path):
        """names: qualities; each is also given as `*_full`. folder: holds the network in training."""
        self.job, self.settings, self.plan, self.folder = job, settings, plan, folder
        full = Score(job.task, job.data.full(), names, job.device, "_full", job.data.reals("full"))
        self.scores = [job.score(names), full]
        self.names = [name for score in self.scores for name in score.qualities]

    def __call__(self, architectures: Sequence[Architecture]) -> list[dict[str, float]]:
        """One row of metrics for each architecture."""
        return [self._one(architecture) for architecture in architectures]

    def _one(self, architecture: Architecture) -> dict[str, float]:
        network = self.job.fresh(architecture)
        # A state that is taken up must be of the same training, so its settings are in the name.
        digest = hashlib.sha256(repr((architecture, self.settings, self.plan, self.job.seed)).encode()).hexdigest()[:16]
        target = self.folder / f"alone-{digest}.safetensors"
        TrainingAlone(self.job, self.settings, self.plan).run(network, target, {}, lambda index, loss: None)
        network.load_state_dict(checkpoint.load(target)[0])
        network.eval()
        row = {name: value for score in self.scores for name, value in score.of(network).items()}
        target.unlink()
        return row


def rounds_at_cost(job: Job, sampler: Sampler, fair_rounds: int) -> tuple[int, float]:
    """How many rounds of the sampler cost as much as so many fair ones, and the MACs of all their forward passes.

    For one patch an update; the last round may slightly exceed the cost.
    """
    price = job.costs((job.data.side, job.data.side))

    def spending(sampler: Sampler) -> Iterator[float]:
        rounds = make_rounds(sampler, job.space, "joint", None, np.random.default_rng([job.seed, STREAM]))
        while True:
            yield sum(price(job.space.decode(genome))["macs"] for genome in rounds.deal())

    budget = sum(islice(spending("fair"), fair_rounds))
    rounds, spent = 0, 0.0
    for macs in spending(sampler):
        if spent >= budget:
            break
        rounds, spent = rounds + 1, spent + macs
    return rounds, spent
