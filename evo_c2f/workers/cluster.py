"""Workers on the machines of a Ray cluster; they may join and leave during a search."""

import logging
import os
import socket
import time
from collections import Counter, deque
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from evo_c2f.errors import FailedError, InputError
from evo_c2f.space import Architecture
from evo_c2f.workers.processes import MOST_DEATHS, Measured, Task

SECONDS_BETWEEN_COUNTS = 2.0  # of the machines
SECONDS_TO_ANSWER = 10.0
LOOPBACK = {"127.0.0.1", "localhost"}  # which Ray takes for this machine's address in its network

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


class RayWorkers:
    """One actor for each share of CPUs and GPUs in the cluster, including nodes that join later.

    Each actor receives the task once. If an actor dies, another takes over its architecture; after several deaths, the
    architecture counts as a failure. An actor gets one architecture at a time, once it has reported that it is ready.
    """

    def __init__(self, task: Task, address: str | None, cpus: int, gpus: float):
        """address: of a running cluster; None starts one on this machine. InputError if there is none, or no Ray."""
        ray = answering(address)
        self.ray, self.task = ray, task
        self.mine = not ray.is_initialized()
        if self.mine:
            try:
                ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
            except (ConnectionError, RuntimeError, ValueError) as error:
                where, why = f"at {address}" if address else "on this machine", str(error).splitlines()[0]
                raise InputError(f"no Ray cluster {where} ({why}); with a token it needs RAY_AUTH_MODE=token") from None
        self.share = {"CPU": float(cpus), "GPU": gpus}
        self.shipped = ray.put(task)
        self.kind: Any = ray.remote(num_cpus=cpus, num_gpus=gpus, max_restarts=0)(Actor)
        self.starting: dict[Any, Any] = {}  # its first answer -> actor
        self.idle: deque[Any] = deque()
        self.busy: dict[Any, tuple[Any, int, Architecture, float]] = {}  # the result to come -> by whom, of what
        self.waiting: deque[tuple[int, Architecture]] = deque()
        self.deaths: Counter[int] = Counter()
        self.stillborn = 0  # one after another
        self.counted = -SECONDS_BETWEEN_COUNTS
        self._count()
        if not self.n:
            raise InputError(f"the Ray cluster has no {cpus} CPUs and {gpus:g} GPUs for one worker; ask for less")

    @property
    def n(self) -> int:
        """How many actors measure, or will once they have started."""
        return len(self.starting) + len(self.idle) + len(self.busy)

    def submit(self, ticket: int, architecture: Architecture) -> None:
        self.waiting.append((ticket, architecture))
        self._hand_out()

    def finished(self, wait: float) -> tuple[int, Measured] | None:
        self._count()
        self._hand_out()
        awaited, wait = [*self.busy, *self.starting], min(wait, SECONDS_BETWEEN_COUNTS)
        if not awaited:  # all machines are lost; others may come
            time.sleep(wait)
            return None
        ready, _ = self.ray.wait(awaited, num_returns=1, timeout=wait)
        if not ready:
            return None
        (answer,) = ready
        if answer in self.starting:
            self._welcome(answer)
            return None
        actor, ticket, architecture, _ = self.busy.pop(answer)
        try:
            result: Measured = self.ray.get(answer)
        except (self.ray.exceptions.RayActorError, self.ray.exceptions.ObjectLostError) as death:
            return self._bury(ticket, architecture, type(death).__name__)
        except self.ray.exceptions.RayTaskError as error:
            raise error.cause from None
        self.idle.append(actor)
        self._hand_out()
        return ticket, result

    def close(self) -> None:
        for actor in [*self.starting.values(), *self.idle, *(actor for actor, *_ in self.busy.values())]:
            self.ray.kill(actor)
        if self.mine:
            self.ray.shutdown()

    def _count(self) -> None:
        """Now and then, kill actors that hang, and have an actor for each share of what the cluster has."""
        if time.monotonic() - self.counted < SECONDS_BETWEEN_COUNTS:
            return
        self.counted = time.monotonic()
        self._lose_patience()
        there = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        fit = sum(min(int(node.get(name, 0) / much) for name, much in self.share.items() if much) for node in there)
        for _ in range(fit - self.n):
            actor = self.kind.remote(self.shipped)
            self.starting[actor.hello.remote()] = actor

    def _welcome(self, answer: Any) -> None:
        """Take in an actor that has started, or not. FailedError after as many that did not as may die."""
        actor = self.starting.pop(answer)
        try:
            self.ray.get(answer)
        except self.ray.exceptions.RayActorError as death:
            self.stillborn += 1
            if self.stillborn == MOST_DEATHS:
                raise FailedError(f"Ray's workers don't start: {str(death).strip().splitlines()[-1]}") from None
            return
        self.stillborn = 0
        self.idle.append(actor)
        self._hand_out()

    def _hand_out(self) -> None:
        while self.waiting and self.idle:
            actor, (ticket, architecture) = self.idle.popleft(), self.waiting.popleft()
            self.busy[actor.measure.remote(architecture)] = (actor, ticket, architecture, time.monotonic())

    def _bury(self, ticket: int, architecture: Architecture, why: str) -> tuple[int, Measured] | None:
        self.deaths[ticket] += 1
        if self.deaths[ticket] == MOST_DEATHS:
            return ticket, self.task.failure(f"its worker died {MOST_DEATHS} times, last by {why}")
        self.waiting.appendleft((ticket, architecture))
        return None

    def _lose_patience(self) -> None:
        """Kill what does not even notice its timeout."""
        for actor, *_, since in self.busy.values():
            if self.task.patience and time.monotonic() - since > self.task.patience:
                self.ray.kill(actor)


class Actor:
    """Holds the task in a separate process."""

    def __init__(self, task: Task):
        self.task = task

    def hello(self) -> bool:
        return True

    def measure(self, architecture: Architecture) -> Measured:
        return self.task(architecture)


def answering(address: str | None) -> Any:
    """The package ray. InputError if it is not installed, or if nobody listens at the address of a cluster."""
    try:
        import ray
    except ImportError:
        raise InputError("--workers ray needs Ray; run 'pip install ray'") from None
    if address and not ray.is_initialized():
        refuse_unanswered(address, ray.util.get_node_ip_address())
    return ray


def refuse_unanswered(address: str, mine: str) -> None:
    """InputError if nobody listens at host:port; Ray would try for a quarter of an hour. mine: this machine's IP."""
    try:
        host, port = urlsplit(f"//{address}").hostname, urlsplit(f"//{address}").port
    except ValueError:
        raise InputError(f"--ray-address takes HOST:PORT, not {address}") from None
    if host is None or port is None:  # auto, or ray://...
        return
    for name in (host, mine) if host in LOOPBACK else (host,):
        with suppress(OSError), socket.create_connection((name, port), SECONDS_TO_ANSWER):
            return
    raise InputError(f"nobody listens at {address}; 'ray start --head' starts a Ray cluster and tells its address")
