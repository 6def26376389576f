"""The networks that a search has to beat: hand-made ones of its size, beside subnets of its space."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch
from torch import nn

from evo_c2f.space import Architecture, SearchSpace
from supernet.jobs.job import Job
from supernet.latency.table import LatencyTable
from supernet.network.cost import BYTES_PER_PARAMETER, costs
from supernet.network.generator import Frame
from supernet.network.plain import PlainUpscaler

BLOCKS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24)  # depths of the plain networks
WIDTHS = range(4, 257, 4)  # their channels
BEYOND = 3  # times a budget: no wider network is looked at
NEAR = 0.75  # the share of a budget that is near it


@dataclass(frozen=True)
class Contestant:
    """A network in a comparison: a subnet's architecture, or the (width, blocks) of a plain network.

    latency_ratio: of its exported file, if the budget is in latency.
    """

    architecture: Architecture | None = None
    plain: tuple[int, int] | None = None
    latency_ratio: float | None = None

    @property
    def operators(self) -> frozenset[str]:
        """Of a subnet's cells."""
        return frozenset(cell.operator for cell in self.architecture.cells) if self.architecture else frozenset()

    def build(self, job: Job) -> nn.Module:
        """Freshly initialised from the job's seed."""
        if self.architecture is not None:
            return job.fresh(self.architecture)
        assert self.plain is not None
        torch.manual_seed(job.seed)
        frame = job.task.frame
        return PlainUpscaler(*self.plain, scale=frame.scale, channels=frame.input_channels).to(job.device)


def plain_size_mb(width: int, blocks: int, scale: int, channels: int = 3) -> float:
    """Megabytes of the plain network's weights in float32."""
    with torch.device("meta"):
        network = PlainUpscaler(width, blocks, scale, channels)
    return sum(p.numel() for p in network.parameters()) * BYTES_PER_PARAMETER / 1e6


@dataclass(frozen=True)
class Budget:
    """The most that a network may cost: in MB, or in the latency of the plain network of 8 blocks and 48 channels."""

    cost: Literal["size_mb", "latency_ratio"]
    most: float
    of_subnet: Callable[[Architecture], float]
    of_plain: Callable[[int, int], float]  # of a width and a number of blocks


def in_size(most: float, frame: Frame) -> Budget:
    """A budget in MB."""

    def of_subnet(architecture: Architecture) -> float:
        return costs(architecture, frame, (1, 1))["size_mb"]

    return Budget("size_mb", most, of_subnet, partial(plain_size_mb, scale=frame.scale, channels=frame.input_channels))


def in_latency(most: float, table: LatencyTable, of_plain: Callable[[int, int], float]) -> Budget:
    """A budget of exported files' latencies, over that of the plain network; of_plain: in ms, all taken together."""
    whole = of_plain(48, 8)
    return Budget("latency_ratio", most, table.ratio, lambda width, blocks: of_plain(width, blocks) / whole)


def plain_networks(budget: Budget) -> dict[str, Contestant]:
    """The widest plain network of each depth within a budget, without those of which a deeper one is as wide.

    A wider network may be faster than a narrower one, so a width that is too slow does not end the look.
    """
    found, widest_deeper = {}, 0
    for blocks in reversed(BLOCKS):
        width, cost = widest_plain(budget, blocks)
        if width > widest_deeper:
            ratio = cost if budget.cost == "latency_ratio" else None
            found[f"plain-{width}x{blocks}"] = Contestant(plain=(width, blocks), latency_ratio=ratio)
            widest_deeper = width
    return found


def widest_plain(budget: Budget, blocks: int) -> tuple[int, float]:
    """The width and the cost of the widest plain network of a depth within a budget; a width of 0 if there is none."""
    found = 0, 0.0
    for width in WIDTHS:
        cost = budget.of_plain(width, blocks)
        if cost > BEYOND * budget.most:
            break
        if cost <= budget.most:
            found = width, cost
    return found


def single_operator_networks(space: SearchSpace, budget: Budget, frame: Frame, n: int = 1) -> dict[str, Contestant]:
    """The most expensive network of each single operator within a budget; n: as many, down to NEAR of the budget.

    They lie on the first cells of the reference path. Their names tell the parameters, since another budget has others.
    """
    found: dict[str, Contestant] = {}
    for operator in space.operators:
        priced = [(budget.of_subnet(a), len(a.cells), a) for a in _of_operator(space, operator)]
        fitting = [one for one in priced if one[0] <= budget.most]
        fitting.sort(key=lambda one: one[:2], reverse=True)
        near = [a for cost, _, a in fitting if cost >= NEAR * budget.most] or [a for *_, a in fitting[:1]]
        for architecture in near[:: max(1, len(near) // n)][:n]:
            params = costs(architecture, frame, (1, 1))["params"]
            found[f"all-{operator}-{params:.0f}"] = Contestant(architecture)
    return found


def _of_operator(space: SearchSpace, operator: str) -> Iterator[Architecture]:
    """All depths, trunk widths (one step of narrowing at all levels) and inner widths of an operator's networks."""
    active = np.flatnonzero(space.reference[space.paths])
    steps = max(len(widths) for widths in space.widths.values())
    for depth in range(1, len(active) + 1):
        for step in range(steps):
            for inner in range(len(space.inner_ratios)):
                genome = space.reference.copy()
                genome[space.paths.start + active[depth:]] = 0
                genome[space.blocks] = space.operators.index(operator)
                genome[space.inners] = inner
                genome[space.trunks] = [max(len(space.widths[level]) - 1 - step, 0) for level in space.levels]
                yield space.decode(space.canonical(genome[None])[0])


def slowest_of_each_operator(networks: Mapping[str, Contestant]) -> dict[str, Contestant]:
    """Of networks of a single operator, whose latencies are known, the slowest of each."""
    found: dict[frozenset[str], tuple[str, Contestant]] = {}
    for name, one in sorted(networks.items(), key=lambda item: item[1].latency_ratio or 0, reverse=True):
        found.setdefault(one.operators, (name, one))
    return dict(found.values())
