"""The networks trained in a round: the subnets of a fair round, or one network alone."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from evo_c2f.space import Architecture
from supernet.network.generator import Supernet, parts
from supernet.rounds.sampling import Rounds

Forward = Callable[[Tensor], Tensor]


class Students(Protocol):
    """The networks that the training loop trains."""

    @property
    def module(self) -> nn.Module: ...
    def deal(self) -> tuple[Sequence[Forward], list[nn.Parameter]]:
        """The networks of the next round, and the parameters that they use."""

    def settle(self) -> None:
        """Called after the round's gradients are computed."""

    def state(self) -> dict[str, Any]:
        """Everything that the next rounds depend on, except the weights, as JSON."""

    def restore(self, state: dict[str, Any]) -> None: ...


class SharedSubnets:
    """A supernet's subnets, dealt by its rounds."""

    def __init__(self, supernet: Supernet, rounds: Rounds, divide_gradients: bool = False):
        """divide_gradients: divide each weight's gradient by how often the round's subnets used it."""
        self.supernet, self.rounds, self.divide_gradients = supernet, rounds, divide_gradients
        self.module: nn.Module = supernet
        self.dealt: list[Architecture] = []

    def deal(self) -> tuple[list[Forward], list[nn.Parameter]]:
        self.dealt = [self.supernet.space.decode(genome) for genome in self.rounds.deal()]
        networks: list[Forward] = [partial(self.supernet, architecture=architecture) for architecture in self.dealt]
        return networks, self.supernet.used(self.dealt)

    def settle(self) -> None:
        if self.divide_gradients:
            divide_by_uses(self.supernet, self.dealt)

    def state(self) -> dict[str, Any]:
        return self.rounds.state()

    def restore(self, state: dict[str, Any]) -> None:
        self.rounds.restore(state)


class Alone:
    """One network, trained as a whole in every round."""

    def __init__(self, module: nn.Module):
        self.module = module

    def deal(self) -> tuple[list[Forward], list[nn.Parameter]]:
        return [self.module], list(self.module.parameters())

    def settle(self) -> None:
        """Does nothing: each weight was used once."""

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Does nothing: only the weights are state."""


@torch.no_grad()
def divide_by_uses(supernet: Supernet, architectures: Sequence[Architecture]) -> None:
    """Divide each weight's gradient by how often the architectures used it: a path may take one transition twice."""
    uses: dict[nn.Parameter, Tensor] = {}
    for architecture in architectures:
        for part in parts(architecture):
            for parameter, prefix in supernet.slices(part):
                uses.setdefault(parameter, torch.zeros_like(parameter))[prefix] += 1
    for parameter, count in uses.items():
        assert parameter.grad is not None
        parameter.grad /= count.clamp(min=1)
