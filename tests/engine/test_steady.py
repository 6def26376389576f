"""Steady-state search: what it asks for follows from the order in which results came, and from nothing else."""

import random
from types import SimpleNamespace

import numpy as np
import pytest

from evo_c2f.engine.budget import Budget
from evo_c2f.engine.problem import Judge
from evo_c2f.engine.stage_setup import StageSetup
from evo_c2f.engine.steady import Order, steady
from evo_c2f.errors import DamagedFileError
from evo_c2f.objectives.metric import metric
from evo_c2f.scores.store import ScoreStore
from evo_c2f.studies.simulation import Threads, Virtual, simulate
from evo_c2f.workers.evaluator import Evaluator
from evo_c2f.workers.processes import Here, Task

OBJECTIVES = (metric("psnr_y"), metric("macs"))


class Shuffled(Here):
    """As if n workers measured, each of which may be the first to finish."""

    def __init__(self, task, n, seed, stop_after=None):
        super().__init__(task)
        self.n, self.chance, self.stop_after, self.n_flying = n, random.Random(seed), stop_after, []

    def finished(self, wait):
        self.n_flying.append(len(self.waiting))
        if self.stop_after == len(self.n_flying):
            raise KeyboardInterrupt
        self.waiting.rotate(self.chance.randrange(self.n))
        return super().finished(wait)


@pytest.fixture
def search(large, measure, names, costs, context_of, tmp_path):
    """Search steadily; the genomes in the order in which they were told."""

    def run(name, n=4, seed=0, stop_after=None, evaluations=80, population=16):
        workers = Shuffled(Task(measure, names), n, seed, stop_after)
        judge = Judge(large, "joint", names, OBJECTIVES, (), costs)
        told = []
        with ScoreStore(tmp_path / f"{name}.h5", context_of(large)) as store:
            evaluator, order = (
                Evaluator(large, store, workers),
                Order(tmp_path / f"{name}.order", "a search", evaluations),
            )
            setup = StageSetup("joint", large.reference[None], evaluator, judge, Budget(evaluations, population))
            try:
                for genomes, _ in steady(setup, order, np.random.default_rng(0)):
                    told += [genome.tobytes() for genome in genomes]
            except KeyboardInterrupt:
                pass
            n_known = len(store)
        return SimpleNamespace(told=told, flying=workers.n_flying, n_measured=evaluator.n_measured, n_known=n_known)

    return run


def test_it_asks_for_exactly_so_many_different_subnets_and_keeps_every_worker_busy(search):
    found = search("a")
    assert len(found.told) == len(set(found.told)) == found.n_known == 80
    assert found.flying == [4] * 77 + [3, 2, 1]


def test_it_follows_from_the_order_of_the_results(search, tmp_path):
    first, other = search("a", seed=1), search("b", seed=2)
    assert first.told != other.told
    (tmp_path / "c.order").write_text((tmp_path / "a.order").read_text())
    assert search("c", n=7, seed=3).told == first.told


def test_one_that_was_stopped_ends_as_if_it_had_not_been(search, tmp_path):
    stopped = search("a", seed=1, stop_after=50)
    assert 40 <= len(stopped.told) < 50 == stopped.n_known + 1
    lines = (tmp_path / "a.order").read_text()
    (tmp_path / "a.order").write_text(lines[:-5])  # the last line is torn
    resumed = search("a", seed=4)
    assert resumed.told[: len(stopped.told)] == stopped.told and len(resumed.told) == 80
    assert stopped.n_known + resumed.n_measured == resumed.n_known == 80
    assert search("a", n=1, seed=5).told == resumed.told


def test_more_evaluations_go_on_and_fewer_are_told_the_first_again(search):
    first, longer = search("a", seed=1, evaluations=50), search("a", seed=2)
    assert longer.told[:50] == first.told and longer.n_measured == 30
    for evaluations in (30, 70):
        again = search("a", seed=3, evaluations=evaluations)
        assert again.told == longer.told[:evaluations] and again.n_measured == 0
    assert search("a", seed=4).told == longer.told


def test_fewer_evaluations_of_a_search_that_was_stopped_are_told_the_first_again(search):
    stopped = search("a", seed=1, stop_after=60)
    again = search("a", seed=2, evaluations=len(stopped.told) - 10)
    assert again.told == stopped.told[:-10]


def test_scores_that_were_lost_are_measured_again_and_told_in_their_place(search, tmp_path):
    first = search("a", seed=1)
    (tmp_path / "a.h5").unlink()
    again = search("a", n=3, seed=9)
    assert again.told == first.told and again.n_measured == 80


def test_an_order_of_another_search_is_refused_and_of_other_settings_forgotten(search, tmp_path):
    search("a")
    head, *lines = (tmp_path / "a.order").read_text().splitlines()
    (tmp_path / "a.order").write_text("\n".join([head, "00" * (len(lines[0]) // 2), *lines[1:], ""]))
    with pytest.raises(DamagedFileError, match=r"a\.order holds what this search never asked for"):
        search("a")
    assert Order(tmp_path / "a.order", "other settings", 80).next() is None


def test_more_workers_than_real_time_has_are_busy_on_a_virtual_clock(large):
    seconds = np.random.default_rng(0).lognormal(3.0, 0.5, 1000)  # so long that the search's own time is nothing
    assert simulate(large, Virtual(48, seconds), 500, 100, np.random.default_rng(0))["busy"] > 0.99


def test_threads_that_sleep_are_told_as_they_wake(large):
    workers = Threads(8, np.full(100, 0.002))
    found = simulate(large, workers, 60, 10, np.random.default_rng(0))
    workers.close()
    assert len(workers.spans) == 60 and 0 < found["busy"] <= 1
