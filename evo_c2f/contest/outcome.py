"""What races show: shares of the attainable hypervolume, networks until it is near, and intervals over seeds."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from evo_c2f.objectives import pareto
from evo_c2f.objectives.pareto import Values
from evo_c2f.tables.table import Table

AFTER = (10, 20, 30, 40, 50, 75, 100, 125, 150, 200, 250, 300)  # networks, at which the share is told
FEWEST = 6  # seeds with an interval: the smallest and the largest of 5 span the median in 93.75 %
GOALS = (0.95, 0.99)  # of the attainable hypervolume


def share(table: Table, numbers: Sequence[int] | NDArray[np.int64]) -> float:
    """The hypervolume of networks (row numbers), by their true metrics, as a share of the attainable one."""
    return table.volume(numbers) / table.attainable if len(numbers) else 0.0


def until(table: Table, numbers: Sequence[int], goal: float) -> float:
    """How many of the networks, in order, reach the goal's share; infinite if all of them don't."""
    if share(table, numbers) < goal:
        return float("inf")
    low, high = 1, len(numbers)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if share(table, numbers[:middle]) >= goal else (middle + 1, high)
    return float(low)


def found_front(table: Table, numbers: Sequence[int], scores: Values | None) -> NDArray[np.int64]:
    """The row numbers of the front among the networks, by the scores that the search saw."""
    rows = np.array(numbers, dtype=np.int64)
    losses = table.losses[rows].copy()
    if scores is not None:
        losses[:, 0] = -scores[rows]
    return rows[pareto.non_dominated(losses)]


def outcome(table: Table, numbers: Sequence[int], scores: Values | None = None) -> dict[str, float]:
    """One race in numbers: shares after some numbers of networks, at the end, and of the front that was found.

    found: the share of the networks on the front by the scores that the search saw, by their true metrics.
    """
    shares = {f"share_{n}": share(table, numbers[:n]) for n in AFTER}
    goals = {f"until_{100 * goal:.0f}": until(table, numbers, goal) for goal in GOALS}
    found = share(table, found_front(table, numbers, scores)) if scores is not None else share(table, numbers)
    return {"networks": float(len(numbers)), **shares, "final": share(table, numbers), "found": found, **goals}


def median(values: Values) -> tuple[float, float, float]:
    """The median of seeds, and an interval by order statistics that covers the true one in 95 % or more, whatever the
    distribution. NaN with fewer than FEWEST seeds: all of them together span less than that.
    """
    ordered = np.sort(values)
    middle = float(np.quantile(ordered, 0.5, method="lower"))
    if len(ordered) < FEWEST:
        return middle, float("nan"), float("nan")
    below = int(binom.ppf(0.025, len(ordered), 0.5))
    low, high = ordered[max(below - 1, 0)], ordered[min(len(ordered) - below, len(ordered) - 1)]
    return middle, float(low), float(high)


def lead(values: Values, rivals: Values, rng: np.random.Generator, n: int = 2000) -> tuple[float, float, float]:
    """The median of values minus that of rivals, with its 95 % bootstrap interval (percentiles)."""
    draws = [np.median(rng.choice(some, (n, len(some))), axis=1) for some in (values, rivals)]
    low, high = np.quantile(draws[0] - draws[1], [0.025, 0.975])
    return float(np.median(values) - np.median(rivals)), float(low), float(high)
