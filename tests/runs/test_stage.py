"""What a run promises of its stages, with a screen: a surrogate that learns from the stages before."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import staged

from evo_c2f.engine.problem import Cheapest
from evo_c2f.errors import DamagedFileError, InputError
from evo_c2f.objectives import pareto
from evo_c2f.objectives.metric import objectives
from evo_c2f.runs.recipe import changed
from evo_c2f.runs.stage import read_asked
from evo_c2f.scores import analysis
from evo_c2f.scores.store import read_scores
from evo_c2f.workers.processes import Here

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
    staged.search(run, tools=staged.instruments(run, hire=staged.Shuffled))
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
            staged.search(run, stage, tools=staged.instruments(run, hire=staged.Shuffled), on_progress=interrupt)
        staged.search(run, stage)
    assert staged.fronts(run) == staged.fronts(alone[0]) and measured(run) == measured(alone[0])


def test_the_joint_search_knows_nothing_of_the_stages(alone, copied, tmp_path):
    found = staged.search(copied, "joint")[0]
    assert found.front == staged.search(staged.begin(tmp_path / "new"), "joint")[0].front


def test_a_steady_search_of_more_evaluations_goes_on(tmp_path):
    run, summaries = staged.begin(tmp_path, STEADY), []
    for n in (12, 18, 12, 18):
        settings = changed(run.recipe, (f"search.evaluations.path={n}",))
        summaries += staged.search(run, "path", tools=staged.instruments(run, hire=staged.Shuffled), settings=settings)
    assert [s.asked for s in summaries] == [12, 18, 12, 18]
    assert len(run.order("path").read_text().splitlines()) == 1 + 18
    assert [s.measured for s in summaries] == [12 - 1, 6, 0, 0]  # the widest was measured before
    assert summaries[0].front == summaries[2].front and summaries[1].front == summaries[3].front
    staged.search(run, "path", seed=1)  # whose order is another


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
    other = replace(tools.context, checkpoint="other weights")
    assert not len(read_asked(run, "operator", staged.instruments(run, context=other)))
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


# -- what comes of a stage -----------------------------------------------------------------------------


def test_the_last_front_is_that_of_the_whole_images_best_first(alone):
    run, _ = alone
    front = analysis.read_front(run.front("channel"))
    values = front[["psnr_y_full", "macs"]].to_numpy() * [-1, 1]
    assert (np.diff(values[:, 0]) >= 0).all()
    credited = values - np.outer(np.log(values[:, 1]), [run.recipe.search.macs_credit, 0])
    assert pareto.non_dominated(credited).all()
    assert "psnr_y_full" not in analysis.read_front(run.front("operator"))


def test_a_stage_tells_the_worst_that_it_asked_for(alone):
    run, (path, *_) = alone
    asked = analysis.load_scores(run.scores).query("stage in ['reference', 'path']")
    assert path.worst == {"psnr_y": asked["psnr_y"].min()} and path.asked == len(asked) == path.measured + 1


def test_a_picture_shows_the_subnets_of_its_own_weights_alone(alone, copied):
    context = replace(staged.instruments(copied).context, checkpoint="other weights")
    staged.search(copied, "path", tools=staged.instruments(copied, context=context))
    assert copied.front("path", "png").read_bytes() == alone[0].front("path", "png").read_bytes()
    assert read_scores(copied.scores)[-1].notes == {"baseline": staged.BASELINE, "recipe": "quick"}


def test_a_final_front_is_scored_in_8_bits_once_if_that_is_wanted(copied):
    asked, before = [], analysis.read_front(copied.front("channel"))

    def measure_int8(architectures):
        asked.extend(architectures)
        return [{"psnr_y_int8_full": staged.quality_of(a) - 1, "size_mb_int8": 0.5} for a in architectures]

    tools = staged.instruments(copied, int8=measure_int8, int8_names=("psnr_y_int8_full", "size_mb_int8"))
    for _ in range(2):
        (summary,) = staged.search(copied, "channel", tools=tools)
        front = analysis.read_front(copied.front("channel"))
        assert len(asked) == len(front) and front[before.columns].equals(before)
        assert front["psnr_y_int8_full"].tolist() == [staged.quality_of(a) - 1 for a in asked]
    assert {row["size_mb_int8"] for row in summary.front} == {0.5}
    with pytest.raises(InputError, match="psnr_y_int8 is taken of final fronts alone; search on psnr_y"):
        objectives(["psnr_y_int8", "macs"], [], [])


def test_each_subnet_of_the_front_is_told_and_one_may_be_the_last(copied):
    seen = []

    def stop_at_second(done, total):
        seen.append((done, total))
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        staged.search(copied, "channel", on_front=stop_at_second)
    total = seen[0][1]
    assert total > 2 and seen == [(1, total), (2, total)]


# -- what it is told -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "setting", ["algorithm=unsga3", "screen=1", "macs_credit=0", "population=4", "evaluations.path=15"]
)
def test_each_setting_of_the_search_changes_what_is_asked_for(alone, tmp_path, setting):
    run = staged.begin(tmp_path)
    staged.search(run, "path", settings=changed(run.recipe, (f"search.{setting}",)))
    assert run.asked("path").read_text() != alone[0].asked("path").read_text()


def test_each_stage_draws_its_own_numbers(tmp_path):
    run, paths = staged.begin(tmp_path, "search.screen=1"), {}
    changes = "search.evaluations.path=8", "search.evaluations.joint=8"  # the first population, which is drawn
    settings = changed(run.recipe, changes)
    for stage in ("path", "joint"):
        staged.search(run, stage, settings=settings)
        genomes = json.loads(run.asked(stage).read_text())["genomes"]
        paths[stage] = {genome[: 2 * run.recipe.space.n_cells] for genome in genomes}
    assert paths["path"] != paths["joint"]


def test_as_many_survive_as_the_recipe_says(copied):
    staged.search(copied, "operator", settings=changed(copied.recipe, ("search.survivors.operator=2",)))
    survivor = analysis.read_front(copied.front("operator"))["survivor"]
    assert survivor.sum() == 2 < len(survivor)


def test_workers_are_hired_for_its_metrics_and_its_timeout(copied):
    tasks = []

    def hire(task):
        tasks.append(task)
        return Here(task)

    settings = changed(copied.recipe, ("search.timeout=7.5",))
    staged.search(copied, "path", tools=staged.instruments(copied, hire=hire), settings=settings)
    assert [(task.names, task.timeout) for task in tasks] == [(staged.NAMES, 7.5)]


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
