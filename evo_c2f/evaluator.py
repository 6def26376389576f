"""Genomes to scores: look up, measure what is missing, append."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

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

    def __init__(
        self,
        space: SearchSpace,
        store: ScoreStore,
        measure: Measure,
        names: Sequence[str],
        timeout: float | None = None,
        retry_failed: bool = False,
    ):
        """names: the metrics that `measure` gives. timeout: the seconds that one subnet may take.

        A subnet that takes longer, or more memory than there is, is a failure with that reason, as one is whose
        metrics are not finite. retry_failed: those in the store are measured again, once.
        """
        self.space, self.store, self.measure, self.names = space, store, measure, tuple(names)
        self.timeout, self.retry_failed = timeout, retry_failed
        self.retried: set[bytes] = set()
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
        reasons: list[str] = []

        def write() -> None:
            if unwritten:
                self.store.append(genomes[unwritten], rows, stage, generation, seconds, reasons)
            for pending in (unwritten, rows, seconds, reasons):
                pending.clear()

        try:
            for i, genome in enumerate(genomes):
                if i in missing:
                    start = time.perf_counter()
                    row, reason = self._measured(self.space.decode(genome))
                    rows.append(row)
                    reasons.append(reason)
                    self.retried.add(genome.tobytes())
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

    def _measured(self, architecture: Architecture) -> tuple[Row, str]:
        """Its metrics, all NaN where it failed; and why it did."""
        try:
            with at_most(self.timeout):
                (row,) = self.measure([architecture])
                return row, ""
        except TimeoutError as error:
            reason = str(error)
        except (MemoryError, RuntimeError) as error:  # torch's lack of memory is a RuntimeError
            if not isinstance(error, MemoryError) and "memory" not in str(error):
                raise
            reason = "out of memory"
        return dict.fromkeys(self.names, np.nan), reason

    def _known(self, genome: Genomes) -> bool:
        row = self.store.get(genome)
        if self.store.failed(genome):
            return not self.retry_failed or genome.tobytes() in self.retried
        return row is not None and set(self.names) <= row.keys()

    def _values(self, genome: Genomes) -> list[float]:
        # A metric that failed later, on whole images, leaves the others as the search saw them.
        row = self.store.get(genome) or {}
        return [row[name] if set(self.names) <= row.keys() else np.nan for name in self.names]


@contextmanager
def at_most(seconds: float | None) -> Iterator[None]:
    """TimeoutError after so many seconds, as soon as Python is asked. In a process's main thread alone; None: never."""
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"longer than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
