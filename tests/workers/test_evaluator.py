import time

import numpy as np
import pytest

from evo_c2f.scores.store import ScoreStore, read_scores
from evo_c2f.workers import evaluator as evaluators
from evo_c2f.workers.evaluator import Evaluator
from evo_c2f.workers.processes import Here, Task


class Counted:
    """A measure that remembers what it was asked; the psnr_y of every further call is 1 higher."""

    def __init__(self, measure):
        self.measure, self.asked = measure, []

    def __call__(self, architectures):
        rows = self.measure(architectures)
        for architecture, row in zip(architectures, rows, strict=True):
            row["psnr_y"] += len(self.asked)
            self.asked.append(architecture)
        return rows


@pytest.fixture
def counted(measure):
    return Counted(measure)


@pytest.fixture
def store(tmp_path, tiny, context_of):
    with ScoreStore(tmp_path / "scores.h5", context_of(tiny)) as store:
        yield store


@pytest.fixture(scope="session")
def genomes(tiny):
    return np.unique(tiny.random(50, np.random.default_rng(0)), axis=0)[:12]


def test_metrics_come_in_the_order_of_the_names(tiny, store, measure, genomes):
    values = Evaluator(tiny, store, Here(Task(measure, ("macs", "psnr_y"))))(genomes, "path", 1)
    rows = measure([tiny.decode(genome) for genome in genomes])
    assert values.tolist() == [[row["macs"], row["psnr_y"]] for row in rows]


def test_what_was_measured_is_kept_with_its_stage_and_generation(tmp_path, tiny, context_of, measure, names, genomes):
    with ScoreStore(tmp_path / "scores.h5", context_of(tiny)) as store:
        evaluator = Evaluator(tiny, store, Here(Task(measure, names)))
        evaluator(genomes[:3], "path", 1)
        evaluator(genomes[:5], "operator", 2)
        expected = measure([tiny.decode(genome) for genome in genomes[:5]])
        assert [store.get(genome) for genome in genomes[:5]] == expected
    (scores,) = read_scores(tmp_path / "scores.h5")
    assert scores.rows["stage"].tolist() == [b"path"] * 3 + [b"operator"] * 2
    assert scores.rows["generation"].tolist() == [1, 1, 1, 2, 2]
    assert scores.rows["seconds"].sum() == pytest.approx(evaluator.seconds_measuring)


def test_nothing_is_measured_twice(tiny, store, counted, names, genomes):
    evaluator = Evaluator(tiny, store, Here(Task(counted, names)))
    first = evaluator(genomes, "path", 1)
    again = evaluator(genomes[::-1], "operator", 2)[::-1]
    fresh = Evaluator(tiny, store, Here(Task(counted, names)))
    assert (again == first).all() and (fresh(genomes, "path", 1) == first).all()
    assert len(counted.asked) == len(set(counted.asked)) == len(genomes)
    assert (evaluator.n_measured, fresh.n_measured) == (len(genomes), 0)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_failure_is_nan_in_every_metric_and_not_tried_again(tiny, store, names, genomes, measure, value):
    fails, asked = tiny.decode(genomes[1]), []

    def failing(architectures):
        asked.extend(architectures)
        return [row | {"psnr_y": value} if [fails] == architectures else row for row in measure(architectures)]

    evaluator = Evaluator(tiny, store, Here(Task(failing, names)))
    for _ in range(2):
        values = evaluator(genomes[:3], "path", 1)
        assert np.isnan(values[1]).all() and np.isfinite(values[[0, 2]]).all()
    assert len(asked) == 3


def test_a_row_that_lacks_a_metric_is_measured_for_it_and_keeps_its_values(tiny, store, counted, genomes):
    before = Evaluator(
        tiny, store, Here(Task(lambda a: [{"psnr_y": row["psnr_y"]} for row in counted(a)], ("psnr_y",)))
    )
    first = before(genomes[:2], "path", 1)
    evaluator = Evaluator(tiny, store, Here(Task(counted, ("psnr_y", "macs"))))
    for _ in range(2):  # measured, and then remembered: the same
        values = evaluator(genomes[:3], "operator", 1)
        assert (values[:2, :1] == first).all() and np.isfinite(values).all()
    assert evaluator.n_measured == 3 and len(store) == 3


def test_a_metric_that_fails_later_leaves_the_others_known(tiny, store, measure, genomes):
    """A search that is run again must find what it found before its front failed on the whole images."""
    search, full = ("psnr_y", "macs"), ("psnr_y_full",)
    first = Evaluator(tiny, store, Here(Task(measure, search)))(genomes[:2], "channel", 1)
    failing = Evaluator(tiny, store, Here(Task(lambda architectures: [{"psnr_y_full": float("nan")}], full)))
    for _ in range(2):
        assert np.isnan(failing(genomes[:1], "channel", 0)).all()
    assert failing.n_measured == 1
    assert Evaluator(tiny, store, Here(Task(measure, search)))(genomes[:2], "channel", 1).tolist() == first.tolist()


def test_a_failed_metric_is_none_of_an_objective_that_was_never_measured(tiny, store, measure, genomes):
    def untimed(architectures):
        return [{"psnr_y": row["psnr_y"], "latency_ms": float("nan")} for row in measure(architectures)]

    Evaluator(tiny, store, Here(Task(untimed, ("psnr_y", "latency_ms"))))(genomes[:2], "path", 1)
    failed, other = store.failed(genomes[0]), Evaluator(tiny, store, Here(Task(measure, ("psnr_y", "params"))))
    assert not other.knows(genomes[0])
    assert np.isfinite(other(genomes[:2], "path", 1)).all() and other.n_measured == 2
    assert store.failed(genomes[0]) == failed == {"latency_ms": ""}


def test_a_failure_of_another_metric_is_not_measured_again(tiny, store, measure, genomes):
    full = Task(lambda architectures: [{"psnr_y_full": float("nan")}], ("psnr_y_full",))
    search = Task(measure, ("psnr_y", "macs"))
    Evaluator(tiny, store, Here(search))(genomes[:1], "channel", 1)
    Evaluator(tiny, store, Here(full))(genomes[:1], "channel", 0)
    again = Evaluator(tiny, store, Here(search), retry_failed=True)
    assert np.isfinite(again(genomes[:1], "channel", 1)).all() and again.n_measured == 0


def test_no_genomes_have_no_metrics(tiny, store, measure, names, genomes):
    assert Evaluator(tiny, store, Here(Task(measure, names)))(genomes[:0], "path", 1).shape == (0, len(names))


def test_progress_counts_what_is_remembered_as_well(tiny, store, measure, names, genomes):
    evaluator, steps = Evaluator(tiny, store, Here(Task(measure, names))), []
    evaluator(genomes[:4], "path", 1)
    evaluator(genomes[:6], "path", 2, lambda: steps.append(evaluator.n_measured))
    assert steps == [4, 4, 4, 4, 5, 6]


def test_slow_scores_are_written_one_by_one(tiny, store, measure, names, genomes, monkeypatch):
    monkeypatch.setattr(evaluators, "SECONDS_UNWRITTEN", 0.0)  # as if each measurement took long
    steps = []
    Evaluator(tiny, store, Here(Task(measure, names)))(genomes[:3], "path", 1, lambda: steps.append(len(store)))
    assert steps == [1, 2, 3]


def test_an_interrupt_loses_nothing_that_was_measured(tiny, store, counted, names, genomes):
    def interrupt():
        if len(counted.asked) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Evaluator(tiny, store, Here(Task(counted, names)))(genomes, "path", 1, interrupt)
    assert len(store) == len(counted.asked) == 4


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        (MemoryError(), "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1"), "out of memory"),
        (None, "longer than 0.1 s"),
    ],
)
def test_a_subnet_that_takes_too_much_is_a_failure(tmp_path, store, tiny, measure, genomes, trouble, reason):
    large, names = tiny.decode(genomes[1]), ("psnr_y", "macs")

    def greedy(architectures):
        if architectures == [large]:
            if trouble:
                raise trouble
            time.sleep(10)
        return measure(architectures)

    values = Evaluator(tiny, store, Here(Task(greedy, names, timeout=0.1)))(genomes[:3], "path", 1)
    assert np.isnan(values[1]).all() and np.isfinite(values[[0, 2]]).all() and store.failed(genomes[1])
    store.__exit__(None, None, None)
    (scores,) = read_scores(tmp_path / "scores.h5")
    assert scores.failures == {1: dict.fromkeys(names, reason)}


def test_a_failure_is_measured_again_where_that_is_asked_for(tmp_path, store, tiny, measure, genomes):
    names, asked = ("psnr_y", "macs"), []

    def better(architectures):
        asked.extend(architectures)
        return measure(architectures)

    Evaluator(tiny, store, Here(Task(lambda architectures: [{"psnr_y": float("nan"), "macs": 1.0}], names)))(
        genomes[:1], "path", 1
    )
    again = Evaluator(tiny, store, Here(Task(better, names)), retry_failed=True)
    for _ in range(2):
        assert np.isfinite(again(genomes[:2], "path", 2)).all()
    assert len(asked) == 2 and not store.failed(genomes[0])
    store.__exit__(None, None, None)
    assert read_scores(tmp_path / "scores.h5")[0].failures == {}


def test_what_fails_again_is_not_tried_a_third_time(store, tiny, genomes):
    names, asked = ("psnr_y", "macs"), []

    def failing(architectures):
        asked.extend(architectures)
        return [{"psnr_y": float("nan"), "macs": 1.0}]

    for retry, n_asked in ((False, 1), (True, 2), (True, 3)):
        evaluator = Evaluator(tiny, store, Here(Task(failing, names)), retry_failed=retry)
        for _ in range(2):
            assert np.isnan(evaluator(genomes[:1], "path", 1)).all()
        assert len(asked) == n_asked


def test_an_error_of_the_measure_loses_nothing_that_was_measured_before(tiny, store, measure, names, genomes):
    last = tiny.decode(genomes[4])

    def broken(architectures):
        if last in architectures:
            raise RuntimeError("a mistake")
        return measure(architectures)

    with pytest.raises(RuntimeError, match="a mistake"):
        Evaluator(tiny, store, Here(Task(broken, names)))(genomes, "path", 1)
    assert len(store) == 4 and store.get(genomes[4]) is None
