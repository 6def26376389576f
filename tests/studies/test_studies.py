"""The studies as a user runs them, small: what they leave, that it follows from what was measured, that they resume."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from command_line import STUDIED, exit_code, settings, start, wait_for
from PIL import Image

from evo_c2f.errors import InputError
from evo_c2f.objectives.metric import objectives
from evo_c2f.runs import recipe
from evo_c2f.runs.run import RunFolder
from evo_c2f.runs.stage import read_survivors
from evo_c2f.scores import analysis
from evo_c2f.scores.layout import Context
from evo_c2f.scores.store import read_scores
from evo_c2f.sections.training import FinetuneSection
from evo_c2f.studies import ranking
from evo_c2f.studies import study as studies
from evo_c2f.studies.study import Instrument
from evo_c2f.workflows.search import protocol
from evo_c2f.workflows.studies.evidence import usable_strategies
from evo_c2f.workflows.studies.laboratory import protocol_alone
from supernet.training import loop

SMALL = (
    "data.patch=8",
    "data.batch=2",
    "data.crop=48",
    "data.validation_crops=4",
    "data.validation_images=2",
    "training.rounds=4",
    "training.stage_rounds=2",
    "finetune.rounds=2",
    "search.population=8",
    "search.evaluations.joint=24",
    "search.output_size=[96, 96]",
    "space.n_cells=3",
    "space.reference_path=[2, 2, 2]",
)


@pytest.fixture(scope="module")
def lab(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[object]]:
    """A folder in which all studies were made, and the options that they were made with."""
    folder = tmp_path_factory.mktemp("evidence")
    changes = settings(*SMALL)
    options: list[object] = ["--run", folder, "--data", photographs, "--threads", 1, *changes]
    assert exit_code("study", "fairness", *STUDIED, *options) == 0
    assert exit_code("study", "ranking", *STUDIED, *options) == 0
    assert exit_code("study", "search", "--seeds", 2, *options) == 0
    return folder, options


def table(folder: Path, name: str) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / f"{name}.json").read_text())
    return found


@pytest.mark.parametrize("name", ["ranking", "fairness", "search"])
def test_a_study_leaves_a_table_its_rows_and_a_picture(lab, name):
    folder, _ = lab
    assert (folder / f"{name}.md").read_text().startswith("| ")
    assert len(pd.read_csv(folder / f"{name}.csv")) >= 20
    with Image.open(folder / f"{name}.png") as picture:
        assert picture.width > 300


def test_the_table_follows_from_what_was_measured(lab):
    folder, _ = lab
    frame = pd.read_csv(folder / "fairness.csv")
    assert len(frame) == 20 and frame["held_out"].sum() == 12 and frame["again_psnr_y_full"].notna().sum() == 3
    rows = frame[frame["held_out"]]
    for row in table(folder, "fairness")["rows"]:
        if row["part"] == "held out":
            score = rows["macs" if row["score"] == "macs" else f"{row['score']} {row['seed']}"]
            assert row["tau"] == pytest.approx(ranking.tau(score.to_numpy(), rows["alone_psnr_y_full"].to_numpy()))
            assert row["low"] <= row["tau"] <= row["high"] and row["n"] == 12


def test_all_trainings_cost_as_many_macs(lab):
    folder, _ = lab
    rows = [row for row in table(folder, "fairness")["rows"] if row["score"] != "macs"]
    assert {row["score"] for row in rows} == set(studies.TRAININGS)
    budget = next(row["forward_gmacs"] for row in rows if row["score"] == "fair")
    for row in rows:
        # At least as many, and at most one round more.
        assert budget <= row["forward_gmacs"] <= budget * (1 + 2.5 / row["rounds"]), row
    by_name = {row["score"]: row["rounds"] for row in rows}
    assert by_name["uniform"] > by_name["fair"] == 4


def test_the_numbers_are_read_with_pandas(lab):
    folder, _ = lab
    alone = analysis.load_scores(folder / "alone.h5", objectives=None)
    assert alone.groupby("stage").size().to_dict() == {"again": 3, "alone": 20}
    shared = analysis.load_scores(folder / "shared.h5", objectives=["psnr_y", "macs"])
    assert shared["context"].nunique() == len(studies.TRAININGS)


def test_the_same_study_again_trains_and_measures_nothing(lab, monkeypatch):
    folder, options = lab

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("something is trained again")

    monkeypatch.setattr(loop, "train", refuse)
    before = {path.name: path.read_bytes() for path in folder.glob("*.json")}
    stores = [folder / "shared.h5", folder / "search.h5"]
    n = [len(analysis.load_scores(store, objectives=None)) for store in stores]
    assert exit_code("study", "fairness", *STUDIED, *options) == 0
    assert exit_code("study", "search", "--seeds", 2, *options) == 0
    assert {path.name: path.read_bytes() for path in folder.glob("*.json")} == before
    assert [len(analysis.load_scores(store, objectives=None)) for store in stores] == n


def test_two_processes_find_what_one_finds(lab, tmp_path):
    folder, options = lab
    assert exit_code("study", "fairness", *STUDIED, *options, "--run", tmp_path, "--workers", 2) == 0
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "fairness.csv"), pd.read_csv(folder / "fairness.csv"))


def test_a_killed_study_ends_as_one_that_was_never_killed(lab, tmp_path):
    folder, options = lab
    words = ["study", "ranking", *STUDIED, *("--run", tmp_path / "killed"), *options[2:]]
    process = start(*words)
    wait_for((tmp_path / "killed" / "alone.h5").exists, process)
    process.kill()
    process.communicate(timeout=60)
    assert exit_code(*words) == 0
    tables = [table(where, "ranking") for where in (folder, tmp_path / "killed")]
    for found in tables:
        for row in found["rows"]:
            row.pop("seconds", None)
    assert tables[0] == tables[1]


def test_architectures_are_chosen_by_macs_and_the_seed_alone(large, costs):
    def sample(seed: int) -> studies.Sample:
        none = {"alone": None, "shared": None}
        return studies.Sample.draw(studies.Laboratory(large, costs, "psnr_y", seed, "fair", **none), 50, 6)

    first = sample(0)
    assert (first.genomes == sample(0).genomes).all() and (first.again == sample(0).again).all()
    assert first.genomes.tolist() != sample(1).genomes.tolist()
    assert first.held_out[first.again].all() and len(set(first.again)) == 6


FEW = settings("space.widths={2: [16, 24]}", "space.operators=[residual]")
OWN = settings("training.sampler=fair_widest", "training.divide_gradients=true")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("study", "ranking", *STUDIED, "--again", 13), "only 12 of 20 networks are held out"),
        (("study", "ranking", "--architectures", 300, *FEW), "different architectures were found in the space, 300"),
        (("search", "--check-ranking", 300, "--recipe", "quick", *FEW), "were found on the paths to draw from, 300"),
        (("study", "ranking", *STUDIED, *OWN), "none of them: --set one of them, or name one with --training"),
        (("study", "search", *OWN), "none of them: --set one of them, or name one with --training"),
    ],
)
def test_what_cannot_be_studied_is_refused_before_anything_is_trained(
    words, said, photographs, tmp_path, capsys, monkeypatch
):
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("something is trained")

    monkeypatch.setattr(loop, "train", refuse)
    assert exit_code(*words, "--run", tmp_path, "--data", photographs, "--threads", 1, *settings(*SMALL)) == 2
    assert said in capsys.readouterr().err


def test_scores_of_a_study_know_the_device_the_threads_and_the_table_of_latencies(lab, tmp_path):
    (scores, *_) = read_scores(lab[0] / "shared.h5")
    assert scores.protocol.endswith("; costs at 96x96; cpu, 1 threads, float32")
    job = SimpleNamespace(device="cpu", task=SimpleNamespace(protocol=lambda: "a task"))
    session = SimpleNamespace(job=job, settings=recipe.load("quick"))
    found = []
    for text in ("one", "other"):
        (tmp_path / text).write_text(text)
        found.append(protocol(session, tmp_path / text))
    assert "latency by table" in found[0] != found[1]


def test_networks_trained_alone_on_a_gpu_have_scores_of_their_own():
    how = FinetuneSection()
    on = {
        name: SimpleNamespace(device=torch.device(name), seed=3, task=SimpleNamespace(protocol=lambda: "a task"))
        for name in ("cpu", "cuda")
    }
    words = {name: protocol_alone(job, how) for name, job in on.items()}
    assert words["cuda"] == words["cpu"] + " on cuda" and "trained alone with seed 3 by {" in words["cpu"]


def test_a_network_without_a_score_is_told_and_tried_again(tmp_path):
    space = recipe.load("quick").space
    genomes, asked = space.random(3, np.random.default_rng(0)), list[str]()

    def measure(architectures):
        asked.extend(str(one) for one in architectures)
        return [{"psnr_y": np.nan if len(asked) == 2 else 30.0} for _ in architectures]

    context = Context(space.to_dict(), dataset="d", checkpoint="c", protocol="p")
    tool = Instrument(measure, ("psnr_y",), context, {})
    refused = pytest.raises(InputError, match="^1 of 3 networks could not be scored .its output was not finite")
    with studies.measuring(space, tmp_path / "alone.h5", tool) as evaluator, refused:
        studies.scores(evaluator, genomes, "alone")
    with studies.measuring(space, tmp_path / "alone.h5", tool) as evaluator:
        assert studies.scores(evaluator, genomes, "alone")["psnr_y"].tolist() == [30.0] * 3
    assert len(asked) == 4 and asked[3] == asked[1]


def test_a_strategy_without_the_cost_that_it_limits_is_left_out_with_a_warning(caplog):
    with_macs, with_latency = (
        usable_strategies(objectives(["psnr_y", second], [], [])) for second in ("macs", "latency_ms")
    )
    assert with_macs.keys() - with_latency.keys() == {"evolution under limits (Once-for-All)"}
    assert "Once-for-All is left out" in caplog.text and "latency_ms" in caplog.text


def test_the_first_to_reach_the_rival_is_told_by_the_median():
    curves = {
        ("joint", 0): np.array([0.1, 0.2, 0.4]),
        ("joint", 1): np.array([0.1, 0.3, 0.5]),
        ("quick", 0): np.array([0.1, 0.6, 0.6]),
        ("quick", 1): np.array([0.5, 0.5, 0.5]),
        ("never", 0): np.array([0.1, 0.1, 0.1]),
        ("never", 1): np.array([0.1, 0.1, 0.9]),
        ("never", 2): np.array([0.1, 0.1, 0.2]),
    }
    rows = {row["strategy"]: row for row in studies.search_table(analysis.curves_frame(curves), "joint")}
    assert rows["joint"]["final_median"] == pytest.approx(0.45)
    assert rows["quick"]["evaluations_to_reach"] == 1.5 and rows["quick"]["seeds_that_reach"] == 2
    assert np.isnan(rows["never"]["evaluations_to_reach"]) and rows["never"]["seeds_that_reach"] == 1


JOINT = ("training.stages=[joint, operator, channel]", "training.sampler=widest_first")


@pytest.mark.parametrize("trainings", [JOINT, ()], ids=["joint", "by stage"])
def test_a_search_tells_how_well_its_supernet_ranks(trainings, photographs, tmp_path, capsys):
    run = tmp_path / "run"
    changes = settings(*SMALL, "space.operators=[residual]", *trainings)
    few = ("--evaluations", 8, "--check-ranking", 8, "--threads", 1)
    assert exit_code("search", "--run", run, "--data", photographs, *few, "--recipe", "quick", *changes) == 0
    found = table(run, "ranking")
    assert found["n"] == 8 and -1 <= found["tau"] <= 1
    assert f"ranking: tau {found['tau']:.2f}" in capsys.readouterr().err
    if trainings:  # without: after two rounds on few paths, scores are tied: a resample may be all tied
        assert -1 <= found["low"] <= found["tau"] <= found["high"] <= 1
    else:  # such a supernet knows the survivors' paths alone
        space, paths = recipe.load("quick", SMALL).space, slice(0, 3)
        survivors = {g[paths].tobytes() for g in read_survivors(RunFolder.open(run), "operator")}
        drawn = analysis.load_scores(run / "alone.h5", objectives=None)["genome"].map(bytes.fromhex)
        assert {genome[paths] for genome in drawn} <= survivors and space.paths == paths
