"""How much of the variance between subnets the coarse genes explain: of all networks of a table, or from a sample."""

from collections import Counter, defaultdict

import numpy as np

from evo_c2f.objectives.pareto import Values
from evo_c2f.space import Genomes, SearchSpace
from evo_c2f.tables.table import Table

PATHS = 25  # of a sample
GENES = ("path", "operator", "channel")
RESAMPLES = 2000
DRAWN = 4000  # paths, to know how often each is drawn


def draw(space: SearchSpace, rng: np.random.Generator, n_paths: int = PATHS) -> Genomes:
    """A nested sample, (n_paths, 2, 2, n_genes): two choices of operators on each path, two of widths for each."""
    genomes = np.repeat(space.random(4 * n_paths, rng)[:n_paths], 4, axis=0)
    fresh = rng.integers(0, space.n_choices, size=genomes.shape, dtype=np.uint8)
    operators, widths = space.free("operator"), space.free("channel")
    fresh[1::2, operators] = fresh[::2, operators]
    genomes = np.where(operators | widths, fresh, genomes).astype(np.uint8)
    plain: Genomes = space.canonical(genomes).reshape(n_paths, 2, 2, space.n_genes)
    return plain


def components(values: Values) -> Values:
    """The variance that paths, operators and widths add, from values of a nested sample (n_paths, 2, 2), (3,).

    Analysis of variance of a nested design with random effects (Sokal and Rohlf, chapter 10); a negative estimate is 0.
    """
    pairs = values.mean(axis=2)
    within_pair = (np.diff(values, axis=2) ** 2).mean() / 2
    within_path = (np.diff(pairs, axis=1) ** 2).mean() / 2
    between = pairs.mean(axis=1).var(ddof=1)
    return np.array([between - within_path / 2, within_path - within_pair / 2, within_pair]).clip(min=0)


def shares(values: Values, rng: np.random.Generator) -> dict[str, float]:
    """The share of the variance by each kind of genes, and a 95 % bootstrap interval (over paths) of that of paths."""
    part = components(values)
    resampled = [components(values[rng.integers(len(values), size=len(values))]) for _ in range(RESAMPLES)]
    drawn = [some[0] / some.sum() for some in resampled if some.sum() > 0]
    low, high = np.quantile(drawn, [0.025, 0.975]) if drawn else (float("nan"), float("nan"))
    total = part.sum() or float("nan")
    return {**dict(zip(GENES, (part / total).tolist(), strict=True)), "path_low": float(low), "path_high": float(high)}


def exactly(table: Table, rng: np.random.Generator) -> float:
    """The share of the variance of the quality that paths explain, from all networks of a table.

    Each path counts as often as it is among random subnets, as in a sample.
    """
    paths = table.space.paths
    groups: dict[bytes, list[float]] = defaultdict(list)
    for genome, quality in zip(table.genomes, table.values[:, 0], strict=True):
        groups[genome[paths].tobytes()].append(float(quality))
    drawn = Counter(genome[paths].tobytes() for genome in table.space.random(DRAWN, rng))
    weights = np.array([drawn[path] for path in groups], dtype=float)
    weights /= weights.sum()
    means = np.array([np.mean(some) for some in groups.values()])
    between = float(weights @ (means - weights @ means) ** 2)
    return between / (between + float(weights @ [np.var(some) for some in groups.values()]))
