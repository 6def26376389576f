"""Genomes to scores: look up, measure what is missing, append."""

import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from evo_c2f.space import Architecture, Genomes, SearchSpace
from evo_c2f.store import Row, ScoreStore

# Architectures -> raw metrics in natural units, NaN for a failure, never 0.
Measure = Callable[[Sequence[Architecture]], list[Row]]

# Scores are acknowledged at the latest this long after they were measured: a flush for each quick
# one would cost more than a hundredth of the measuring.
SECONDS_UNWRITTEN = 1.0


class Evaluator:
    """Scores subnets, each at most once; all that was measured is in the store when a call returns."""

    def __init__(self, space: SearchSpace, store: ScoreStore, measure: Measure, names: Sequence[str]):
        """names: the metrics that `measure` gives."""
        self.space, self.store, self.measure, self.names = space, store, measure, tuple(names)
        self.n_measured = 0
        self.seconds_measuring = 0.0

    def __call__(
        self, genomes: Genomes, stage: str, generation: int, after_each: Callable[[], None] = lambda: None
    ) -> NDArray[np.float64]:
        """Different canonical genomes (n, n_genes) -> metrics (n, len(names)), NaN for a failure.

        If after_each raises, what was measured by then is written first.
        """
        missing = [i for i, genome in enumerate(genomes) if not self._known(genome)]
        unwritten: list[int] = []
        rows: list[Row] = []
        seconds: list[float] = []

        def write() -> None:
            if unwritten:
                self.store.append(genomes[unwritten], rows, stage, generation, seconds)
            for pending in (unwritten, rows, seconds):
                pending.clear()

        try:
            for i, genome in enumerate(genomes):
                if i in missing:
                    start = time.perf_counter()
                    rows += self.measure([self.space.decode(genome)])
                    seconds.append(time.perf_counter() - start)
                    unwritten.append(i)
                    self.n_measured += 1
                    self.seconds_measuring += seconds[-1]
                    if sum(seconds) > SECONDS_UNWRITTEN:
                        write()
                after_each()
        finally:
            write()
        return np.array([self._values(genome) for genome in genomes]).reshape(len(genomes), len(self.names))

    def _known(self, genome: Genomes) -> bool:
        row = self.store.get(genome)
        return self.store.failed(genome) or (row is not None and set(self.names) <= row.keys())

    def _values(self, genome: Genomes) -> list[float]:
        # A metric that failed later, on whole images, leaves the others as the search saw them.
        row = self.store.get(genome) or {}
        return [row[name] if set(self.names) <= row.keys() else np.nan for name in self.names]
