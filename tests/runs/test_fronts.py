"""Which front is a run's, and what is picked of it: the same for commands, page and scores."""

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import exit_code

from evo_c2f.errors import InputError
from evo_c2f.objectives.metric import Limit, metric
from evo_c2f.page.data import page_data
from evo_c2f.runs import fronts, recipe
from evo_c2f.runs.run import RunFolder
from evo_c2f.scores import analysis
from evo_c2f.scores.store import ScoreStore
from evo_c2f.space import subnet_id

ROOT = Path(__file__).parents[2]
NAN = float("nan")
PSNR, MACS = metric("psnr_y"), metric("macs")
# psnr_y on crops, psnr_y on whole images, macs. On whole images 0, 2 and 3 are the front, and 0 is the best.
ROWS = [
    (30.0, 31.0, 100.0),
    (31.0, 30.0, 101.0),
    (29.0, 30.5, 30.0),
    (27.0, 27.0, 20.0),
    (28.5, 26.0, 50.0),
    (NAN, NAN, 10.0),
]


@pytest.fixture(scope="module")
def genomes(tiny):
    others = np.unique(tiny.random(60, np.random.default_rng(0)), axis=0)
    return np.array([g for g in others if not (g == tiny.reference).all()][:8])


@pytest.fixture
def run(tmp_path, tiny, genomes, context_of):
    """A run whose channel stage scored ROWS, and whose path stage scored two of them with earlier weights."""
    run = RunFolder(tmp_path, recipe.load("quick").model_copy(update={"space": tiny}))
    run.keep_recipe()
    write_scores(run, context_of(tiny, "joint"), "path", genomes[[3, 6]], [(20.0, NAN, 20.0), (21.0, NAN, 60.0)])
    write_front(run, "path", genomes[[3, 6]], [(20.0, 20.0), (21.0, 60.0)])
    write_scores(run, context_of(tiny, "channel"), "channel", genomes[:6], ROWS)
    kept = [ROWS[i] for i in (0, 2, 3)]
    whole = {"psnr_y_full": np.array([row[1] for row in kept])}
    write_front(run, "channel", genomes[[0, 2, 3]], [(row[0], row[2]) for row in kept], whole)
    return run


def write_scores(run, context, stage, genomes, rows):
    named = [{"psnr_y": crops, "psnr_y_full": whole, "macs": macs} for crops, whole, macs in rows]
    for row in named:
        if np.isnan(row["psnr_y_full"]) and not np.isnan(row["psnr_y"]):
            del row["psnr_y_full"]
    with ScoreStore(run.scores, context, {"baseline": {"psnr_y": 20.0}}) as store:
        store.append(run.recipe.space.reference[None], [{"psnr_y": 25.0, "macs": 500.0}], "reference", 0, [0.5])
        for genome, row in zip(genomes, named, strict=True):
            store.append(genome[None], [row], stage, 1, [0.5])


def write_front(run, stage, genomes, rows, others=None):
    crops, macs = np.array(rows).T
    metrics = {"psnr_y": crops, "macs": macs, **(others or {})}
    analysis.write_front(analysis.front_frame(run.recipe.space, genomes, metrics, genomes[:1]), run.front(stage))


def searched(run, stage, **others):
    run.log("evolved", stage=stage, seconds=1.0, **others)


def picked(run, which, *limits):
    return subnet_id(fronts.pick(run, limits, which)[1])


def best(run, *limits):
    return fronts.within(fronts.latest(run).frame, limits, "the front")["id"].iloc[0]


# -- which front ---------------------------------------------------------------------------------


def test_the_front_is_of_the_stage_that_was_searched_last(run, genomes, capsys):
    assert fronts.latest(run).stage == "channel"  # the log tells nothing: the finest
    searched(run, "path")
    assert fronts.latest(run).stage == "path"
    searched(run, "channel")
    assert fronts.latest(run).stage == "channel"
    write_front(run, "joint", genomes[4:5], [(28.5, 50.0)])
    searched(run, "joint")
    assert fronts.latest(run).stage == "joint" and picked(run, "knee") == subnet_id(genomes[4])
    assert exit_code("front", "--run", run.folder, "--json") == 0
    assert [row["id"] for row in json.loads(capsys.readouterr().out)] == [subnet_id(genomes[4])]
    assert exit_code("front", "--run", run.folder, "--stage", "path", "--json") == 0
    path = [row["id"] for row in json.loads(capsys.readouterr().out)]
    assert path == [subnet_id(genomes[6]), subnet_id(genomes[3])]
    run.front("joint").unlink()
    assert fronts.latest(run).stage == "channel"
    assert fronts.latest(run, "path").stage == "path"


def test_without_a_front_the_command_is_named(run):
    with pytest.raises(InputError, match="no front yet; run 'python cli.py evolve --stage joint --run"):
        fronts.latest(run, "joint")
    for stage in ("path", "channel"):
        run.front(stage).unlink()
    for ask in (lambda: fronts.latest(run), lambda: picked(run, "knee")):
        with pytest.raises(InputError, match="no front yet; run 'python cli.py evolve --stage path --run"):
            ask()


def test_a_front_is_by_what_its_stage_was_searched_on(run, genomes):
    ssim = {"ssim_y": np.array([0.9, 0.8])}
    write_front(run, "joint", genomes[3:5], [(27.0, 20.0), (28.5, 50.0)], ssim)
    searched(run, "joint", objectives=["ssim_y", "macs"])
    front = fronts.latest(run)
    assert [o.name for o in front.objectives] == ["ssim_y", "macs"]
    assert best(run) == subnet_id(genomes[3])


def test_a_front_that_does_not_tell_an_objective_is_named(run):
    other = run.recipe.model_copy(
        update={"search": run.recipe.search.model_copy(update={"objectives": ["lpips", "macs"]})}
    )
    with pytest.raises(InputError, match="front of stage channel does not tell lpips; evolve that stage again"):
        fronts.latest(RunFolder(run.folder, other))


# -- what is picked --------------------------------------------------------------------------------


def test_the_best_is_that_of_the_front_as_scored_on_whole_images(run, genomes):
    front = fronts.latest(run)
    assert [o.name for o in front.objectives] == ["psnr_y_full", "macs"]
    assert front.frame["id"].tolist() == [subnet_id(genomes[i]) for i in (0, 2, 3)]
    assert best(run) == subnet_id(genomes[0])  # on crops 1 is better, and costs more


def test_the_knee_is_chosen_on_no_image_that_the_front_is_judged_on(run, genomes):
    crops, whole = [(30.0, 100.0), (29.0, 30.0), (27.0, 20.0)], np.array([31.0, 27.1, 27.0])  # by the whole ones, 0
    write_front(run, "channel", genomes[[0, 2, 3]], crops, {"psnr_y_full": whole})
    assert picked(run, "knee") == subnet_id(genomes[2])


def test_limits_narrow_the_front(run, genomes):
    assert best(run, Limit(MACS, "max", 50)) == subnet_id(genomes[2])
    assert picked(run, "knee", Limit(MACS, "max", 20)) == subnet_id(genomes[3])
    assert best(run, Limit(MACS, "max", 50), Limit(PSNR, "min", 20)) == subnet_id(genomes[2])
    with pytest.raises(InputError, match="no subnet of the front of stage channel in .* has macs <= 5; allow more"):
        picked(run, "knee", Limit(MACS, "max", 5))
    with pytest.raises(InputError, match="latency_ms was never measured for the front of stage channel"):
        picked(run, "knee", Limit(metric("latency_ms"), "max", 1.0))


def test_any_subnet_is_picked_by_its_id_with_the_weights_of_its_newest_score(run, tiny, genomes):
    def stage_of(genome, *limits):
        stage, found = fronts.pick(run, limits, subnet_id(genome)[:9])
        assert (found == genome).all()
        return stage

    assert stage_of(genomes[4]) == "channel"  # on no front
    assert stage_of(genomes[6]) == "path"  # scored by the earlier weights alone
    assert stage_of(genomes[3]) == "channel"  # scored by both
    assert stage_of(tiny.reference) == "channel"
    # 20 dB by the earlier weights, 27 dB by the newest.
    assert stage_of(genomes[3], Limit(PSNR, "min", 26.0)) == "channel"
    with pytest.raises(InputError, match="has psnr_y >= 28; allow more"):
        stage_of(genomes[3], Limit(PSNR, "min", 28.0))
    for name in ("zz", subnet_id(genomes[5])):  # the latter failed
        with pytest.raises(InputError, match=f"0 subnets of .* begins with '{name}'; give best, knee or an id"):
            picked(run, name)
    with pytest.raises(InputError, match="7 subnets of .* begins with ''"):
        picked(run, "")


def test_a_subnet_is_picked_though_another_metric_of_it_failed(tmp_path, tiny, genomes, context_of):
    run = RunFolder(tmp_path, recipe.load("quick").model_copy(update={"space": tiny}))
    rows = [{"psnr_y": 30.0, "macs": 5.0, "latency_ms": NAN}, {"psnr_y": NAN, "macs": 5.0, "latency_ms": 1.0}]
    with ScoreStore(run.scores, context_of(tiny)) as store:
        store.append(genomes[:2], rows, "path", 1, [0.5] * 2)
    assert fronts.offered([analysis.load_scores(run.scores)], []) == {subnet_id(genomes[0])}
    assert picked(run, subnet_id(genomes[0])) == subnet_id(genomes[0])


@pytest.mark.parametrize("name", ["openmoji", "sr-x4"])
def test_a_committed_run_s_front_is_printed_picked_shown_and_loaded_alike(name, capsys):
    run = RunFolder.open(ROOT / "results" / name)
    assert exit_code("front", "--run", run.folder, "--json") == 0
    printed = [row["id"] for row in json.loads(capsys.readouterr().out)]
    front = fronts.latest(run)
    names = [o.name for o in front.objectives]
    assert names[0] == run.recipe.search.metrics()[0].name + "_full"
    assert best(run) == printed[0] and picked(run, "knee") in printed

    scores = analysis.load_scores(run.folder, names)
    assert set(scores[scores["front"] == 0]["id"]) == set(printed)
    assert analysis.front(scores[scores["front"] == 0].drop_duplicates("id"), names)["id"].tolist() == printed

    page = page_data(run)
    ids = page["rows"]["columns"]["id"]
    assert [ids[i] for i in page["rows"]["fronts"]["channel"]] == printed
    assert ids[page["shown_first"]] == picked(run, "knee")


# -- the page ------------------------------------------------------------------------------------


def test_the_page_refuses_what_pick_refuses(run):
    limited = run.recipe.search.model_copy(update={"max": {"macs": 55.0}})
    run = RunFolder(run.folder, run.recipe.model_copy(update={"search": limited}))
    page = page_data(run)
    for row, name in enumerate(page["rows"]["columns"]["id"]):
        if row in page["pickable"]["refused"]:
            with pytest.raises(InputError):
                picked(run, name, *limited.limits())
        else:
            assert picked(run, name, *limited.limits()) == name
    assert 0 < len(page["pickable"]["refused"]) < len(page["rows"]["columns"]["id"])


def test_the_page_begins_with_the_stage_that_was_searched_last(run, genomes):
    searched(run, "channel")
    searched(run, "path")
    page = page_data(run)
    assert "the path stage's front holds 2" in page["sentence"]
    assert page["rows"]["columns"]["id"][page["shown_first"]] == picked(run, "knee")


def test_the_page_shows_the_stage_that_has_no_front_yet(run, tiny, genomes, context_of):
    searched(run, "channel")
    write_scores(run, context_of(tiny, "operator"), "operator", genomes[6:8], [(25.0, NAN, 50.0), (26.0, NAN, 40.0)])
    page = page_data(run)
    assert "the operator stage's front holds 1: best PSNR on Y 26.00 dB" in page["sentence"]
    assert page["rows"]["columns"]["id"][page["shown_first"]] == subnet_id(genomes[7])


# -- candidates ----------------------------------------------------------------------------------


def test_candidates_are_of_each_stage_by_the_weights_it_was_last_searched_on(run, tiny, genomes, context_of):
    write_scores(run, context_of(tiny, "again"), "path", genomes[7:8], [(22.0, NAN, 10.0)])

    def ids(most):
        found = fronts.candidates(run, PSNR, [Limit(MACS, "max", most)], 9)
        return {(stage, subnet_id(genome)) for stage, genome in found}

    channel = {("channel", subnet_id(genomes[i])) for i in range(5)}
    assert ids(200) == channel | {("path", subnet_id(genomes[7]))}
    assert ids(15) == {("path", subnet_id(genomes[7]))}
    with pytest.raises(InputError, match="has macs <= 5; allow more"):
        ids(5)


def test_a_joint_search_has_candidates_too(run, tiny, genomes, context_of):
    write_scores(run, context_of(tiny, "joint"), "joint", genomes[7:8], [(29.0, NAN, 40.0)])
    assert ("joint", subnet_id(genomes[7])) in {(s, subnet_id(g)) for s, g in fronts.candidates(run, PSNR, [], 9)}


def test_a_quality_that_was_never_measured_has_no_candidates(run):
    with pytest.raises(InputError, match="lpips was never measured in .*; evolve with --objective lpips"):
        fronts.candidates(run, metric("lpips"), [], 4)


def test_the_widest_subnet_is_a_candidate_by_the_weights_that_ranked_it_best(run):
    found = {genome.tobytes(): stage for stage, genome in fronts.candidates(run, PSNR, [], 100)}
    assert found[run.recipe.space.reference.tobytes()] == "path"
