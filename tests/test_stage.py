"""What a run promises of its stages, with a screen: a surrogate that learns from the stages before."""

import json
import shutil

import numpy as np
import pytest
import staged

from evo_c2f import analysis
from evo_c2f.errors import DamagedFileError
from evo_c2f.problem import Cheapest
from evo_c2f.recipe import changed
from evo_c2f.stage import read_asked
from evo_c2f.store import read_scores

STEADY = "search.steady_state=true"


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A run whose three stages were searched by one worker, without a break; what each came to."""
    run = staged.begin(tmp_path_factory.mktemp("alone"))
    assert run.recipe.search.screen > 1
    return run, staged.search(run)


@pytest.fixture
def copied(alone, tmp_path):
    return staged.begin(shutil.copytree(alone[0].folder, tmp_path / "copied"))


def measured(run):
    """The ids of all that was measured."""
    return set(analysis.load_scores(run.scores)["id"])


# -- the same search finds the same -------------------------------------------------------------------


def test_workers_that_finish_in_any_order_find_the_front_of_one(alone, tmp_path):
    run = staged.begin(tmp_path)
    staged.search(run, hire=staged.Shuffled)
    assert staged.fronts(run) == staged.fronts(alone[0]) and measured(run) == measured(alone[0])


def test_a_search_of_another_seed_in_between_changes_nothing(alone, copied):
    staged.search(copied, "path", "operator", seed=1)
    again = staged.search(copied)
    assert [summary.measured for summary in again] == [0, 0, 0]
    assert staged.fronts(copied) == staged.fronts(alone[0]) and measured(copied) > measured(alone[0])


def test_a_search_that_was_interrupted_ends_as_one_that_was_not(alone, tmp_path):
    def interrupt(progress):
        if progress.asked == 11:
            raise KeyboardInterrupt

    run = staged.begin(tmp_path)
    for stage in ("path", "operator", "channel"):
        with pytest.raises(KeyboardInterrupt):
            staged.search(run, stage, hire=staged.Shuffled, on_progress=interrupt)
        staged.search(run, stage)
    assert staged.fronts(run) == staged.fronts(alone[0]) and measured(run) == measured(alone[0])


def test_the_joint_search_knows_nothing_of_the_stages(alone, copied, tmp_path):
    found = staged.search(copied, "joint")[0]
    assert found.front == staged.search(staged.begin(tmp_path / "new"), "joint")[0].front


def test_a_steady_search_of_more_evaluations_goes_on(tmp_path):
    run, summaries = staged.begin(tmp_path, STEADY), []
    for n in (12, 18, 12, 18):
        settings = changed(run.recipe, (f"search.evaluations.path={n}",))
        summaries += staged.search(run, "path", hire=staged.Shuffled, settings=settings)
    assert [s.asked for s in summaries] == [12, 18, 12, 18]
    assert [s.measured for s in summaries] == [12 - 1, 6, 0, 0]  # the widest was measured before
    assert summaries[0].front == summaries[2].front and summaries[1].front == summaries[3].front


# -- what a stage knows of those before ----------------------------------------------------------------


def test_a_stage_goes_on_from_the_hypervolume_of_the_one_before(alone):
    _, (path, operator, channel) = alone
    assert operator.hypervolume_before == pytest.approx(path.hypervolume)
    assert channel.hypervolume_before == pytest.approx(operator.hypervolume)
    assert 0 < path.hypervolume < channel.hypervolume


def test_a_stage_learns_from_what_was_asked_for_before_it(alone, copied):
    """Else it would spread its first subnets over the costs."""
    copied.asked("path").unlink()
    staged.search(copied, "operator")
    assert measured(copied) > measured(alone[0])


def test_it_is_all_that_was_asked_for_with_the_same_weights_for_the_same_metrics(alone):
    run, _ = alone
    tools = staged.instruments(run)
    stages = {"path": {"reference", "path"}, "operator": {"reference", "path", "operator"}}
    (scores,) = read_scores(run.scores)
    for before, stage in (("path", "operator"), ("operator", "channel")):
        rows = np.isin(scores.rows["stage"].astype(str), [*stages[before]])
        found = read_asked(run, stage, tools)
        assert {genome.tobytes() for genome in found} == {g.tobytes() for g in scores.rows["genome"][rows]}
    assert not len(read_asked(run, "path", tools)) and not len(read_asked(run, "joint", tools))
    assert not len(read_asked(run, "operator", staged.instruments(run, "other weights")))
    assert not len(read_asked(run, "operator", staged.instruments(run, names=("psnr_y", "latency_ms"))))
    assert len(read_asked(run, "operator", staged.instruments(run, names=("psnr_y",))))


@pytest.mark.parametrize(
    "damage",
    [
        lambda found: "[",
        lambda found: "[]",
        lambda found: json.dumps({"context": found["context"]}),
        lambda found: json.dumps({**found, "genomes": ["zz"]}),
        lambda found: json.dumps({**found, "genomes": ["00"]}),
        lambda found: json.dumps({**found, "genomes": ["ff" * (len(found["genomes"][0]) // 2)]}),
    ],
)
def test_what_can_t_be_read_of_it_is_named(copied, damage):
    path = copied.asked("path")
    path.write_text(damage(json.loads(path.read_text())))
    with pytest.raises(DamagedFileError, match=r"path\.json is damaged \(.*\); evolve that stage again"):
        staged.search(copied, "operator")


# -- limits ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["path", "operator", "channel"])
def test_a_limit_binds_in_every_stage(copied, stage):
    front = analysis.read_front(copied.front(stage))
    cheapest = Cheapest(copied.recipe.space, stage, staged.cost_of)
    least = np.array([cheapest(genome, "macs") for genome in analysis.genomes_of(front)])
    limit = float(np.median(least))
    assert (least > limit).any()
    settings = changed(copied.recipe, (f"search.max.macs={limit}",))
    staged.search(copied, stage, settings=settings)
    front = analysis.read_front(copied.front(stage))
    assert max(cheapest(genome, "macs") for genome in analysis.genomes_of(front)) <= limit
