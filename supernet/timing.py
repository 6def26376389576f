"""The time that an action takes on a device."""

import time
from collections.abc import Callable, Sequence
from statistics import median

import torch

WARM_UPS = 2


def seconds(action: Callable[[], object], device: torch.device) -> float:
    start = time.perf_counter()
    action()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def timed(action: Callable[[], object], device: torch.device, repeats: int = 9) -> float:
    """Median milliseconds of the action, after warm-up."""
    return 1000 * median([seconds(action, device) for _ in range(repeats + WARM_UPS)][WARM_UPS:])


def timed_in_turn(actions: Sequence[Callable[[], object]], device: torch.device, repeats: int) -> list[float]:
    """Median milliseconds of each action. They take turns, so that a machine that gets slower is slower for all."""
    rounds = [[seconds(action, device) for action in actions] for _ in range(repeats + WARM_UPS)][WARM_UPS:]
    return [1000 * median(times) for times in zip(*rounds, strict=True)]
