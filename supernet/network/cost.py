"""The costs of an architecture, from its genes alone, and those of any network, by torch's counter."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from evo_c2f.space import Architecture
from supernet.network.generator import Frame, Part, convolutions, parts

BYTES_PER_PARAMETER = 4

Price = Callable[[Architecture, Frame, tuple[int, int]], float]
OTHERS: dict[str, Price] = {}  # prices that plugins add


@lru_cache(maxsize=65536)
def part_cost(part: Part, frame: Frame, height: int, width: int) -> tuple[int, int]:
    """(parameters, MACs) of one part when level 0 is height x width."""
    # To a coarser level a transition runs after the unshuffle, to a finer one before the shuffle.
    span = frame.span(max(part.place) if part.kind == "transition" else part.level)
    convs = convolutions(part, frame).values()
    return sum(c.params for c in convs), sum(c.macs(height // span, width // span) for c in convs)


def costs(architecture: Architecture, frame: Frame, output_size: tuple[int, int]) -> dict[str, float]:
    """params, macs and size_mb (4 bytes a parameter, 1e6 bytes a MB) for an output of (height, width).

    MACs are those of the padded size, a multiple of the coarsest visited level.
    """
    unit = max(frame.scale, *(frame.span(level) for level, _ in architecture.widths))
    height, width = (-(-side // unit) * unit for side in output_size)
    each = [part_cost(part, frame, height, width) for part in parts(architecture)]
    params = sum(p for p, _ in each)
    return {
        "params": float(params),
        "macs": float(sum(m for _, m in each)),
        "size_mb": params * BYTES_PER_PARAMETER / 1e6,
    }


def network_costs(network: Any, size: tuple[int, int]) -> dict[str, float]:
    """params, and macs for an input of (height, width), as torch's counter counts them."""
    device = next(network.parameters()).device
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, network.input_channels, *size, device=device))
    return {"params": float(sum(p.numel() for p in network.parameters())), "macs": counter.get_total_flops() / 2}
