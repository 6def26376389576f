"""A cheap guess of what subnets score, learned from those that were measured: which offspring to measure."""

import heapq

import numpy as np
from numpy.typing import NDArray

from evo_c2f import pareto
from evo_c2f.pareto import Values
from evo_c2f.problem import Judge
from evo_c2f.space import Genomes, SearchSpace

PENALTIES = np.logspace(-2, 3, 11)
NOTHING = 1e-12  # a gain that is but rounding
LEAST = 16  # with fewer measured subnets there is nothing to learn from


class Screen:
    """Chooses among offspring by the hypervolume that they would add if they scored as predicted.

    Ridge regression on each gene's choice (one column of 0 or 1 each) and the logarithms of the costs; these
    themselves are known, not predicted.
    """

    def __init__(self, space: SearchSpace, judge: Judge):
        self.space, self.judge = space, judge
        self.offsets = np.concatenate([[0], np.cumsum(space.n_choices)])
        self.prices: dict[bytes, dict[str, float]] = {}

    def price(self, genome: Genomes) -> dict[str, float]:
        """The static costs of a genome (n_genes,), remembered."""
        key = genome.tobytes()
        if key not in self.prices:
            self.prices[key] = self.judge.cheapest.costs(self.space.decode(genome))
        return self.prices[key]

    def features(self, genomes: Genomes) -> Values:
        """(n, n_genes) -> (n, d)."""
        columns = np.zeros((len(genomes), self.offsets[-1]))
        rows, genes = np.nonzero(self.space.active(genomes))
        columns[rows, self.offsets[genes] + genomes[rows, genes]] = 1
        prices = map(self.price, genomes)
        return np.concatenate([columns, np.log([[p["macs"], p["params"]] for p in prices])], axis=1)

    def predict(self, genomes: Genomes, known: Genomes, metrics: Values) -> Values:
        """The objectives of genomes (n, n_genes), to be minimised, (n, m), from the known ones and their metrics."""
        from sklearn.linear_model import RidgeCV  # it takes a second, and brings pandas

        inputs, values = self.features(known), self.judge.minimised(metrics)
        center, scale = inputs.mean(axis=0), inputs.std(axis=0) + 1e-9
        model = RidgeCV(PENALTIES).fit((inputs - center) / scale, values)
        predicted: Values = model.predict((self.features(genomes) - center) / scale).reshape(len(genomes), -1)
        for column, objective in enumerate(self.judge.objectives):
            if objective.kind == "static cost":
                exact = [self.price(genome)[objective.name] for genome in genomes]
                predicted[:, column] = objective.sign * np.array(exact)
        return predicted

    def choose(self, genomes: Genomes, n: int, known: Genomes, metrics: Values) -> NDArray[np.int64]:
        """The indices of at most n of the genomes: the most promising first, then the others in order."""
        whole = np.isfinite(metrics).all(axis=1)
        if whole.sum() < LEAST or len(genomes) <= n:
            return np.arange(min(n, len(genomes)))
        known, metrics = known[whole], metrics[whole]
        values, predicted = self.judge.minimised(metrics), self.predict(genomes, known, metrics)
        low, high = values.min(axis=0), values.max(axis=0)
        span = np.where(high > low, high - low, 1)
        chosen = most_promising((predicted - low) / span, (values - low) / span, n)
        others = [index for index in range(len(genomes)) if index not in chosen]
        return np.array([*chosen, *others][:n], dtype=np.int64)


def most_promising(predicted: Values, known: Values, n: int) -> list[int]:
    """The rows of predicted (k, m) that add most hypervolume to known (j, m), one after another; at most n.

    What a row adds only shrinks as others are chosen, so a stale figure is an upper bound: the row with the largest
    one is looked at anew, and chosen if it still is the largest.
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
