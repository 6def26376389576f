"""What tests of training share: small rounds, batches, and gradients one by one."""

from functools import partial

import numpy as np
import torch
from supernet_fixtures import (
    TRANSLATION,
    fresh_supernet,
    random_images,
    small_space,
)
from torch import Tensor

from evo_c2f.space import Architecture, Genomes
from supernet.network.discriminator import PatchGan
from supernet.network.generator import Supernet
from supernet.rounds.fairness import FairRounds
from supernet.rounds.students import divide_by_uses
from supernet.training import loop
from supernet.training.adversary import Adversary
from supernet.training.criterion import Criterion, L1Alone, Terms

SPACE = small_space()


def joint_rounds(seed: int = 0) -> FairRounds:
    return FairRounds(SPACE, "joint", None, np.random.default_rng(seed))


def joint_rounds_ahead(rounds: FairRounds) -> Genomes:
    """The genomes that `rounds` will deal next, without dealing them."""
    ahead = joint_rounds()
    ahead.restore(rounds.state())
    return ahead.deal()


def modules_of(genomes: Genomes) -> set[str]:
    """The supernet's modules that these subnets use, by name."""
    used = set()
    for architecture in map(SPACE.decode, genomes):
        levels = [cell.level for cell in architecture.cells]
        used |= {f"operator_{c.position}_{c.level}_{c.operator}" for c in architecture.cells}
        used |= {f"stem_{level}" for level in levels} | {f"head_{levels[-1]}"}
        used |= {f"transition_{s}_{t}" for s, t in zip(levels, levels[1:], strict=False) if s != t}
    return used


def pair(seed: int = 0) -> tuple[Tensor, Tensor]:
    """A batch of two, (low, high)."""
    return random_images(2, 3, 8, 8, seed=seed), random_images(2, 3, 32, 32, seed=seed + 1)


def fair_gradients(supernet: Supernet, dealt: list[Architecture], low: Tensor, high: Tensor, divide: bool) -> float:
    """By L1."""
    criterion = Criterion(Terms(L1Alone()))
    criterion.begin(0, low, high)
    networks = [partial(supernet, architecture=a) for a in dealt]
    losses, _ = loop.fair_gradients(networks, supernet.used(dealt), low, criterion)
    if divide:
        divide_by_uses(supernet, dealt)
    return sum(torch.stack(losses).tolist())


def nothing(index: int, loss: float) -> None:
    """No progress to show."""


class StopError(Exception):
    """A crash in the middle of the training."""


class Pairs:
    """Batches for translation; one of them, if told, holds a NaN."""

    def __init__(self, broken: int | None = None):
        self.broken, self.asked = broken, list[int]()

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        self.asked.append(index)
        source, target = (random_images(2, 3, 16, 16, seed=2 * index + s) for s in (0, 1))
        if index == self.broken:
            self.broken = None
            target = target * torch.nan
        return source, target


def translator() -> Supernet:
    return fresh_supernet(SPACE, TRANSLATION)


def adversarial_criterion() -> Criterion:
    torch.manual_seed(0)
    weights = L1Alone(l1=1.0, adversarial=0.1, feature_matching=0.5)
    return Criterion(Terms(weights), adversary=Adversary(PatchGan(16, 4, None, 3), "lsgan", 0.001))
