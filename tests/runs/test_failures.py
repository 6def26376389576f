"""What a stage does about subnets that could not be measured: their reasons are told, and they are measured again."""

from dataclasses import replace

import numpy as np
import pytest
import staged
from rich.console import Console

from evo_c2f.errors import InputError
from evo_c2f.runs import fronts
from evo_c2f.runs.recipe import changed
from evo_c2f.scores.store import ScoreStore, read_scores
from evo_c2f.scores.tables import print_front
from evo_c2f.workers.evaluator import Evaluator
from evo_c2f.workers.processes import Here, Task


def test_what_failed_is_measured_again_only_if_asked_for(tmp_path):
    def fragile(architectures):
        rows = staged.measure(architectures)
        return [row | {"psnr_y": float("nan")} if row["macs"] < 50_000 else row for row in rows]

    run = staged.begin(tmp_path)
    tools = staged.instruments(run, search=fragile)
    staged.search(run, "path", tools=tools)
    failed = [len(read_scores(run.scores)[0].failures)]
    for retry in (False, True):
        (again,) = staged.search(run, "path", retry_failed=retry)
        assert (again.measured > 0) == retry
        failed.append(len(read_scores(run.scores)[0].failures))
    assert failed[0] == failed[1] > failed[2]


class Lack:
    """A measure that runs out of memory as long as there is a `lack`."""

    def __init__(self, measure):
        self.measure, self.lack = measure, True

    def __call__(self, architectures):
        if self.lack:
            raise MemoryError
        return self.measure(architectures)


def fragile_if_short(architectures):
    pairs = zip(architectures, staged.measure(architectures), strict=True)
    return [row | {"psnr_y": np.nan} if len(architecture.cells) < 3 else row for architecture, row in pairs]


def measure_failures(run, tools):
    """As another stage does that asks for them."""
    (scores,) = read_scores(run.scores)
    with ScoreStore(run.scores, tools.context) as store:
        evaluator = Evaluator(run.recipe.space, store, Here(Task(tools.search, tools.names)), retry_failed=True)
        evaluator(scores.rows["genome"][[*scores.failures]], "path", 0)


@pytest.mark.parametrize("elsewhere", [False, True], ids=["by itself", "by another stage"])
def test_a_steady_search_begins_anew_where_a_failure_was_measured_again(tmp_path, elsewhere):
    """Its order tells of the failure, and of what was bred from it."""
    run = staged.begin(tmp_path, "search.screen=1", "search.steady_state=true", "search.population=8")
    run = replace(run, recipe=changed(run.recipe, ("search.evaluations.joint=40",)))
    (first,) = staged.search(run, "joint", tools=staged.instruments(run, search=fragile_if_short))
    n_failed = len(read_scores(run.scores)[0].failures)
    if elsewhere:
        measure_failures(run, staged.instruments(run))
    again, known = (staged.search(run, "joint", retry_failed=retry)[0] for retry in (not elsewhere, False))
    assert len(read_scores(run.scores)[0].failures) < n_failed and known.front == again.front != first.front
    assert (again.asked, known.asked, known.measured) == (40, 40, 0)


def test_a_front_that_lacked_memory_in_8_bits_is_measured_again_if_asked_for(tmp_path):
    run = staged.begin(tmp_path, "search.screen=1")
    in_8_bits = Lack(lambda architectures: [{"psnr_y_int8_full": staged.quality_of(a)} for a in architectures])
    tools = staged.instruments(run, int8=in_8_bits, int8_names=("psnr_y_int8_full",))
    staged.search(run, tools=tools)
    in_8_bits.lack = False
    for retry in (False, True):
        (found,) = staged.search(run, "channel", tools=tools, retry_failed=retry)
        assert all((row["psnr_y_int8_full"] is not None) == retry for row in found.front)
        front = fronts.latest(run).frame
        assert front["psnr_y_int8_full"].notna().all() == retry and len(front) == len(found.front)


def test_a_front_of_which_some_failed_in_8_bits_is_printed(capsys):
    rows = [{"id": name, "psnr_y_full": 30.0, "psnr_y_int8_full": value} for name, value in (("a", None), ("b", 29.5))]
    print_front(Console(), rows)
    printed = capsys.readouterr().out
    assert "psnr_y_int8_full" in printed and "–" in printed and "29.5" in printed


def test_whole_images_that_lacked_memory_are_named_and_measured_again_if_asked_for(tmp_path):
    run, never = (staged.begin(tmp_path / name, "search.screen=1") for name in ("failed", "never"))
    full = Lack(staged.measure_full)
    tools = staged.instruments(run, full=full)
    staged.search(run, "path", "operator", tools=tools)
    with pytest.raises(InputError, match=r"no subnet could be measured \(out of memory\).*run evolve --retry-failed"):
        staged.search(run, "channel", tools=tools)
    full.lack = False
    staged.search(run, "channel", tools=tools, retry_failed=True)
    staged.search(never)
    assert staged.fronts(run) == staged.fronts(never)


def test_a_widest_subnet_that_lacked_memory_is_no_reason_to_train_again(tmp_path):
    run = staged.begin(tmp_path)
    measure = Lack(staged.measure)
    tools = staged.instruments(run, search=measure)
    for lack in (True, False):
        measure.lack = lack
        with pytest.raises(InputError, match=r"widest .* measured \(out of memory\).*run evolve --retry-failed"):
            staged.search(run, "path", tools=tools)
    (found,) = staged.search(run, "path", tools=tools, retry_failed=True)
    assert found.front


def test_a_widest_subnet_that_fails_ends_the_search_at_once(tmp_path):
    run = staged.begin(tmp_path)
    tools = staged.instruments(run, search=lambda architectures: [{"psnr_y": float("nan")}])
    with pytest.raises(InputError, match="the widest subnet gives no finite scores"):
        staged.search(run, "path", tools=tools)
    assert len(read_scores(run.scores)[0].rows) == 1
