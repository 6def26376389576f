"""The grammar of paths: which are valid, how to draw, repair, enumerate and count them.

A path holds one number a cell: SKIP, or k in 1..n_levels for the k-th finest level of the space.
It is valid when neighbouring active cells differ by at most one level and at least one is active.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import product
from math import prod

import numpy as np
from numpy.typing import NDArray

SKIP = 0

Paths = NDArray[np.uint8]


def reachable(last: int, n_levels: int) -> range:
    """Levels that a cell may take after an active cell at `last` (SKIP: no cell was active yet)."""
    if last == SKIP:
        return range(1, n_levels + 1)
    return range(max(1, last - 1), min(n_levels, last + 1) + 1)


def is_valid(paths: Paths) -> NDArray[np.bool_]:
    """Which of the paths are valid; paths (n, n_cells) -> (n,)."""
    last = np.zeros(len(paths), dtype=np.int16)
    valid: NDArray[np.bool_] = (paths != SKIP).any(axis=1)
    for column in paths.T.astype(np.int16):
        active = column != SKIP
        valid &= ~active | (last == SKIP) | (abs(column - last) <= 1)
        last = np.where(active, column, last)
    return valid


def sample(n: int, n_cells: int, n_levels: int, rng: np.random.Generator) -> Paths:
    """n random valid paths, (n, n_cells).

    The number of active cells is uniform, so that a first population covers all costs: short paths are rare among all
    valid ones.
    """
    paths = np.zeros((n, n_cells), dtype=np.uint8)
    for path in paths:
        n_active = rng.integers(1, n_cells + 1)
        last = SKIP
        for cell in sorted(rng.permutation(n_cells)[:n_active].tolist()):
            levels = reachable(last, n_levels)
            path[cell] = last = levels[rng.integers(len(levels))]  # rng.choice draws the same, and takes much longer
    return paths


def uniform(n: int, n_cells: int, n_levels: int, rng: np.random.Generator) -> Paths:
    """n random valid paths, (n, n_cells), each of all valid paths equally likely."""
    levels = np.arange(n_levels + 1)
    allowed = np.array([[k == SKIP or k in reachable(last, n_levels) for k in levels] for last in levels.tolist()])
    after = np.where(levels == SKIP, levels[:, None], levels)  # (last active level, choice) -> last active level then
    # Counted backwards: how many valid ends each choice of a cell has, (last active level, choice).
    ways, ends = (levels != SKIP).astype(float), []
    for _ in range(n_cells):
        ends.append(allowed * ways[after])
        ways = ends[-1].sum(axis=1)
    paths, last = np.zeros((n, n_cells), dtype=np.uint8), np.full(n, SKIP)
    for cell, shares in enumerate(reversed(ends)):
        bounds = shares.cumsum(axis=1)[last]
        paths[:, cell] = (rng.random((n, 1)) * bounds[:, -1:] >= bounds).sum(axis=1)
        last = after[last, paths[:, cell]]
    return paths


def repair(paths: Paths, n_levels: int, rng: np.random.Generator) -> Paths:
    """The paths made valid, left to right: a jump becomes a step of one level, an empty path gets a cell."""
    paths = paths.copy()
    for row in np.flatnonzero(~paths.any(axis=1)):
        paths[row, rng.integers(paths.shape[1])] = rng.integers(1, n_levels + 1)
    last = np.zeros(len(paths), dtype=np.int16)
    for column in paths.T:  # of all paths at once: breeding spends much of its time here
        near = np.clip(column, last - 1, last + 1)
        column[:] = np.where((column == SKIP) | (last == SKIP), column, near)
        last = np.where(column == SKIP, last, column)
    return paths


def enumerate_paths(n_cells: int, n_levels: int) -> Iterator[tuple[int, ...]]:
    """All valid paths, in lexical order."""

    def extend(prefix: tuple[int, ...], last: int) -> Iterator[tuple[int, ...]]:
        if len(prefix) == n_cells:
            if last != SKIP:
                yield prefix
            return
        yield from extend((*prefix, SKIP), last)
        for level in reachable(last, n_levels):
            yield from extend((*prefix, level), level)

    return extend((), SKIP)


def count(
    n_cells: int, n_levels: int, per_cell: int = 1, per_level: Sequence[int] | None = None, *, skips: bool = True
) -> int:
    """The exact number of valid paths, weighted.

    Each active cell multiplies by `per_cell`, each visited level by its entry of `per_level` (default 1). Without
    `skips`, counts only the paths of all lengths 1..n_cells that skip no cell.
    """
    weights = per_level or [1] * n_levels

    def ended(states: Counter[tuple[int, int]]) -> int:
        return sum(
            n * prod(w for k, w in enumerate(weights) if visited >> k & 1)
            for (last, visited), n in states.items()
            if last != SKIP
        )

    # A transfer matrix over (level of the last active cell, set of the levels visited so far).
    states: Counter[tuple[int, int]] = Counter({(SKIP, 0): 1})
    total = 0
    for _ in range(n_cells):
        following: Counter[tuple[int, int]] = Counter(states) if skips else Counter()
        for ((last, visited), n), k in product(states.items(), range(1, n_levels + 1)):
            if k in reachable(last, n_levels):
                following[k, visited | 1 << (k - 1)] += n * per_cell
        states = following
        total += ended(states)
    return ended(states) if skips else total
