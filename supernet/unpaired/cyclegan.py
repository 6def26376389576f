"""CycleGAN (Zhu et al., arXiv 1703.10593): two generators, each the way back of the other's, and their losses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from supernet.network.teacher import ResNetGenerator
from supernet.rounds.students import Alone
from supernet.training.adversary import Adversary
from supernet.training.criterion import Criterion, L1Alone, Terms
from supernet.training.learning import Learning
from supernet.training.loop import update_average
from supernet.training.losses import generator_loss
from supernet.training.optimizer import set_rate, step_used
from supernet.training.precision import casting
from supernet.unpaired.pool import Pool

if TYPE_CHECKING:
    from evo_c2f.sections.training import TrainingSection

CYCLE = 10.0
IDENTITY = 0.5  # as a share of CYCLE
STREAM = 6  # of the seed: what the pools draw
WAYS = ("there", "back")


class Generators(nn.Module):
    """there: from the inputs' domain to the targets'; back: from the targets' to the inputs'."""

    def __init__(self, width: int):
        super().__init__()
        self.there, self.back = ResNetGenerator(width), ResNetGenerator(width)


def distance(output: Tensor, wanted: Tensor) -> Tensor:
    """L1 of images in 0..1, as large as in the paper's range of -1..1."""
    return 2 * F.l1_loss(output.float(), wanted)


class CycleGan(Learning):
    """The state of the training: the generators with their moments and EMA, two discriminators and their pools."""

    def __init__(self, generators: Generators, judges: Mapping[str, Adversary], settings: TrainingSection, seed: int):
        """judges: 'there' and 'back', each of that generator's outputs; they judge images alone, by least squares."""
        super().__init__(Alone(generators), Criterion(Terms(L1Alone())), settings)
        self.generators, self.judges, self.seed = generators, judges, seed
        self.pools = {way: Pool() for way in WAYS}

    def set_rate(self) -> float:
        """Constant in the first half of the rounds, then linear to 0."""
        rate = min(1.0, 2 * (1 - self.index / self.settings.rounds)) * 0.5**self.setbacks
        set_rate(self.optimizer, self.settings.learning_rate * rate)
        return rate

    def loss(self, a: Tensor, b: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """(the generators' loss, the outputs 'there' and 'back') of images of the two domains; eq. 3 and sec. 5.2."""
        there, back = self.generators.there, self.generators.back
        outputs = {"there": there(a), "back": back(b)}
        scores = [self.judges[way].frozen(output, output)[0] for way, output in outputs.items()]
        adversarial = torch.stack([generator_loss("lsgan", score, score) for score in scores]).sum()
        cycle = distance(back(outputs["there"]), a) + distance(there(outputs["back"]), b)
        identity = distance(there(b), b) + distance(back(a), a)
        return adversarial + CYCLE * (cycle + IDENTITY * identity), outputs

    def round(self, source: Tensor, target: Tensor) -> tuple[float, str | None]:
        """One update of both generators, and then one of each discriminator.

        target: the last three channels are images of the other domain. Returns (the generators' loss, the problem, if
        any, in words).
        """
        reals = {"there": target[:, -3:].contiguous(memory_format=torch.channels_last), "back": source}
        rate, rng = self.set_rate(), np.random.default_rng([self.seed, STREAM, self.index])
        with casting(source.device, self.settings.precision):
            loss, outputs = self.loss(reals["back"], reals["there"])
            value = loss.item()
            if not math.isfinite(value):
                return value, "the loss is not finite"
            loss.backward()
            step_used(self.optimizer, self.parameters)
            update_average([*self.average.values()], self.parameters, self.average_weight())
            for way, judge in self.judges.items():
                fakes = self.pools[way].exchange(outputs[way].detach().float(), rng)
                if not math.isfinite(judge.learn(fakes, reals[way], [fakes], rate)):
                    return value, "a discriminator's loss is not finite"
        return value, None

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors, metadata = super().state()
        for way in WAYS:
            judged, metadata[way] = self.judges[way].state()
            tensors |= {f"{way}/{name}": tensor for name, tensor in (judged | self.pools[way].state()).items()}
        return tensors, metadata

    def restore(self, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> None:
        groups = tuple(f"{way}/" for way in WAYS)
        super().restore({name: tensor for name, tensor in tensors.items() if not name.startswith(groups)}, metadata)
        for way in WAYS:
            own = {name.removeprefix(f"{way}/"): t for name, t in tensors.items() if name.startswith(f"{way}/")}
            self.pools[way].restore({"images": own.pop("images")} if "images" in own else {}, self.parameters[0].device)
            self.judges[way].restore(own, metadata[way])
