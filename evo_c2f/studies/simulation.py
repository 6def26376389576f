"""Simulates many workers: a steady-state search whose measuring only sleeps, in real time or on a virtual clock."""

import heapq
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Empty, SimpleQueue
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evo_c2f.engine.budget import Budget
from evo_c2f.engine.problem import Judge
from evo_c2f.engine.stage_setup import StageSetup
from evo_c2f.engine.steady import Order, steady
from evo_c2f.objectives.metric import metric
from evo_c2f.scores.layout import Context
from evo_c2f.scores.store import ScoreStore
from evo_c2f.space import Architecture, Genomes, SearchSpace
from evo_c2f.workers.evaluator import Evaluator
from evo_c2f.workers.processes import Measured, Task

NAMES = ("psnr_y", "macs")
MEAN_SECONDS = 2.0
PREFILL = 5000  # rows at a time
# (kind, workers, evaluations, scores in the store)
CROWDS = [("threads", 64, 1500, 1000), *(("virtual", 512, 6000, 10**power) for power in (3, 4, 5, 6))]


def scores_of(architectures: Sequence[Architecture]) -> list[dict[str, float]]:
    """Arbitrary numbers, the same for the same architecture."""
    macs = [float(sum(cell.inner * a.width(cell.level) for cell in a.cells)) for a in architectures]
    return [
        {"psnr_y": float(np.log(m)) + a.cells[0].level, "macs": m} for a, m in zip(architectures, macs, strict=True)
    ]


class Sleeping:
    """Workers that sleep for the given seconds, one duration after another; `spans`: when each was busy."""

    def __init__(self, n: int, seconds: NDArray[np.float64]):
        self.task, self.n, self.seconds = Task(scores_of, NAMES), n, seconds
        self.n_begun = 0
        self.spans: list[tuple[float, float]] = []
        self.waited = 0.0  # by the search, for a result

    def next_seconds(self) -> float:
        self.n_begun += 1
        return float(self.seconds[self.n_begun % len(self.seconds)])


class Threads(Sleeping):
    """Sleep in real time, each on a thread."""

    def __init__(self, n: int, seconds: NDArray[np.float64]):
        super().__init__(n, seconds)
        self.pool, self.done = ThreadPoolExecutor(n), SimpleQueue[tuple[int, Architecture, float]]()

    def submit(self, ticket: int, architecture: Architecture) -> None:
        seconds, begin = self.next_seconds(), time.perf_counter()

        def work() -> None:
            time.sleep(seconds)
            self.spans.append((begin, begin + seconds))
            self.done.put((ticket, architecture, seconds))

        self.pool.submit(work)

    def finished(self, wait: float) -> tuple[int, Measured] | None:
        start = time.perf_counter()
        try:
            ticket, architecture, seconds = self.done.get(timeout=wait)
        except Empty:
            return None
        finally:
            self.waited += time.perf_counter() - start
        return ticket, Measured(self.task.measure([architecture])[0], "", seconds)

    def now(self) -> float:
        return time.perf_counter()

    def close(self) -> None:
        self.pool.shutdown()


class Virtual(Sleeping):
    """Sleep on a virtual clock that jumps; the search's own computing time is added to it."""

    def __init__(self, n: int, seconds: NDArray[np.float64]):
        super().__init__(n, seconds)
        self.flying: list[tuple[float, int, Architecture, float]] = []
        self.skipped = 0.0

    def now(self) -> float:
        return time.perf_counter() + self.skipped

    def submit(self, ticket: int, architecture: Architecture) -> None:
        seconds, begin = self.next_seconds(), self.now()
        self.spans.append((begin, begin + seconds))
        heapq.heappush(self.flying, (begin + seconds, ticket, architecture, seconds))

    def finished(self, wait: float) -> tuple[int, Measured] | None:
        end, ticket, architecture, seconds = heapq.heappop(self.flying)
        self.skipped += max(0.0, end - self.now())
        return ticket, Measured(self.task.measure([architecture])[0], "", seconds)

    def close(self) -> None:
        self.flying.clear()


def simulate(
    space: SearchSpace, workers: Threads | Virtual, evaluations: int, known: int, rng: np.random.Generator
) -> dict[str, float]:
    """A steady-state search with as many subnets in the population as workers, in a store with so many scores.

    busy: the workers' busy share of the time until no task is left to start; driver_ms: the search's own time a subnet.
    """
    judge = Judge(space, "joint", NAMES, (metric("psnr_y"), metric("macs")), (), lambda architecture: {})
    with TemporaryDirectory() as folder:
        context = Context(space.to_dict(), "simulated", "simulated", "simulated")
        with ScoreStore(Path(folder) / "scores.h5", context) as store:
            fill(store, space.random(known, rng))
            evaluator = Evaluator(space, store, workers)
            order = Order(Path(folder) / "order", "simulated", evaluations)
            start, waited = time.perf_counter(), workers.waited
            first, last = workers.now(), workers.now()
            setup = StageSetup("joint", space.reference[None], evaluator, judge, Budget(evaluations, workers.n))
            n = 0
            for genomes, _ in steady(setup, order, rng):
                n += len(genomes)
                if n + workers.n < evaluations:  # later some have nothing to do
                    last = workers.now()
            driver = time.perf_counter() - start - (workers.waited - waited)
    busy = sum(max(0.0, min(end, last) - max(begin, first)) for begin, end in workers.spans)
    return {"busy": busy / (workers.n * (last - first)), "driver_ms": 1000 * driver / n}


def fill(store: ScoreStore, genomes: Genomes) -> None:
    genomes = np.unique(genomes, axis=0)
    for begin in range(0, len(genomes), PREFILL):
        part = genomes[begin : begin + PREFILL]
        store.append(part, [{"psnr_y": 20.0, "macs": 1e9}] * len(part), "joint", 1, [2.0] * len(part))


def bench_workers(space: SearchSpace, seconds: NDArray[np.float64], seed: int) -> list[dict[str, Any]]:
    """Rows of workers, their kind, the scores in the store, busy and driver_ms.

    seconds: recorded measuring times, from which the sleeps are drawn, scaled to a mean of MEAN_SECONDS.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.choice(seconds, 20_000)
    drawn *= MEAN_SECONDS / drawn.mean()
    rows = []
    for kind, n, evaluations, known in CROWDS:
        workers = Threads(n, drawn) if kind == "threads" else Virtual(n, drawn)
        try:
            rows.append(
                {"workers": n, "kind": kind, "scores": known} | simulate(space, workers, evaluations, known, rng)
            )
        finally:
            workers.close()
    return rows
