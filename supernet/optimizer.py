"""An optimiser's moments as named tensors, and a step that touches only what a round used."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def step_used(optimizer: torch.optim.Optimizer, used: list[nn.Parameter]) -> None:
    """Step over the parameters that a round used, and set their gradients to None.

    Adam's own pass over a thousand unused ones, or `zero_grad`'s walk over all modules, would cost
    a tenth of a small subnet's step.
    """
    group = optimizer.param_groups[0]
    everything, group["params"] = group["params"], used
    optimizer.step()
    group["params"] = everything
    for parameter in used:
        parameter.grad = None


def pack(optimizer: torch.optim.Optimizer, prefix: str) -> dict[str, Tensor]:
    """The moments by '<prefix><number of the parameter>/<name>'."""
    states = optimizer.state_dict()["state"].items()
    return {f"{prefix}{number}/{name}": tensor for number, moments in states for name, tensor in moments.items()}


def unpack(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], prefix: str) -> None:
    """Take up what `pack` gave."""
    moments: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        if key.startswith(prefix):
            number, _, name = key.removeprefix(prefix).partition("/")
            moments.setdefault(int(number), {})[name] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
    for parameter, state in optimizer.state.items():
        for name in ("exp_avg", "exp_avg_sq"):
            # The fused step walks the memory: the moments must lie in it as their parameter does.
            state[name] = torch.empty_like(parameter).copy_(state[name])
