"""Two machines that are one: a Ray cluster of two nodes on this one."""

import os
import socket
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
ray = pytest.importorskip("ray")

from logged import Logged  # noqa: E402
from ray.cluster_utils import Cluster  # noqa: E402
from test_workers import NAMES, Troubled, die, fail, hang  # noqa: E402

from evo_c2f.engine.problem import Judge  # noqa: E402
from evo_c2f.engine.search import Scored, evolve  # noqa: E402
from evo_c2f.engine.stage_setup import Budget, StageSetup  # noqa: E402
from evo_c2f.errors import InputError  # noqa: E402
from evo_c2f.objectives.metric import Box, metric  # noqa: E402
from evo_c2f.scores.store import ScoreStore  # noqa: E402
from evo_c2f.workers import processes as workers_module  # noqa: E402
from evo_c2f.workers.cluster import RayWorkers, refuse_unanswered  # noqa: E402
from evo_c2f.workers.evaluator import Evaluator  # noqa: E402
from evo_c2f.workers.processes import Here, Task  # noqa: E402

OBJECTIVES = (metric("psnr_y"), metric("macs"))
BASELINE = {"psnr_y": 0.0, "macs": 0.0}


@pytest.fixture(scope="module")
def cluster():
    """A node with the driver, and another, one CPU each."""
    made = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "node_ip_address": "127.0.0.1", "include_dashboard": False}
    )
    made.add_node(num_cpus=1, node_ip_address="127.0.0.1")
    here = {"env_vars": {"PYTHONPATH": os.pathsep.join([str(folder) for folder in Path(__file__).parents[:3]])}}
    ray.init(address=made.address, include_dashboard=False, log_to_driver=False, runtime_env=here)
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture
def front(large, measure, names, costs, context_of, tmp_path):
    """The front that a search finds, the subnets measured, and how often measuring was begun."""

    def search(name, hire, during=lambda progress: None, seconds=0.0):
        judge = Judge(large, "path", names, OBJECTIVES, (), costs)
        (widest,) = measure([large.decode(large.reference)])
        box = Box.between(OBJECTIVES, BASELINE, widest)
        log = tmp_path / f"{name}.log"
        with (
            closing(hire(Task(Logged(measure, log, seconds), names))) as workers,
            ScoreStore(tmp_path / f"{name}.h5", context_of(large)) as store,
        ):
            seeds = large.reference[None]
            setup = StageSetup("path", seeds, Evaluator(large, store, workers), judge, Budget(40, 8, screen=8))
            nothing = Scored(seeds[:0], np.empty((0, len(names))))
            result = evolve(setup, box, nothing, np.random.default_rng(0), during)
            begun = log.read_text().splitlines()
            return result.genomes[result.front], result.metrics, len(store), len(begun)

    return search


def on_ray(task):
    return RayWorkers(task, None, cpus=1, gpus=0.0)


def test_a_cluster_finds_the_front_of_one_process(cluster, front):
    alone, together = front("alone", Here), front("together", on_ray)
    assert (alone[0] == together[0]).all() and (alone[1] == together[1]).all()
    assert together[2:] == (40, 40)


def test_a_node_that_is_lost_in_the_middle_changes_nothing(cluster, front):
    alone = front("alone", Here)
    lost = cluster.add_node(num_cpus=2, node_ip_address="127.0.0.1")

    def lose(progress):
        if progress.asked == 12:
            cluster.remove_node(lost, allow_graceful=False)

    together = front("together", on_ray, lose, seconds=0.2)
    assert (alone[0] == together[0]).all() and (alone[1] == together[1]).all() and together[2] == 40
    assert 40 <= together[3] <= 42  # what the lost ones were measuring, and nothing that was told


@pytest.fixture
def troubled(tiny, context_of, tmp_path):
    """What the cluster makes of genomes of which the third is trouble: their metrics, and which of them failed."""

    def measured(trouble):
        genomes = np.unique(tiny.random(40, np.random.default_rng(0)), axis=0)[:8]
        task = Task(Troubled(tiny.decode(genomes[2]), trouble), NAMES)
        with closing(on_ray(task)) as workers, ScoreStore(tmp_path / "scores.h5", context_of(tiny)) as store:
            values = Evaluator(tiny, store, workers)(genomes, "path", 1)
            return values, [store.failed(genome) for genome in genomes]

    return measured


def test_what_every_actor_dies_of_is_a_failure(cluster, troubled):
    values, failed = troubled(die)
    assert np.flatnonzero(np.isnan(values).all(axis=1)).tolist() == [2] == np.flatnonzero(failed).tolist()


def test_a_mistake_of_the_measure_is_raised_here(cluster, troubled):
    with pytest.raises(ValueError, match="a mistake"):
        troubled(fail)


def test_an_actor_that_hangs_is_killed_while_others_go_on(cluster, tiny, monkeypatch):
    monkeypatch.setattr(workers_module, "PATIENCE", 0.5)
    hanging, *others = tiny.decode(tiny.reference), *map(tiny.decode, tiny.random(50, np.random.default_rng(0)))
    others = [architecture for architecture in others if architecture != hanging]
    deadline = time.monotonic() + 60
    with closing(on_ray(Task(Troubled(hanging, hang), NAMES, timeout=0.2))) as workers:
        while len(workers.idle) < 2 and time.monotonic() < deadline:
            workers.finished(0.1)
        workers.submit(0, hanging)
        n_done = 0
        while not workers.deaths[0] and time.monotonic() < deadline:
            workers.submit(1 + n_done, others[n_done % len(others)])
            n_done += workers.finished(60) is not None
        assert workers.deaths[0] == 1 and n_done > 10


def test_a_node_that_joins_is_used(cluster, large, measure, names):
    deadline = time.monotonic() + 90
    while sum(node["Alive"] for node in ray.nodes()) > 2 and time.monotonic() < deadline:
        time.sleep(0.2)  # the cluster takes its time to notice that a node was lost
    with closing(on_ray(Task(Logged(measure, Path(os.devnull), 0.0), names))) as workers:
        assert workers.n == 2
        joined = cluster.add_node(num_cpus=3, node_ip_address="127.0.0.1")
        while workers.n < 5 and time.monotonic() < deadline:
            workers.finished(0.1)
        assert workers.n == 5
    cluster.remove_node(joined)


def test_a_cluster_too_small_for_one_worker_is_refused(cluster, measure, names):
    with pytest.raises(InputError, match=r"the Ray cluster has no 64 CPUs and 0 GPUs for one worker; ask for less"):
        RayWorkers(Task(measure, names), None, cpus=64, gpus=0.0)


def test_an_address_at_which_nobody_listens_is_refused_at_once():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(InputError, match=f"nobody listens at {address}; 'ray start --head'"):
            refuse_unanswered(address, "127.0.0.1")
        taken.listen()
        refuse_unanswered(address, "127.0.0.1")
    with pytest.raises(InputError, match="takes HOST:PORT, not head:port"):
        refuse_unanswered("head:port", "127.0.0.1")
    refuse_unanswered("auto", "127.0.0.1")
