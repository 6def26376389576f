"""The races of a study as tables of medians over seeds, with intervals."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evo_c2f.contest.contestants import JOINT, OURS
from evo_c2f.contest.outcome import AFTER, lead, median
from evo_c2f.contest.race import NOISY, Row, row_of
from evo_c2f.objectives.pareto import Values

Races = Mapping[Row, Sequence[Mapping[str, Any]]]


def by_row(found: Sequence[dict[str, Any]], rows: Sequence[Row], seeds: int) -> dict[Row, list[dict[str, Any]]]:
    """Each row's races with the first seeds, by seed; rows without any are left out."""
    races: dict[Row, dict[int, dict[str, Any]]] = defaultdict(dict)
    for one in found:
        if one["seed"] < seeds:
            races[row_of(one)][one["seed"]] = one
    return {row: [races[row][seed] for seed in sorted(races[row])] for row in rows if row in races}


def column(races: Sequence[Mapping[str, Any]], name: str) -> Values:
    """A figure of each race; one that was never reached is infinite."""
    return np.array([float("inf") if race[name] is None else race[name] for race in races])


def _told(races: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, float]:
    found: dict[str, float] = {"seeds": len(races)}
    for name in names:
        found |= _banded(races, name)
    return found


def _banded(races: Sequence[Mapping[str, Any]], name: str) -> dict[str, float]:
    """The median of a figure and its interval; NaN where most never reached it."""
    told = (value if np.isfinite(value) else float("nan") for value in median(column(races, name)))
    return dict(zip((name, f"{name}_low", f"{name}_high"), told, strict=True))


def search_rows(races: Races) -> list[dict[str, Any]]:
    """One row a contestant and a table: share after 100 networks and at the end, and networks until 95 and 99 %."""
    figures = ("share_100", "final", "until_95", "until_99")
    return [
        {"table": row.table, "contestant": row.contestant, **_told(some, figures)}
        for row, some in races.items()
        if row.tau == 1
    ]


def lead_rows(races: Races, explained: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    """One row a table: what paths explain, and how far coarse to fine is ahead of joint, after 100 networks and at the
    end.
    """
    found = []
    for table, about in explained.items():
        mine, others = (races.get(Row(table, name)) for name in (OURS, JOINT))
        if mine and others:
            row: dict[str, Any] = {"table": table, **about}
            for name in ("share_100", "final"):
                ahead = lead(column(mine, name), column(others, name), np.random.default_rng(0))
                row |= dict(zip((f"{name}_lead", f"{name}_low", f"{name}_high"), ahead, strict=True))
            found.append(row)
    return found


def noise_rows(races: Races) -> list[dict[str, Any]]:
    """One row a level of noise and a contestant: true shares of the front that was found, and of all it asked for."""
    levels = {row.contestant for row in races if row.tau < 1}
    return [
        {"tau": row.tau, "biased": row.biased, "contestant": row.contestant, **_told(some, ("found", "final"))}
        for row, some in races.items()
        if row.table == NOISY and row.contestant in levels
    ]


def curve(races: Sequence[Mapping[str, Any]]) -> list[tuple[float, float, float]]:
    """The share after each of AFTER, as far as all races go, with its interval."""
    least = min(race["networks"] for race in races)
    return [median(column(races, f"share_{n}")) for n in AFTER if n <= least]
