"""Genomes to scores: look up, measure what is missing, append."""

import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from evo_c2f.space import Architecture, Genomes, SearchSpace
from evo_c2f.store import Row, ScoreStore

# Architectures -> raw metrics in natural units, NaN for a failure, never 0.
Measure = Callable[[Sequence[Architecture]], list[Row]]


class Evaluator:
    """Scores subnets, each at most once; what was measured is in the store before it is returned."""

    def __init__(self, space: SearchSpace, store: ScoreStore, measure: Measure, names: Sequence[str]):
        """names: the metrics that `measure` gives."""
        self.space, self.store, self.measure, self.names = space, store, measure, tuple(names)
        self.n_measured = 0
        self.seconds_measuring = 0.0

    def __call__(
        self, genomes: Genomes, stage: str, generation: int, after_each: Callable[[], None] = lambda: None
    ) -> NDArray[np.float64]:
        """Canonical genomes (n, n_genes) -> metrics (n, len(names)), NaN for a failure."""
        result = np.full((len(genomes), len(self.names)), np.nan)
        for genome, values in zip(genomes, result, strict=True):
            row = self.store.get(genome)
            if not self.store.failed(genome) and (row is None or not set(self.names) <= row.keys()):
                row = self._measure_one(genome, stage, generation)
            if not self.store.failed(genome):
                assert row is not None
                values[:] = [row[name] for name in self.names]
            after_each()
        return result

    def _measure_one(self, genome: Genomes, stage: str, generation: int) -> Row:
        start = time.perf_counter()
        (row,) = self.measure([self.space.decode(genome)])
        seconds = time.perf_counter() - start
        self.store.append(genome[None], [row], stage, generation, [seconds])
        self.n_measured += 1
        self.seconds_measuring += seconds
        return row
