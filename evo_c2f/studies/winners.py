"""Does the search find better networks than random or hand-made ones of the same size, trained alike?"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from math import sqrt
from statistics import fmean
from typing import Any

import numpy as np
from scipy.stats import t as student

from evo_c2f.errors import InputError
from evo_c2f.objectives.metric import Metric
from evo_c2f.scores import analysis
from evo_c2f.space import Architecture, Genomes, SearchSpace
from evo_c2f.studies.halving import successive_halving

SEARCHED = "searched"
DRAWN = 20_000  # random subnets among which those within the budget are found
Scores = Mapping[str, float]
Train = Callable[[Sequence[tuple[str, int]], int], Sequence[Scores]]  # names and seeds, and images for each


def random_within(
    space: SearchSpace,
    cost: Callable[[Architecture], float],
    name: str,
    within: tuple[float, float],
    n: int,
    rng: np.random.Generator,
) -> Genomes:
    """n random subnets (n, n_genes) whose cost lies within (least, most). InputError if fewer were found.

    name: of the cost, for the error.
    """
    least, most = within
    found: dict[tuple[Any, ...], Genomes] = {}
    for genome in space.random(DRAWN, rng):
        architecture = space.decode(genome)
        if least <= cost(architecture) <= most:
            found.setdefault(architecture.key, genome)
        if len(found) == n:
            return np.array(list(found.values()))
    raise InputError(
        f"only {len(found)} of {DRAWN:,} random subnets have {name} from {least:g} to {most:g}; widen that"
    )


def study_winners(
    kinds: Mapping[str, Iterable[str]], trial_images: int, images: int, seeds: int, train: Train, by: Metric
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Each kind's contestants go through successive halving; the best one is trained in full with several seeds.

    train(names and seeds, images): trains contestants alike, and returns their metrics. by: the metric that decides.
    Returns the trials, one row each, and the finals: one row a kind and seed.
    """
    trials, best = list[dict[str, Any]](), dict[str, str]()
    for kind, names in kinds.items():

        def scores(some: Sequence[str], seen: int) -> list[float]:
            return [metrics[by.name] for metrics in train([(name, 0) for name in some], seen)]

        best[kind], tried = successive_halving([*names], trial_images, scores, by.sign)
        trials += [{"kind": kind, **asdict(trial)} for trial in tried]
    # All kinds in one call, a seed after the other: processes stay busy, and a killed study has whole seeds.
    networks = [*dict.fromkeys((name, seed) for seed in range(seeds) for name in best.values())]
    trained = dict(zip(networks, train(networks, images), strict=True))
    finals = [
        {"kind": kind, "winner": name, "seed": seed, **trained[name, seed]}
        for kind, name in best.items()
        for seed in range(seeds)
    ]
    return trials, finals


def winners_table(
    finals: Sequence[Mapping[str, Any]], metrics: Sequence[str], sign: int, costs: Sequence[str]
) -> list[dict[str, Any]]:
    """One row a kind: means over the seeds of metrics and costs, and the searched network's lead in the metrics.

    sign: a metric is better if sign * it is lower. `* lead`, `* lead_low`, `* lead_high`: the mean difference, and its
    95 % interval over pairs with the same seed.
    """
    frame = analysis.rows_frame(finals)
    ours = frame[frame["kind"] == SEARCHED].set_index("seed")
    rows = []
    for kind, mine in frame.groupby("kind", sort=False):
        row: dict[str, Any] = {"kind": kind, "winner": mine["winner"].iloc[0], "seeds": len(mine)}
        for name in (*costs, *metrics):
            row[name] = float(mine[name].mean())
        for name in metrics if kind != SEARCHED else ():
            lead = sign * (mine.set_index("seed")[name] - ours[name])
            row |= with_interval(f"{name} lead", lead.tolist())
        rows.append(row)
    return rows


def with_interval(name: str, values: Sequence[float]) -> dict[str, float]:
    """The mean, and `*_low`, `*_high`: its 95 % interval by Student's t; a single value has none."""
    mean = fmean(values)
    if len(values) == 1:
        return {name: mean}
    half = float(student.ppf(0.975, len(values) - 1) * np.std(values, ddof=1)) / sqrt(len(values))
    return {name: mean, f"{name}_low": mean - half, f"{name}_high": mean + half}
