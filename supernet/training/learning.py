"""The state of a training, in one object: it can be saved, restored, and rolled back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from evo_c2f.errors import FailedError
from supernet.ranks import ALONE, Ranks
from supernet.rounds.students import Students
from supernet.training.criterion import Criterion
from supernet.training.optimizer import make_optimizer, pack, set_rate, unpack

if TYPE_CHECKING:
    from evo_c2f.sections.training import TrainingSection

MOST_SETBACKS = 5
WARM_UP_ROUNDS = 50


class Learning:
    """Everything that training changes: weights, their EMA, moments, decks, the discriminator; saved together."""

    def __init__(self, students: Students, criterion: Criterion, settings: TrainingSection, ranks: Ranks = ALONE):
        """ranks: the processes that train together. The students' weights get the memory layout channels_last."""
        students.module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.students, self.criterion, self.settings, self.ranks = students, criterion, settings, ranks
        self.parameters = list(students.module.parameters())
        betas = (settings.beta1, 0.99)
        self.optimizer = make_optimizer(settings.optimizer, self.parameters, settings.learning_rate, betas)
        self.average = {name: p.detach().clone() for name, p in students.module.named_parameters()}
        self.index = self.setbacks = 0
        self.asked_to_stop = self.stops = False  # asked: in this process; stops: in any, as `hear` learns

    def set_rate(self) -> float:
        """Set the optimiser's rate for this round; returns it as a share of its peak."""
        rate = learning_rate(self.index, self.settings.rounds, 1.0, self.settings.final_rate) * 0.5**self.setbacks
        set_rate(self.optimizer, self.settings.learning_rate * rate)
        return rate

    def average_weight(self) -> float:
        """The share of this round's weights in the EMA; it begins at 0.9, so that early weights are soon forgotten."""
        return 1 - min(self.settings.ema, (1 + self.index) / (10 + self.index))

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that the next round depends on; batches depend only on the index."""
        tensors = {f"weights/{name}": tensor for name, tensor in self.students.module.state_dict().items()}
        tensors |= {f"average/{name}": tensor for name, tensor in self.average.items()}
        tensors |= pack(self.optimizer, "optimizer/")
        metadata: dict[str, Any] = {"index": self.index, "setbacks": self.setbacks, "rounds": self.students.state()}
        if self.criterion.adversary:
            judged, metadata["adversary"] = self.criterion.adversary.state()
            tensors |= {f"adversary/{name}": tensor for name, tensor in judged.items()}
        return tensors, metadata

    def restore(self, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> None:
        """Restore a `state`."""
        groups: dict[str, dict[str, Tensor]] = {"weights": {}, "average": {}, "optimizer": {}, "adversary": {}}
        for name, tensor in tensors.items():
            group, _, rest = name.partition("/")
            groups[group][rest] = tensor
        self.students.module.load_state_dict(groups["weights"])
        for name, tensor in groups["average"].items():
            self.average[name].copy_(tensor)
        unpack(self.optimizer, groups["optimizer"], "")
        self.students.restore(metadata["rounds"])
        if self.criterion.adversary:
            self.criterion.adversary.restore(groups["adversary"], metadata["adversary"])
        self.index, self.setbacks = int(metadata["index"]), int(metadata["setbacks"])

    def hear(self, *numbers: float, of: Sequence[nn.Parameter] = ()) -> list[float]:
        """All-reduce gradients and scalars (mean); the same message carries the stop flag."""
        *means, asked = self.ranks.average_gradients(of, *numbers, float(self.asked_to_stop))
        self.stops = asked > 0
        return means

    def snapshot(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """A copy of the state."""
        tensors, metadata = self.state()
        return {name: tensor.clone() for name, tensor in tensors.items()}, metadata

    def go_back(self, good: tuple[dict[str, Tensor], dict[str, Any]], trouble: str) -> None:
        """Return to a snapshot, and continue from it at half the learning rate. FailedError after too many times."""
        setbacks = self.setbacks + 1
        if setbacks > MOST_SETBACKS:
            raise FailedError(
                f"training failed {setbacks} times, the last time because {trouble}; set a lower "
                "training.learning_rate (finetune.learning_rate where it fine-tunes) or "
                "training.discriminator.learning_rate"
            )
        self.restore(*good)
        self.setbacks = setbacks


def learning_rate(index: int, rounds: int, peak: float, final: float = 0.01) -> float:
    """Linear warm-up, then a cosine down to the share `final` of the peak."""
    warm = min(1.0, (index + 1) / min(WARM_UP_ROUNDS, rounds))
    return peak * warm * (final + (1 - final) * 0.5 * (1 + math.cos(math.pi * index / rounds)))
