"""Scores of a table disturbed as a supernet disturbs them: to a rank correlation, and with a bias by operator."""

import numpy as np
from scipy.stats import kendalltau, norm, rankdata

from evo_c2f.objectives.pareto import Values
from evo_c2f.tables.table import Table

STEPS = 16  # of the bisection
SAMPLE = 2000  # networks on which tau is taken
MOST = 64.0  # standard deviations of noise: tau is near 0 from there on


def disturbed(table: Table, tau: float, biased: bool, rng: np.random.Generator) -> Values:
    """Scores of all networks, (n,), whose Kendall tau with their true quality is `tau`; higher is better.

    The true scores are normal by rank. biased: half of the disturbance's variance is by the number of cells with the
    reference operator: supernets rate it too high (results/evidence). The rest is drawn for each network, once.
    """
    quality = table.values[:, 0]
    truth = norm.ppf((rankdata(quality) - 0.5) / len(quality))
    noise = standard(rng.normal(size=len(quality)))
    if biased:
        favoured = table.genomes[:, table.space.blocks] == table.space.operators.index(table.space.reference_operator)
        cells = (favoured & table.space.active(table.genomes)[:, table.space.blocks]).sum(axis=1)
        noise = standard(noise + standard(cells.astype(float)))
    low, high, some = 0.0, MOST, rng.permutation(len(quality))[:SAMPLE]
    for _ in range(STEPS):
        middle = (low + high) / 2
        found = kendalltau((truth + middle * noise)[some], quality[some]).statistic
        low, high = (middle, high) if found > tau else (low, middle)
    if high == MOST:
        raise ValueError(f"a bias by operator alone agrees with the quality by more than {tau}")
    scores: Values = truth + high * noise
    return scores


def standard(values: Values) -> Values:
    """Values with mean 0 and standard deviation 1; 0 if they are all the same."""
    spread: Values = (values - values.mean()) / (values.std() or 1.0)
    return spread
