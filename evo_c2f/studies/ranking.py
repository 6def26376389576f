"""Does the supernet rank subnets like training alone? Draws the subnets, and measures how well two orders agree."""

import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import DegenerateDataWarning, bootstrap, rankdata

from evo_c2f.engine.problem import Costs
from evo_c2f.errors import InputError
from evo_c2f.space import Genomes, SearchSpace

Values = NDArray[np.float64]

CANDIDATES = 40  # drawn for each architecture that is kept
BANDS = 3
RESAMPLES, BATCH = 2000, 200
TOP = 10


def draw(
    space: SearchSpace, n: int, costs: Costs, rng: np.random.Generator, on_paths_of: Genomes | None = None
) -> tuple[Genomes, Values]:
    """n different architectures, evenly spread over the logarithm of their MACs, ascending: genomes and MACs.

    Only MACs decide which are kept. on_paths_of: as in `candidates`. InputError if there are too few.
    """
    genomes = candidates(space, n, rng, on_paths_of)
    macs = np.array([costs(space.decode(genome))["macs"] for genome in genomes])
    kept = evenly(macs, n)
    return genomes[kept], macs[kept]


def candidates(space: SearchSpace, n: int, rng: np.random.Generator, on_paths_of: Genomes | None = None) -> Genomes:
    """At least n different architectures, as genomes (at least n, n_genes).

    on_paths_of: genomes (k, n_genes); only their paths are drawn. InputError if there are too few.
    """
    genomes = space.random(CANDIDATES * n, rng)
    if on_paths_of is not None:
        genomes = rng.integers(0, space.n_choices, size=genomes.shape, dtype=np.uint8)
        genomes[:, space.paths] = on_paths_of[rng.integers(len(on_paths_of), size=len(genomes)), space.paths]
        genomes = space.canonical(genomes)
    unique = {space.decode(genome).key: genome for genome in genomes}
    if len(unique) < n:
        where = "on the paths to draw from" if on_paths_of is not None else "in the space"
        raise InputError(f"only {len(unique)} different architectures were found {where}, {n} are wanted; take fewer")
    return np.array(list(unique.values()))


def evenly(macs: Values, n: int) -> NDArray[np.int64]:
    """The row numbers of n networks, ascending by MACs and evenly spread over their logarithm."""
    left, kept = np.log(macs), []
    for target in np.linspace(left.min(), left.max(), n):
        kept.append(int(np.argmin(abs(left - target))))
        left[kept[-1]] = np.inf
    order = np.array(kept)
    return order[np.argsort(macs[order], kind="stable")]


def held_out(n: int, share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which of n architectures, ordered by cost, are held out for the figures; choices use the others. The share is the
    same among every ten neighbours.
    """
    mask = np.zeros(n, dtype=bool)
    for start in range(0, n, 10):
        group = np.arange(start, min(start + 10, n))
        mask[rng.permutation(group)[: round(share * len(group))]] = True
    return mask


def tau(a: Values, b: Values, axis: int = -1) -> Values:
    """Kendall's tau-b of two orders of the same items, (..., n) each -> (...): 1 equal, 0 unrelated, -1 reversed.

    scipy's kendalltau takes one pair of orders at a time, and a bootstrap needs thousands.
    """
    one, two = (np.sign(x[..., :, None] - x[..., None, :]).astype(np.int8) for x in (a, b))
    pairs = (-2, -1)
    untied = (abs(one).sum(axis=pairs, dtype=np.int64) * abs(two).sum(axis=pairs, dtype=np.int64)) ** 0.5
    with np.errstate(invalid="ignore"):  # all tied: not a number
        result: Values = (one * two).sum(axis=pairs, dtype=np.int64) / untied
    return result


def interval(a: Values, b: Values, rng: np.random.Generator) -> tuple[float, float]:
    """A 95 % bootstrap interval (percentiles) of tau, resampling the pairs; NaN if a resample has only ties."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateDataWarning)
        found = bootstrap((a, b), tau, paired=True, method="percentile", n_resamples=RESAMPLES, batch=BATCH, rng=rng)
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def mean_tau(scores: Values, alone: Values, rng: np.random.Generator) -> dict[str, float]:
    """The mean tau of several scores (seeds, n), with a 95 % bootstrap interval; all seeds use the same resampled
    architectures.
    """
    return _resampled(
        ("tau", "low", "high"), len(alone), lambda rows: tau(scores[:, rows], alone[rows]).mean(axis=0), rng
    )


def lead(scores: Values, rivals: Values, alone: Values, rng: np.random.Generator) -> dict[str, float]:
    """The mean tau of scores (seeds, n) minus that of rivals, with its interval, as in `mean_tau`."""

    def difference(rows: NDArray[np.int64]) -> Values:
        each = tau(scores[:, rows], alone[rows]) - tau(rivals[:, rows], alone[rows])
        mean: Values = each.mean(axis=0)
        return mean

    return _resampled(("lead", "lead_low", "lead_high"), len(alone), difference, rng)


def rank_error(score: Values, alone: Values) -> Values:
    """Rank by score minus rank alone, as a share of all ranks, (n,): positive if the score rates a network too high."""
    error: Values = (rankdata(score) - rankdata(alone)) / len(score)
    return error


def mean_error(errors: Values, rng: np.random.Generator) -> dict[str, float]:
    """The mean rank error of some networks, with a 95 % bootstrap interval; for one network, the interval is NaN."""
    names = ("rank_error", "low", "high")
    if len(errors) < 2:
        return dict(zip(names, (float(errors.mean()), float("nan"), float("nan")), strict=True))
    return _resampled(names, len(errors), lambda rows: errors[rows].mean(axis=-1), rng)


def _resampled(
    names: tuple[str, str, str], n: int, statistic: Callable[[NDArray[np.int64]], Values], rng: np.random.Generator
) -> dict[str, float]:
    """A statistic of rows (..., n) -> (...), and its 95 % bootstrap interval (percentiles), under three names."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateDataWarning)
        found = bootstrap(
            (np.arange(n),),
            lambda rows, axis: statistic(rows),
            method="percentile",
            n_resamples=RESAMPLES,
            batch=BATCH,
            rng=rng,
        )
    low, high = found.confidence_interval
    return dict(zip(names, (float(statistic(np.arange(n))), float(low), float(high)), strict=True))


def top_overlap(a: Values, b: Values, k: int = TOP) -> float:
    """The share of the k best (highest) by a that are also among the k best by b; NaN with fewer than
    2 k: with so few, any two orders share most of them.
    """
    if len(a) < 2 * k:
        return float("nan")
    return len({*np.argsort(-a)[:k]} & {*np.argsort(-b)[:k]}) / k


@dataclass(frozen=True)
class Ranking:
    """How well a score orders architectures, compared with their quality alone; higher is better in both."""

    n: int
    tau: float
    low: float  # of the 95 % interval
    high: float
    top: float  # share of the ten best that it finds; NaN with fewer than twenty
    bands: tuple[tuple[float, float, float], ...]  # tau and its interval within each third of the costs

    def columns(self) -> dict[str, float]:
        """As a flat dict, for a table."""
        flat = {key: value for key, value in asdict(self).items() if key != "bands"}
        names = ("tau", "low", "high")
        return flat | {
            f"band_{i}_{name}": value
            for i, band in enumerate(self.bands, 1)
            for name, value in zip(names, band, strict=True)
        }


def compare(score: Values, alone: Values, macs: Values, rng: np.random.Generator) -> Ranking:
    """A score against the ground truth, (n,) each; bands of equal number by MACs."""
    bands = []
    for rows in np.array_split(np.argsort(macs, kind="stable"), BANDS):
        bands.append((float(tau(score[rows], alone[rows])), *interval(score[rows], alone[rows], rng)))
    low, high = interval(score, alone, rng)
    return Ranking(len(score), float(tau(score, alone)), low, high, top_overlap(score, alone), tuple(bands))
