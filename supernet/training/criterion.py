"""The loss of a generator in training: L1, and the terms that the recipe adds."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from supernet.metrics.perceptual import VggFeatures
from supernet.ranks import ALONE, Ranks
from supernet.training.adversary import Adversary
from supernet.training.losses import feature_distance, mean_sizes, spectrum_distance

Guide = Callable[[Tensor], Tensor]


class Weights(Protocol):
    """The weight of each term of a loss."""

    @property
    def l1(self) -> float: ...
    @property
    def l2(self) -> float: ...
    @property
    def spectrum(self) -> float: ...
    @property
    def perceptual(self) -> float: ...
    @property
    def adversarial(self) -> float: ...
    @property
    def feature_matching(self) -> float: ...
    @property
    def distillation(self) -> float: ...
    @property
    def perceptual_distillation(self) -> float: ...


@dataclass(frozen=True)
class L1Alone:
    """Weights for L1 alone."""

    l1: float = 1.0
    l2: float = 0.0
    spectrum: float = 0.0
    perceptual: float = 0.0
    adversarial: float = 0.0
    feature_matching: float = 0.0
    distillation: float = 0.0
    perceptual_distillation: float = 0.0


@dataclass(frozen=True)
class Terms:
    """The weights of the terms in a part of the training, and the networks that terms with a weight above 0 need.

    guide: None: the output to learn from stands beside the targets.
    """

    weights: Weights
    features: VggFeatures | None = None
    guide: Guide | None = None


class Criterion:
    """Judges the outputs of successive rounds: `begin`, `loss` for each subnet, `finish`."""

    def __init__(
        self,
        last: Terms,
        adversary: Adversary | None = None,
        earlier: Sequence[tuple[int, Terms]] = (),
        unpaired: bool = False,
        channels: int = 3,
    ):
        """earlier: (until which round, the terms until then), in order; `last` applies after them.

        adversary: needed if a weight of its terms is not 0. unpaired: what stands beside the targets are real images
        for it, instead of the targets. channels: of the targets.
        """
        self.last, self.earlier, self.adversary, self.unpaired = last, earlier, adversary, unpaired
        self.channels = channels

    def part(self, index: int) -> int:
        """Which part of the loss's schedule round `index` lies in, from 0."""
        return sum(until <= index for until, _ in self.earlier)

    def terms(self, index: int) -> Terms:
        """The terms of round `index`."""
        return [*(terms for _, terms in self.earlier), self.last][self.part(index)]

    def begin(self, index: int, source: Tensor, target: Tensor, ranks: Ranks = ALONE) -> None:
        """Take the batch of round `index`, or this process's part of it; compute everything that its subnets share.

        target: the channels after its own are a teacher's output, or real images if these are unpaired.
        """
        own = self.channels
        self.source, self.target, self.guided = source, target[:, :own], target[:, own:]
        self.real = target[:, own:] if self.unpaired else None
        terms = self.terms(index)
        self.weights, self.features, self.guide = terms.weights, terms.features, terms.guide
        with torch.no_grad():
            if self.guide:
                self.guided = self.guide(source)
            self.wanted = self._perceived(ranks)
        if self.adversary and self.contested:
            self.adversary.look(source, self.target, ranks, self.real)

    def _perceived(self, ranks: Ranks) -> list[tuple[float, list[Tensor], Tensor]]:
        """The features to come near to: (weight, features, their sizes) for each perceptual term."""
        if self.features is None:
            return []
        images = (self.weights.perceptual, self.target), (self.weights.perceptual_distillation, self.guided)
        wanted = [(weight, self.features(image)) for weight, image in images if weight]
        return [(weight, features, ranks.average(mean_sizes(features))) for weight, features in wanted]

    @property
    def contested(self) -> bool:
        """Whether the discriminator takes part in this round."""
        return bool(self.weights.adversarial or self.weights.feature_matching)

    def loss(self, output: Tensor) -> Tensor:
        """The loss of one subnet's output, weighted and summed."""
        weights = self.weights
        loss = weights.l1 * F.l1_loss(output, self.target)
        if weights.l2:
            loss = loss + weights.l2 * F.mse_loss(output, self.target)
        if weights.spectrum:
            loss = loss + weights.spectrum * spectrum_distance(output, self.target)
        if self.features and self.wanted:
            found = self.features(output)
            for weight, wanted, sizes in self.wanted:
                loss = loss + weight * feature_distance(found, wanted, sizes)
        if weights.distillation:
            loss = loss + weights.distillation * F.l1_loss(output, self.guided)
        if self.adversary and self.contested:
            adversarial, matching = self.adversary.judge(self.source, output)
            loss = loss + weights.adversarial * adversarial + weights.feature_matching * matching
        return loss

    def finish(self, fakes: Sequence[Tensor], rate: float, ranks: Ranks = ALONE) -> str | None:
        """Let the discriminator learn from the round's fakes; returns its problem, if any, in words."""
        if self.adversary is None or not self.contested:
            return None
        real = self.target if self.real is None else self.real
        loss = self.adversary.learn(self.source, real, fakes, rate, ranks)
        if not math.isfinite(loss):
            return "the discriminator's loss is not finite"
        if self.adversary.collapsed:
            return f"the discriminator wins outright (its loss is {self.adversary.loss:.2g}): it teaches nothing more"
        return None
