"""A surrogate of the scores, learned from measured subnets, that chooses which offspring to measure."""

import heapq
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from evo_c2f.engine.problem import Judge
from evo_c2f.objectives import pareto
from evo_c2f.objectives.pareto import Values
from evo_c2f.space import Genomes, SearchSpace

PENALTIES = np.logspace(-2, 3, 11)
TREES = 100
NOTHING = 1e-12  # a gain that is but rounding
LEAST = 8  # with fewer measured subnets there is nothing to learn from


class Screen:
    """Chooses offspring by the hypervolume that they would add if they scored as predicted.

    It predicts with extremely randomised trees (Geurts et al. 2006) or ridge regression, whichever has the smaller
    error on unseen subnets. The features are each gene's choice and the network as a whole; costs are known, not
    predicted.
    """

    def __init__(self, space: SearchSpace, judge: Judge, seed: int):
        self.space, self.judge, self.seed = space, judge, seed
        self.price = judge.cheapest.price
        self.offsets = np.concatenate([[0], np.cumsum(space.n_choices)])
        self.unknown = [i for i, objective in enumerate(judge.objectives) if objective.kind != "static cost"]
        self.wholes: dict[bytes, Values] = {}
        self.learned = b""  # what the model was fitted to
        self.model: Callable[[Values], Values] = lambda features: features

    def features(self, genomes: Genomes) -> Values:
        """(n, n_genes) -> (n, d)."""
        columns = np.zeros((len(genomes), self.offsets[-1]))
        rows, genes = np.nonzero(self.space.active(genomes))
        columns[rows, self.offsets[genes] + genomes[rows, genes]] = 1
        return np.concatenate([columns, [self.whole(genome) for genome in genomes]], axis=1)

    def whole(self, genome: Genomes) -> Values:
        """Features of a whole genome (n_genes,), cached: the cells of each level by operator, the summed logarithms of
        their inner widths, and the logarithms of the trunk widths and of the costs.
        """
        key = genome.tobytes()
        if key not in self.wholes:
            architecture, levels, operators = self.space.decode(genome), self.space.levels, self.space.operators
            cells = np.zeros((len(levels), len(operators) + 2))
            for cell in architecture.cells:
                cells[levels.index(cell.level), operators.index(cell.operator)] += 1
                cells[levels.index(cell.level), -2] += np.log(cell.inner)
            for level, width in architecture.widths:
                cells[levels.index(level), -1] = np.log(width)
            price = self.price(genome)
            self.wholes[key] = np.append(cells, np.log([price[name] for name in ("macs", "params") if name in price]))
        return self.wholes[key]

    def predict(self, genomes: Genomes, known: Genomes, metrics: Values) -> Values:
        """The predicted objectives of genomes (n, n_genes), to be minimised, (n, m), learned from known genomes and
        their metrics.
        """
        values = self.judge.minimised(metrics)
        predicted = np.empty((len(genomes), values.shape[1]))
        if self.unknown:
            predicted[:, self.unknown] = self.guess(genomes, known, values[:, self.unknown])
        for column, objective in enumerate(self.judge.objectives):
            if column not in self.unknown:
                exact = [self.price(genome)[objective.name] for genome in genomes]
                predicted[:, column] = objective.sign * np.array(exact)
        return predicted

    def guess(self, genomes: Genomes, known: Genomes, values: Values) -> Values:
        """Predicted values (n, m) of other genomes, learned from known values (k, m)."""
        # The trees draw rows by their number, and workers finish in any order: so once each, in order of genomes.
        _, once = np.unique(known, axis=0, return_index=True)
        known, values = known[once], values[once]
        learned = known.tobytes() + values.tobytes()
        if learned != self.learned:
            self.learned, self.model = learned, fitted(self.features(known), values, self.seed)
        return self.model(self.features(genomes)).reshape(len(genomes), -1)

    def choose(self, genomes: Genomes, n: int, known: Genomes, metrics: Values) -> NDArray[np.int64]:
        """The indices of at most n of the genomes: the most promising first, then the others in order.

        Until enough subnets are measured, picks those whose MACs are farthest from all measured or already chosen ones.
        A genome that breaks a limit on static costs is chosen only if too few others exist.
        """
        if len(genomes) <= n:
            return np.arange(len(genomes))
        excess = self.judge.excess(genomes)
        allowed = np.flatnonzero(excess <= 0)
        if len(allowed) <= n:
            return np.argsort(excess, kind="stable")[:n]
        if len(allowed) < len(genomes):
            return allowed[self.choose(genomes[allowed], n, known, metrics)]
        whole = np.isfinite(metrics).all(axis=1)
        if whole.sum() < LEAST:
            return farthest(self.judge.log_macs(genomes), self.judge.log_macs(known), n)
        known, metrics = known[whole], metrics[whole]
        values, predicted = self.judge.minimised(metrics), self.predict(genomes, known, metrics)
        low, high = values.min(axis=0), values.max(axis=0)
        span = np.where(high > low, high - low, 1)
        met = (self.judge.violations(known, metrics) <= 0).all(axis=1)
        chosen = most_promising((predicted - low) / span, (values[met] - low) / span, n)
        others = [index for index in range(len(genomes)) if index not in chosen]
        return np.array([*chosen, *others][:n], dtype=np.int64)


def fitted(seen: Values, values: Values, seed: int) -> Callable[[Values], Values]:
    """A model of values (n, m) from features (n, d): trees or ridge, whichever errs less on unseen rows."""
    from sklearn.ensemble import ExtraTreesRegressor  # it takes a second, and brings pandas
    from sklearn.linear_model import RidgeCV
    from sklearn.metrics import mean_squared_error

    center, scale = seen.mean(axis=0), seen.std(axis=0) + 1e-9
    ridge = RidgeCV(PENALTIES).fit((seen - center) / scale, values)
    trees = ExtraTreesRegressor(TREES, bootstrap=True, oob_score=mean_squared_error, random_state=seed)
    trees.fit(seen, values if values.shape[1] > 1 else values[:, 0])
    if -ridge.best_score_ <= trees.oob_score_:
        return lambda features: ridge.predict((features - center) / scale)
    return trees.predict  # type: ignore[no-any-return]


def farthest(values: Values, known: Values, n: int) -> NDArray[np.int64]:
    """The indices of n of the values (k,), each the farthest from the known ones and those chosen before."""
    chosen: list[int] = []
    distance = abs(values[:, None] - known).min(axis=1) if len(known) else np.full(len(values), np.inf)
    for _ in range(n):
        chosen.append(int(np.argmax(distance)))
        distance = np.minimum(distance, abs(values - values[chosen[-1]]))
        distance[chosen] = -1  # never twice, even if all that is left costs the same
    return np.array(chosen, dtype=np.int64)


def most_promising(predicted: Values, known: Values, n: int) -> list[int]:
    """At most n rows of predicted (k, m), each the one that adds most hypervolume to known (j, m) and those chosen
    before.

    The gain of a row only shrinks as others are chosen, so an old gain is an upper bound. The row with the largest gain
    is recomputed, and chosen if its gain is still the largest.
    """
    reference = np.full(known.shape[1], 1.1)
    front, chosen = known[pareto.non_dominated(known)], list[int]()
    volume = pareto.hypervolume(front, reference)

    def gain(index: int) -> float:
        return pareto.hypervolume(np.vstack([front, predicted[index]]), reference) - volume

    heap = [(-gain(index), index) for index in range(len(predicted))]
    heapq.heapify(heap)
    while heap and len(chosen) < n:
        _, index = heapq.heappop(heap)
        now = gain(index)
        if heap and now < -heap[0][0]:
            heapq.heappush(heap, (-now, index))
        elif now <= NOTHING:
            break
        else:
            chosen.append(index)
            front, volume = np.vstack([front, predicted[index]]), volume + now
    return chosen
