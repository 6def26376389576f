"""The discriminator in training: it judges generators, and learns from all fakes of a round together."""

import copy
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from supernet.network.discriminator import PatchGan
from supernet.ranks import ALONE, Ranks
from supernet.training.losses import (
    IGNORANCE,
    Adversarial,
    discriminator_loss,
    feature_distance,
    generator_loss,
    mean_sizes,
)
from supernet.training.optimizer import pack, unpack

SMOOTHING = 0.98
COLLAPSED = 0.02  # of the loss of knowing nothing: the generators then learn nothing more from it
PATIENCE = 300  # updates before it may be called collapsed: the first fakes are easily told


class Adversary:
    """A PatchGAN with its optimiser and its loss."""

    def __init__(self, discriminator: PatchGan, kind: Adversarial, learning_rate: float):
        self.discriminator, self.kind, self.peak = discriminator, kind, learning_rate
        # The same weights in memory, to judge with: generators side by side give it no gradient.
        self.frozen = copy.deepcopy(discriminator).requires_grad_(False)
        for mine, its in zip(self.frozen.parameters(), discriminator.parameters(), strict=True):
            mine.data = its.data
        self.optimizer = torch.optim.Adam(discriminator.parameters(), lr=learning_rate, betas=(0.5, 0.99))
        self.updates = 0
        self.loss = IGNORANCE[kind]  # smoothed

    def look(self, source: Tensor, target: Tensor, ranks: Ranks = ALONE, real: Tensor | None = None) -> None:
        """Store the discriminator's scores of the real images, and its features of the targets, for one round.

        real: None: the targets are the real images.
        """
        with torch.no_grad():
            self.real = self.frozen(source, target)
            if real is not None:
                self.real = self.frozen(source, real)[0], self.real[1]
            self.sizes = ranks.average(mean_sizes(self.real[1]))

    def judge(self, source: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
        """(adversarial loss, feature matching loss) of a generator's output; the discriminator gets no gradient."""
        scores, features = self.frozen(source, output)
        real_scores, real_features = self.real
        matching = feature_distance(features, real_features, self.sizes)
        return generator_loss(self.kind, real_scores, scores), matching

    def learn(self, source: Tensor, real: Tensor, fakes: Sequence[Tensor], rate: float, ranks: Ranks = ALONE) -> float:
        """One update on the real images and the fakes of all of a round's subnets; returns its loss.

        rate: the share of the peak learning rate. If the loss is not finite, nothing changes.
        """
        real_scores, _ = self.discriminator(source, real)
        scores, _ = self.discriminator(source.repeat(len(fakes), 1, 1, 1), torch.cat([*fakes]))
        loss = discriminator_loss(self.kind, real_scores, scores)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        (value,) = ranks.average_gradients(self.discriminator.parameters(), loss.item())
        if math.isfinite(value):
            self.optimizer.param_groups[0]["lr"] = self.peak * rate
            self.optimizer.step()
            self.updates += 1
            self.loss = SMOOTHING * self.loss + (1 - SMOOTHING) * value
        return value

    @property
    def collapsed(self) -> bool:
        """Whether it separates real from fake so well that its gradients teach nothing."""
        return self.updates > PATIENCE and self.loss < COLLAPSED * IGNORANCE[self.kind]

    def state(self) -> tuple[dict[str, Tensor], dict[str, float]]:
        """Everything that its next update depends on: (tensors, numbers)."""
        weights = {f"weights/{name}": tensor for name, tensor in self.discriminator.state_dict().items()}
        return weights | pack(self.optimizer, "optimizer/"), {"updates": self.updates, "loss": self.loss}

    def restore(self, tensors: dict[str, Tensor], numbers: dict[str, float]) -> None:
        """Restore a `state`."""
        weights = {k.removeprefix("weights/"): v for k, v in tensors.items() if k.startswith("weights/")}
        self.discriminator.load_state_dict(weights)
        unpack(self.optimizer, tensors, "optimizer/")
        self.updates, self.loss = int(numbers["updates"]), numbers["loss"]
