"""Genomes to scores: look up known ones, measure missing ones, append them."""

import time
from collections.abc import Callable
from itertools import count

import numpy as np
from numpy.typing import NDArray

from evo_c2f.scores.memory import MemoryStore
from evo_c2f.scores.store import ScoreStore
from evo_c2f.space import Genomes, SearchSpace
from evo_c2f.workers.processes import Measured, Workers

Values = NDArray[np.float64]

# Scores are acknowledged at the latest this long after they were measured: a flush for each quick
# one would cost more than a hundredth of the measuring.
SECONDS_UNWRITTEN = 1.0


class Evaluator:
    """Scores subnets, each at most once; all measured scores are in the store when a call or a `with` ends."""

    def __init__(
        self, space: SearchSpace, store: ScoreStore | MemoryStore, workers: Workers, retry_failed: bool = False
    ):
        """retry_failed: measure failures in the store again, once.

        If one of a subnet's `names` failed (time, memory, or not finite), all of them are NaN.
        """
        self.space, self.store, self.workers, self.names = space, store, workers, workers.task.names
        self.retry_failed, self.retried = retry_failed, set[bytes]()
        self.n_measured = 0
        self.seconds_measuring = 0.0  # of all workers, shared out evenly among them
        self._tickets = count()
        self._submitted: dict[int, tuple[Genomes, str, int]] = {}
        self._unwritten: list[tuple[Genomes, str, int, Measured]] = []
        self._unwritten_since = 0.0  # so that a slow measurement is written at once, quick ones together

    def __call__(
        self, genomes: Genomes, stage: str, generation: int, after_each: Callable[[], None] = lambda: None
    ) -> Values:
        """Different canonical genomes (n, n_genes) -> metrics (n, len(names)).

        If after_each raises, all scores measured before are written first.
        """
        missing = [genome for genome in genomes if not self.knows(genome)]
        try:
            for _ in range(len(genomes) - len(missing)):
                after_each()
            for genome in missing:
                self.submit(genome, stage, generation)
            for _ in missing:
                self.wait()
                after_each()
        finally:
            self.write()
        return np.array([self.values(genome) for genome in genomes]).reshape(len(genomes), len(self.names))

    def knows(self, genome: Genomes) -> bool:
        """Whether the genome's metrics are known, or one of them failed, so that it need not be measured."""
        missing = set(self.names) - (self.store.get(genome) or {}).keys()
        if missing & self.store.failed(genome).keys():
            return not self.retry_failed or genome.tobytes() in self.retried
        return not missing

    def values(self, genome: Genomes) -> Values:
        """The genome's metrics in the store, (len(names),)."""
        # A metric that failed later, on whole images, leaves the others as the search saw them.
        row = self.store.get(genome) or {}
        known = set(self.names) <= row.keys()
        return np.array([row[name] if known else np.nan for name in self.names])

    def reason(self, genomes: Genomes) -> str:
        """Why the first of the genomes (n, n_genes) failed that lacked memory or time; empty if none did."""
        failed = [self.store.failed(genome) for genome in genomes]
        return next((why for some in failed for name, why in some.items() if why and name in self.names), "")

    def submit(self, genome: Genomes, stage: str, generation: int) -> None:
        """Start measuring an unknown genome."""
        ticket = next(self._tickets)
        self._submitted[ticket] = genome, stage, generation
        self.workers.submit(ticket, self.space.decode(genome))

    def wait(self) -> tuple[Genomes, Values]:
        """Wait until one of the submitted genomes is measured; returns it with its metrics."""
        while True:
            due = SECONDS_UNWRITTEN - (time.monotonic() - self._unwritten_since) if self._unwritten else 60.0
            if self._unwritten and due <= 0:
                self.write()
            elif done := self.workers.finished(max(due, 0.0)):
                break
        ticket, measured = done
        genome, stage, generation = self._submitted.pop(ticket)
        if not self._unwritten:
            self._unwritten_since = time.monotonic() - measured.seconds / max(1, self.workers.n)
        self._unwritten.append((genome, stage, generation, measured))
        self.retried.add(genome.tobytes())
        self.n_measured += 1
        self.seconds_measuring += measured.seconds / max(1, self.workers.n)
        if time.monotonic() - self._unwritten_since > SECONDS_UNWRITTEN:
            self.write()
        values = np.array([measured.row.get(name, np.nan) for name in self.names])
        return genome, values if np.isfinite(values).all() else np.full(len(self.names), np.nan)

    def write(self) -> None:
        """Write all measured scores; they are then acknowledged."""
        for stage in {stage: None for _, stage, _, _ in self._unwritten}:
            alike = [entry for entry in self._unwritten if entry[1] == stage]
            genomes, _, generations, measured = zip(*alike, strict=True)
            rows, reasons, seconds = zip(*((m.row, m.reason, m.seconds) for m in measured), strict=True)
            self.store.append(np.array(genomes), rows, stage, generations, seconds, reasons)
        self._unwritten = []
