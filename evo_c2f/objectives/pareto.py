"""Pareto fronts of values to minimise, in numpy: mask, ranks, hypervolume, crowding, knee."""

from bisect import bisect_left

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


def non_dominated(values: Values) -> NDArray[np.bool_]:
    """Mask of the rows (n, m) that no other row dominates; equal rows are all kept, rows with NaN never."""
    mask = np.zeros(len(values), dtype=bool)
    finite = np.flatnonzero(np.isfinite(values).all(axis=1))
    # In lexical order a row can only be dominated by one before it: so the first that is left is on the front.
    order = finite[np.lexsort(values[finite].T[::-1])]
    while len(order):
        mask[order[0]] = True
        row, rest = values[order[0]], values[order[1:]]
        order = order[1:][(rest < row).any(axis=1) | (rest == row).all(axis=1)]
    return mask


def ranks(values: Values) -> NDArray[np.int64]:
    """The index of each row's front, (n, m) -> (n,), from 0; rows with NaN come after all others.

    In lexical order, each row joins the first front that does not dominate it (ENS-BS, Zhang et al. 2015).
    """
    result = np.full(len(values), -1, dtype=np.int64)
    fronts: list[list[Values]] = []
    finite = np.flatnonzero(np.isfinite(values).all(axis=1))
    for index in finite[np.lexsort(values[finite].T[::-1])]:
        row = values[index]
        rank = bisect_left(fronts, True, key=lambda front: not _dominated(row, np.array(front)))
        if rank == len(fronts):
            fronts.append([])
        fronts[rank].append(row)
        result[index] = rank
    result[result < 0] = len(fronts)
    return result


def _dominated(row: Values, others: Values) -> bool:
    """Whether one of the others (n, m) dominates the row (m,)."""
    return bool(((others <= row).all(axis=1) & (others < row).any(axis=1)).any())


def hypervolume(values: Values, reference: Values) -> float:
    """The volume that the rows (n, m) dominate below the reference point (m,)."""
    values = values[(values < reference).all(axis=1)]
    if not len(values):
        return 0.0
    if values.shape[1] == 1:
        return float(reference[0] - values.min())
    # Slice along the last objective: between two neighbouring values the section is constant.
    order = np.argsort(values[:, -1], kind="stable")
    values = values[order]
    bounds = np.append(values[:, -1], reference[-1])
    if values.shape[1] == 2:
        best = np.minimum.accumulate(values[:, 0])
        return float(((reference[0] - best) * np.diff(bounds)).sum())
    sections = (hypervolume(values[: k + 1, :-1], reference[:-1]) * d for k, d in enumerate(np.diff(bounds)) if d > 0)
    return float(sum(sections))


def crowding(values: Values) -> Values:
    """Crowding distance of each row (n, m) of one front; inf at the ends (NSGA-II, Deb 2002, sec. III-B)."""
    n, m = values.shape
    distance = np.zeros(n)
    for column in values.T:
        order = np.argsort(column, kind="stable")
        span = column[order[-1]] - column[order[0]]
        distance[order[[0, -1]]] = np.inf
        if span > 0 and n > 2:
            distance[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / span / m
    return distance


def spread(values: Values, k: int) -> NDArray[np.int64]:
    """The indices of k rows of a front that lie well apart: the most crowded row is removed, one at a time."""
    kept = np.arange(len(values))
    while len(kept) > k:
        kept = np.delete(kept, np.argmin(crowding(values[kept])))
    return kept


def knee(values: Values) -> int:
    """The row of a front (n, m) with the smallest sum of values, each scaled to 0..1 over the front.

    With two objectives that is the row farthest from the line through the front's ends.
    """
    low, high = values.min(axis=0), values.max(axis=0)
    scaled = (values - low) / np.where(high > low, high - low, 1)
    return int(np.argmin(scaled.sum(axis=1)))
