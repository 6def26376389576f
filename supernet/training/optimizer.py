"""Optimisers: Muon beside torch's Adam, a step over only a round's parameters, and moments as named tensors."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from supernet.training.precision import has_bf16

OptimizerName = Literal["adam", "muon"]
MOMENTUM = 0.95
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315), 5  # coefficients and steps that bring singular values near 1
LEAST_SIDE = 8  # channels on both sides of a convolution that is stepped as a matrix


class Muon(torch.optim.Adam):
    """Updates each convolution by its orthogonalised momentum, and all parameters that are not matrices by Adam.

    K. Jordan, Muon, 2024. Its step is as long as Adam's (arXiv 2502.16982, eq. 4), so both share a learning rate.
    torch.optim.Muon accepts no convolutions, and works in bfloat16, one matrix at a time: eight times slower on a CPU
    (`bench`).
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
            # Channels last, as the weights lie in memory: no copy is made but the stack.
            moments = torch.stack([moment.movedim(1, -1) for moment in self._moments(alike)])
            directions = orthogonal(moments.flatten(2), torch.bfloat16 if has_bf16(moments.device) else None)
            changes = list(directions.view_as(moments).movedim(-1, 2))
            rows, columns = alike[0].shape[0], alike[0][0].numel()
            length = 0.2 * math.sqrt(max(rows, columns)) * group["lr"]
            if isinstance(length, Tensor):
                torch._foreach_mul_(changes, length)
                torch._foreach_sub_(alike, changes)
            else:
                torch._foreach_add_(alike, changes, alpha=-length)

    def _moments(self, parameters: Sequence[Tensor]) -> Sequence[Tensor]:
        """Nesterov's, after the gradients have entered them."""
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter]["step"] = torch.zeros(())  # Adam's own loading asks for it
                self.state[parameter]["exp_avg"] = torch.zeros_like(parameter)
        averages = [self.state[p]["exp_avg"] for p in parameters]
        gradients = [p.grad for p in parameters if p.grad is not None]
        torch._foreach_lerp_(averages, gradients, 1 - MOMENTUM)
        return torch._foreach_lerp(gradients, averages, MOMENTUM)


def is_matrix(parameter: Tensor) -> bool:
    """Whether it is the weight of a convolution from many channels to many."""
    return parameter.ndim == 4 and min(parameter.shape[:2]) >= LEAST_SIDE


def by_shape(tensors: Iterable[Tensor]) -> list[list[Tensor]]:
    groups: dict[torch.Size, list[Tensor]] = {}
    for tensor in tensors:
        groups.setdefault(tensor.shape, []).append(tensor)
    return list(groups.values())


def orthogonal(matrices: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """(n, rows, columns) -> the same with all singular values near 1, by Newton-Schulz iteration in `dtype`.

    In bfloat16 it is as good (Jordan), and a GPU computes it many times as fast.
    """
    (a, b, c), steps = NEWTON_SCHULZ
    tall = matrices.shape[1] > matrices.shape[2]
    x = (matrices.mT if tall else matrices).to(dtype or matrices.dtype)
    norms: Tensor = x.norm(dim=(1, 2), keepdim=True)
    x = x / (norms + 1e-12)
    for _ in range(steps):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return (x.mT if tall else x).to(matrices.dtype)


OPTIMIZERS: dict[OptimizerName, type[torch.optim.Adam]] = {"adam": torch.optim.Adam, "muon": Muon}


def make_optimizer(
    name: OptimizerName, parameters: list[nn.Parameter], learning_rate: float, betas: tuple[float, float]
) -> torch.optim.Optimizer:
    """An optimiser of the parameters, at a rate that `set_rate` changes; betas are Adam's."""
    on_gpu = parameters[0].is_cuda
    # On a GPU the rate lies in a tensor, which a recorded round reads anew each time.
    rate = torch.tensor(learning_rate, device=parameters[0].device) if on_gpu else learning_rate
    return OPTIMIZERS[name](parameters, lr=rate, betas=betas, fused=True, capturable=on_gpu)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate, in place if it is a tensor."""
    group = optimizer.param_groups[0]
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate


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
    """The moments as '<prefix><number of the parameter>/<name>'."""
    states = optimizer.state_dict()["state"].items()
    return {f"{prefix}{number}/{name}": tensor for number, moments in states for name, tensor in moments.items()}


def unpack(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], prefix: str) -> None:
    """Restore the moments that `pack` gave."""
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
        if "step" in state:
            state["step"] = state["step"].clone()  # which torch would share with `tensors`
