"""The workers that measure: this process, or several on this machine; `cluster` has those on many machines.

An architecture is sent out with a ticket, and returns with it whenever it is finished.
"""

import os
import pickle
import re
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any, Protocol

import numpy as np
from pebble import ProcessExpired, ProcessPool

from evo_c2f.scores.store import Row
from evo_c2f.space import Architecture

# Architectures -> raw metrics in natural units, NaN for a failure, never 0.
Measure = Callable[[Sequence[Architecture]], list[Row]]

LACK_OF_MEMORY = "out of memory|allocate memory|not enough memory"  # of a GPU, or of torch's CPU allocator
PATIENCE = 10.0  # seconds beyond a timeout
MOST_DEATHS = 3  # of workers on one architecture, before it is held to be what kills them


@dataclass(frozen=True)
class Measured:
    """An architecture's metrics, all NaN if it failed; the reason of the failure; and the time it took."""

    row: Row
    reason: str
    seconds: float


@dataclass(frozen=True)
class Task:
    """The work on each architecture. timeout: the most seconds for one."""

    measure: Measure
    names: tuple[str, ...]
    timeout: float | None = None

    def __call__(self, architecture: Architecture) -> Measured:
        """Running out of memory or time is a failure; any other error is a bug, and is raised."""
        start = time.perf_counter()
        try:
            with at_most(self.timeout):
                (row,) = self.measure([architecture])
                return Measured(row, "", time.perf_counter() - start)
        except TimeoutError as error:
            reason = str(error)
        except (MemoryError, RuntimeError) as error:  # torch's lack of memory is a RuntimeError
            if not isinstance(error, MemoryError) and not re.search(LACK_OF_MEMORY, str(error)):
                raise
            reason = "out of memory"
        return self.failure(reason, time.perf_counter() - start)

    def failure(self, reason: str, seconds: float = 0.0) -> Measured:
        return Measured(dict.fromkeys(self.names, np.nan), reason, seconds)

    @property
    def patience(self) -> float | None:
        """Seconds after which a worker that does not even notice its timeout is killed."""
        return self.timeout and self.timeout + PATIENCE


class Workers(Protocol):
    """The workers of a search."""

    @property
    def task(self) -> Task: ...
    @property
    def n(self) -> int:
        """How many architectures are measured at once."""

    def submit(self, ticket: int, architecture: Architecture) -> None: ...

    def finished(self, wait: float) -> tuple[int, Measured] | None:
        """One finished architecture, with its ticket; None if none finishes within so many seconds."""

    def close(self) -> None:
        """Abandon everything that is not finished."""


class Here:
    """This very process, one architecture after another in the order of submission."""

    n = 1

    def __init__(self, task: Task):
        self.task = task
        self.waiting: deque[tuple[int, Architecture]] = deque()

    def submit(self, ticket: int, architecture: Architecture) -> None:
        self.waiting.append((ticket, architecture))

    def finished(self, wait: float) -> tuple[int, Measured] | None:
        ticket, architecture = self.waiting.popleft()
        return ticket, self.task(architecture)

    def close(self) -> None:
        self.waiting.clear()


class Processes:
    """Processes of this machine; one that dies is replaced, and another takes over its architecture."""

    def __init__(self, n: int, task: Task, threads: int):
        """threads: of each process. The task is pickled once for each."""
        self.n, self.task = n, task
        self.pool = ProcessPool(
            n, initializer=_begin, initargs=(pickle.dumps(task), threads), context=get_context("spawn")
        )
        self.done: SimpleQueue[tuple[int, Architecture, Future[Measured]]] = SimpleQueue()
        self.deaths: Counter[int] = Counter()

    def submit(self, ticket: int, architecture: Architecture) -> None:
        future = self.pool.schedule(_work, args=[architecture], timeout=self.task.patience)
        future.add_done_callback(lambda future: self.done.put((ticket, architecture, future)))

    def finished(self, wait: float) -> tuple[int, Measured] | None:
        try:
            ticket, architecture, future = self.done.get(timeout=wait)
        except Empty:
            return None
        try:
            return ticket, future.result()
        except ProcessExpired as death:
            self.deaths[ticket] += 1
            if self.deaths[ticket] == MOST_DEATHS:
                return ticket, self.task.failure(f"its worker died {MOST_DEATHS} times, last by {death}")
            self.submit(ticket, architecture)
            return None
        except TimeoutError:
            return ticket, self.task.failure(f"longer than {self.task.timeout:g} s")

    def close(self) -> None:
        self.pool.stop()
        self.pool.join()


def in_processes(n: int, threads: int, work: Callable[..., Any], jobs: Sequence[tuple[Any, ...]]) -> Iterator[Any]:
    """work(*job) of each job, as it finishes, from n processes of so many threads; the first error ends all."""
    pool = ProcessPool(n, initializer=_begin_alone, initargs=(threads,), context=get_context("spawn"))
    try:
        for future in as_completed([pool.schedule(work, args=job) for job in jobs]):
            yield future.result()
    finally:
        pool.stop()
        pool.join()


_task: Any = None  # of a worker process


def _begin_alone(threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that searches
    os.environ["OMP_NUM_THREADS"] = str(threads)  # before torch is imported, which unpickling does


def _begin(task: bytes, threads: int) -> None:
    global _task
    _begin_alone(threads)
    _task = pickle.loads(task)


def _work(architecture: Architecture) -> Measured:
    result: Measured = _task(architecture)
    return result


@contextmanager
def at_most(seconds: float | None) -> Iterator[None]:
    """TimeoutError after so many seconds, as soon as Python can raise it. Works only in a process's main thread; None:
    never.
    """
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
