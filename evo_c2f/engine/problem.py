"""The pymoo problem of one stage, and the meaning of its limits while finer genes are open."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymoo.core.problem import Problem

from evo_c2f.errors import InputError
from evo_c2f.objectives.metric import Limit, Metric, credited, minimised
from evo_c2f.space import Architecture, Genomes, SearchSpace, Stage
from evo_c2f.space.trellis import SKIP

# An architecture's static costs by name: params, macs, size_mb.
Costs = Callable[[Architecture], dict[str, float]]

# What pymoo sees of a failed subnet: worse than anything, and infeasible.
WORST = 1e30


class Cheapest:
    """The smallest static cost among all completions of a genome's open genes.

    Costs add up over the cells and grow with every width. So the cheapest completion has the narrowest widths and, in
    each cell, the operator that is cheapest there.
    """

    def __init__(self, space: SearchSpace, stage: Stage, costs: Costs):
        self.space, self.costs = space, costs
        self.open = space.still_open(stage)
        self._best: dict[tuple[int, str], int] = {}
        self._prices: dict[bytes, dict[str, float]] = {}

    def __call__(self, genome: Genomes, name: str) -> float:
        """The cost `name` of the cheapest completion of a canonical genome (n_genes,)."""
        genome = np.where(self.open, 0, genome).astype(np.uint8)
        if self.open[self.space.blocks].any():
            levels = genome[self.space.paths]
            genome[self.space.blocks] = [self._cheapest_operator(int(k), name) if k else 0 for k in levels]
        return self.price(genome)[name]

    def price(self, genome: Genomes) -> dict[str, float]:
        """The static costs of a genome (n_genes,) as it is; cached."""
        key = genome.tobytes()
        if key not in self._prices:
            self._prices[key] = self.costs(self.space.decode(genome))
        return self._prices[key]

    def _cheapest_operator(self, level: int, name: str) -> int:
        if (level, name) not in self._best:
            each = [self._single_cell(level, op, name) for op in range(len(self.space.operators))]
            self._best[level, name] = int(np.argmin(each))
        return self._best[level, name]

    def _single_cell(self, level: int, operator: int, name: str) -> float:
        genome = np.zeros(self.space.n_genes, dtype=np.uint8)
        genome[0], genome[self.space.blocks.start] = level, operator
        return self.price(genome)[name]

    def least(self, name: str) -> float:
        """The smallest cost in the whole space. It is that of a single cell, since every further cell adds to it."""
        cells = [(k, op) for k in range(SKIP + 1, self.space.n_levels + 1) for op in range(len(self.space.operators))]
        return min(self._single_cell(level, operator, name) for level, operator in cells)


def refuse_unreachable(limits: Sequence[Limit], space: SearchSpace, costs: Costs) -> None:
    """InputError if a limit on a static cost lies below everything in the space."""
    cheapest = Cheapest(space, "path", costs)
    for limit in limits:
        if limit.metric.kind == "static cost" and limit.side == "max":
            least = cheapest.least(limit.metric.name)
            if least > limit.value:
                raise InputError(f"no network meets {limit}: the smallest has {limit.metric.name} {least:g}")


class Judge:
    """Turns metrics into the numbers that NSGA-II compares: objectives to minimise and violations of the limits."""

    def __init__(
        self,
        space: SearchSpace,
        stage: Stage,
        names: Sequence[str],
        objectives: tuple[Metric, ...],
        limits: tuple[Limit, ...],
        costs: Costs,
        credit: float = 0.0,
    ):
        """names: the metric of each column. credit: in dB of PSNR for each factor e in MACs (`credited`)."""
        self.credit = credit
        self.columns = {name: i for i, name in enumerate(names)}
        self.objectives, self.limits = objectives, limits
        self.cheapest = Cheapest(space, stage, costs)

    def values(self, metrics: NDArray[np.float64]) -> NDArray[np.float64]:
        """The objectives' raw values (n, n_objectives)."""
        return metrics[:, [self.columns[o.name] for o in self.objectives]]

    def minimised(self, metrics: NDArray[np.float64]) -> NDArray[np.float64]:
        """The objectives with signs to minimise, (n, n_objectives); a PSNR with its credit."""
        values = self.values(metrics)
        if self.credit and "macs" in self.columns:
            macs = metrics[:, self.columns["macs"]]
            columns = [credited(o, v, macs, self.credit) for o, v in zip(self.objectives, values.T, strict=True)]
            values = np.stack(columns, axis=1)
        return minimised(values, self.objectives)

    def log_macs(self, genomes: Genomes) -> NDArray[np.float64]:
        """Logarithms of their MACs, or of the first static cost; zeros without any, (n,)."""
        prices = [self.cheapest.price(genome) for genome in genomes]
        return np.log([max(price.get("macs", next(iter(price.values()), 1.0)), 1e-9) for price in prices])

    def excess(self, genomes: Genomes) -> NDArray[np.float64]:
        """The total violation of all limits on static costs, (n,); known before a genome is measured.

        While genes are open, the cheapest completion counts, as in `violations`.
        """
        total = np.zeros(len(genomes))
        for limit in self.limits:
            if limit.metric.kind == "static cost" and (limit.side == "max" or not self.cheapest.open.any()):
                costs = np.array([self.cheapest(genome, limit.metric.name) for genome in genomes])
                total += limit.violation(costs).clip(min=0)
        return total

    def violations(self, genomes: Genomes, metrics: NDArray[np.float64]) -> NDArray[np.float64]:
        """The violation of each limit by each row, (n, n_limits + 1); the last column is 1 for a failure.

        While genes are open, the cheapest completion's static costs count, and all other limits wait for the last
        stage.
        """
        columns = [limit.violation(self._bounded(limit, genomes, metrics)) for limit in self.limits]
        failure = np.isnan(metrics).any(axis=1).astype(float)
        violations: NDArray[np.float64] = np.nan_to_num(np.stack([*columns, failure], axis=1), nan=1.0)
        return violations

    def _bounded(self, limit: Limit, genomes: Genomes, metrics: NDArray[np.float64]) -> NDArray[np.float64]:
        if not self.cheapest.open.any():
            return metrics[:, self.columns[limit.metric.name]]
        if limit.metric.kind == "static cost" and limit.side == "max":
            return np.array([self.cheapest(genome, limit.metric.name) for genome in genomes])
        return np.full(len(genomes), limit.value)

    def meets_all(self, metrics: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which rows are finite and meet every limit with their measured values, (n,)."""
        excess = [limit.violation(metrics[:, self.columns[limit.metric.name]]) for limit in self.limits]
        failed = np.isnan(metrics).any(axis=1)
        met: NDArray[np.bool_] = np.array([*excess, np.where(failed, 1.0, 0.0)]).max(axis=0) <= 0
        return met


class StageProblem(Problem):  # type: ignore[misc]
    """One stage's genomes, objectives and violations, as pymoo asks for them."""

    def __init__(self, space: SearchSpace, judge: Judge, score: Callable[[Genomes], NDArray[np.float64]]):
        super().__init__(
            n_var=space.n_genes,
            n_obj=len(judge.objectives),
            n_ieq_constr=len(judge.limits) + 1,
            xl=0,
            xu=space.n_choices - 1,
            vtype=int,
        )
        self.judge, self.score = judge, score

    def _evaluate(self, x: NDArray[Any], out: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        genomes = x.astype(np.uint8)
        metrics = self.score(genomes)
        out["F"] = np.nan_to_num(self.judge.minimised(metrics), nan=WORST)
        out["G"] = self.judge.violations(genomes, metrics)
