"""Training the supernet: one loop of fair rounds."""

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from evo_c2f.space import Architecture
from supernet import checkpoint
from supernet.data.photographs import PatchPairs
from supernet.fairness import FairRounds
from supernet.generator import Supernet, parts
from supernet.tasks import SuperResolution

SECONDS_BETWEEN_SAVES = 60.0
WARM_UP_ROUNDS = 50


class Settings(Protocol):
    """The part of a recipe that the loop reads."""

    @property
    def rounds(self) -> int: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def ema(self) -> float: ...
    @property
    def divide_gradients(self) -> bool: ...


def train(
    supernet: Supernet,
    rounds: FairRounds,
    batches: PatchPairs,
    task: SuperResolution,
    settings: Settings,
    state: Path,
    on_round: Callable[[int, float], None],
) -> dict[str, Tensor]:
    """Train in place for settings.rounds rounds; the averaged weights, to be evaluated.

    Each round is m subnets on one batch, their gradients accumulated, one update. on_round(index,
    mean loss) follows each; a KeyboardInterrupt raised in it stops the training with its state
    saved. The state is also saved once a minute, and taken up from there if the file exists.
    """
    device = next(supernet.parameters()).device
    supernet.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = {name: parameter.detach().clone() for name, parameter in supernet.named_parameters()}
    parameters = list(supernet.parameters())
    optimizer = torch.optim.Adam(parameters, lr=settings.learning_rate, betas=(0.9, 0.99), fused=True)
    index = restore(state, supernet, average, optimizer, rounds) if state.exists() else 0
    saved = time.monotonic()
    while index < settings.rounds:
        optimizer.param_groups[0]["lr"] = learning_rate(index, settings.rounds, settings.learning_rate)
        low, high = (t.to(device, memory_format=torch.channels_last) for t in batches[index])
        architectures = [supernet.space.decode(genome) for genome in rounds.deal()]
        loss = fair_gradients(supernet, architectures, low, high, task, settings.divide_gradients)
        step_used(optimizer, supernet.used(architectures))
        update_average(list(average.values()), parameters, index, settings.ema)
        index += 1
        try:
            on_round(index, loss)
        except KeyboardInterrupt:
            save(state, index, supernet, average, optimizer, rounds)
            raise
        if time.monotonic() - saved > SECONDS_BETWEEN_SAVES:
            save(state, index, supernet, average, optimizer, rounds)
            saved = time.monotonic()
    return average


def fair_gradients(
    supernet: Supernet,
    architectures: Sequence[Architecture],
    low: Tensor,
    high: Tensor,
    task: SuperResolution,
    divide: bool,
) -> float:
    """Fill the gradients, all None before, from a round's subnets on one batch; their mean loss.

    What the round doesn't use keeps `grad = None`, so that no momentum moves it.
    """
    total = 0.0
    for architecture in architectures:
        loss = task.loss(supernet(low, architecture), high) / len(architectures)
        loss.backward()
        total += loss.item()
    if divide:
        divide_by_uses(supernet, architectures)
    return total


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


@torch.no_grad()
def divide_by_uses(supernet: Supernet, architectures: Sequence[Architecture]) -> None:
    """Divide each weight's gradient by the number of the architectures that used it."""
    uses: dict[nn.Parameter, Tensor] = {}
    for architecture in architectures:
        for part in parts(architecture):
            for parameter, prefix in supernet.slices(part):
                uses.setdefault(parameter, torch.zeros_like(parameter))[prefix] += 1
    for parameter, count in uses.items():
        assert parameter.grad is not None
        parameter.grad /= count.clamp(min=1)


def learning_rate(index: int, rounds: int, peak: float) -> float:
    """Linear warm-up, then a cosine to 1 % of the peak."""
    warm = min(1.0, (index + 1) / min(WARM_UP_ROUNDS, rounds))
    return peak * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * index / rounds)))


@torch.no_grad()
def update_average(average: list[Tensor], parameters: list[nn.Parameter], index: int, decay: float) -> None:
    """Move the average towards the weights; its decay warms up, so that early weights are soon forgotten."""
    weight = 1 - min(decay, (1 + index) / (10 + index))
    torch._foreach_lerp_(average, parameters, weight)


def save(
    path: Path,
    index: int,
    supernet: Supernet,
    average: dict[str, Tensor],
    optimizer: torch.optim.Optimizer,
    rounds: FairRounds,
) -> None:
    """Write all that the next round depends on; the batches depend on the index alone."""
    tensors = {f"weights/{name}": tensor for name, tensor in supernet.state_dict().items()}
    tensors |= {f"average/{name}": tensor for name, tensor in average.items()}
    for parameter, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{parameter}/{name}": tensor for name, tensor in moments.items()}
    checkpoint.save(path, tensors, {"index": index, "rounds": rounds.state()})


def restore(
    path: Path, supernet: Supernet, average: dict[str, Tensor], optimizer: torch.optim.Optimizer, rounds: FairRounds
) -> int:
    """Take up the state written by `save`; the number of rounds done."""
    tensors, metadata = checkpoint.load(path)
    groups: dict[str, dict[str, Tensor]] = {"weights": {}, "average": {}, "optimizer": {}}
    for name, tensor in tensors.items():
        group, _, rest = name.partition("/")
        groups[group][rest] = tensor
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in groups["optimizer"].items():
        parameter, _, moment = name.partition("/")
        moments.setdefault(int(parameter), {})[moment] = tensor
    supernet.load_state_dict(groups["weights"])
    for name, tensor in groups["average"].items():
        average[name].copy_(tensor)
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
    for parameter, state in optimizer.state.items():
        for name in ("exp_avg", "exp_avg_sq"):
            # The fused step walks the memory: the moments must lie in it as their parameter does.
            state[name] = torch.empty_like(parameter).copy_(state[name])
    rounds.restore(metadata["rounds"])
    return int(metadata["index"])
