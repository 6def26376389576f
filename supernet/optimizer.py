"""Optimisers: Muon beside torch's Adam, a step that touches only what a round used, and moments as named tensors."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

OptimizerName = Literal["adam", "muon"]
MOMENTUM = 0.95
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315), 5  # coefficients and steps that bring singular values near 1
LEAST_SIDE = 8  # channels on both sides of a convolution that is stepped as a matrix


class Muon(torch.optim.Adam):
    """Steps each convolution by its orthogonalised momentum, and all that is no matrix by Adam.

    K. Jordan, Muon, 2024; the step is as long as Adam's (arXiv 2502.16982, eq. 4), so both share a
    learning rate. torch.optim.Muon takes no convolutions, and works in bfloat16, matrix by matrix:
    eight times slower on a CPU (`bench`).
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """One step over the parameters that have a gradient."""
        group = self.param_groups[0]
        everything = group["params"]
        matrices = [p for p in everything if is_matrix(p) and p.grad is not None]
        group["params"] = [p for p in everything if not is_matrix(p)]
        super().step(closure)
        group["params"] = everything
        for alike in by_shape(matrices):
            rows, columns = alike[0].shape[0], alike[0][0].numel()
            moments = torch.stack([self._moment(p).reshape(rows, columns) for p in alike])
            length = 0.2 * math.sqrt(max(rows, columns)) * group["lr"]
            for parameter, change in zip(alike, orthogonal(moments), strict=True):
                parameter.add_(change.reshape(parameter.shape), alpha=-length)

    def _moment(self, parameter: nn.Parameter) -> Tensor:
        """Nesterov's, after the parameter's gradient has entered it."""
        state, gradient = self.state[parameter], parameter.grad
        assert gradient is not None
        if not state:
            state["step"] = torch.zeros(())  # Adam's own loading asks for it
            state["exp_avg"] = torch.zeros_like(parameter)
        state["exp_avg"].lerp_(gradient, 1 - MOMENTUM)
        return gradient.lerp(state["exp_avg"], MOMENTUM)


def is_matrix(parameter: Tensor) -> bool:
    """Whether it is the weight of a convolution that mixes many channels with many."""
    return parameter.ndim == 4 and min(parameter.shape[:2]) >= LEAST_SIDE


def by_shape(tensors: Iterable[nn.Parameter]) -> list[list[nn.Parameter]]:
    groups: dict[torch.Size, list[nn.Parameter]] = {}
    for tensor in tensors:
        groups.setdefault(tensor.shape, []).append(tensor)
    return list(groups.values())


def orthogonal(matrices: Tensor) -> Tensor:
    """(n, rows, columns) -> the same with all singular values near 1, by Newton-Schulz iteration."""
    (a, b, c), steps = NEWTON_SCHULZ
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-12)
    for _ in range(steps):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x.mT if tall else x


OPTIMIZERS: dict[OptimizerName, type[torch.optim.Adam]] = {"adam": torch.optim.Adam, "muon": Muon}


def make_optimizer(
    name: OptimizerName, parameters: list[nn.Parameter], learning_rate: float, betas: tuple[float, float]
) -> torch.optim.Optimizer:
    """Over the parameters, at a constant rate; betas are Adam's."""
    return OPTIMIZERS[name](parameters, lr=learning_rate, betas=betas, fused=True)


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
        for name in state.keys() - {"step"}:
            # The fused step walks the memory: the moments must lie in it as their parameter does.
            state[name] = torch.empty_like(parameter).copy_(state[name])
