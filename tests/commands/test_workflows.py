"""What the commands are made of, on one searched run of a second: whose weights go on, who is tried, within what."""

import json
import shutil
import signal
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import exit_code
from PIL import Image
from supernet_fixtures import random_pixels

from evo_c2f.errors import FailedError, InputError
from evo_c2f.runs import recipe
from evo_c2f.runs.run import RunFolder, read_log
from evo_c2f.runs.stage import run_stage
from evo_c2f.scores import analysis
from evo_c2f.space import subnet_id
from evo_c2f.workers.machine import Machine
from evo_c2f.workflows.finetune import best_alone, candidates_of, finetune, finetune_best
from evo_c2f.workflows.progress import silent
from evo_c2f.workflows.search import evolve, instruments, latency_table, search
from evo_c2f.workflows.session import Session, begin_training, task_and_data
from evo_c2f.workflows.studies import compare, contestants
from evo_c2f.workflows.studies.compare import train_plain
from evo_c2f.workflows.studies.contestants import FILL, budgets, contestants_of
from evo_c2f.workflows.studies.winners import Amounts, train_contenders, winners_study
from evo_c2f.workflows.train import train
from supernet import checkpoint
from supernet.jobs.benchmark import NAMES, names_with
from supernet.jobs.contestants import Contestant, in_size
from supernet.jobs.job import Job
from supernet.latency.table import describe, read_table
from supernet.models.model import load_network

STAGES = ("path", "operator", "channel")
RECIPE = {
    "name": "small",
    "task": {"name": "super-resolution", "scale": 2},
    "space": {
        **{
            "n_cells": 2,
            "widths": {1: [8, 12, 16]},
            "operators": ["pointwise", "residual"],
            "inner_ratios": [0.5, 1.0],
        },
        **{"reference_path": [1, 1], "reference_operator": "residual"},
    },
    "data": {"patch": 8, "batch": 2, "validation_images": 1, "validation_crops": 2, "crop": 32},
    "training": {"rounds": 2, "learning_rate": 0.01, "stages": ["joint", "operator"], "stage_rounds": 2},
    "finetune": {"rounds": 2},
    "search": {
        **{"population": 4, "evaluations": {"path": 3, "operator": 6, "channel": 12}, "output_size": [32, 32]},
    },
}


@pytest.fixture(scope="module")
def run(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Trained jointly and then for operators, and searched in the three stages."""
    data = json.loads(json.dumps(RECIPE))
    data["data"]["folder"] = str(photographs)
    run = RunFolder(tmp_path_factory.mktemp("run"), recipe.checked(data, (), "test"))
    run.keep_recipe()
    session = session_of(run)
    for stage in ("joint", *STAGES):
        if stage in run.recipe.training.stages:
            train(session, stage)
        if stage != "joint":
            evolve(session, stage, 0, session.hiring())
    return run


def job_of(run: RunFolder) -> Job:
    return Job(run.recipe.space, *task_and_data(run.recipe), run.recipe.seed, torch.device("cpu"))


def session_of(run: RunFolder, *changes: str) -> Session:
    return Session(run, changed(run, *changes), job_of(run))


def changed(run: RunFolder, *changes: str) -> recipe.Recipe:
    return recipe.changed(run.recipe, changes)


@pytest.mark.parametrize(("stage", "weights"), [("path", "joint"), ("operator", "operator"), ("channel", "operator")])
def test_a_subnet_inherits_the_weights_that_scored_it(run, stage, weights):
    job, genome = job_of(run), run.recipe.space.reference
    still = session_of(run, "finetune.learning_rate=1e-30", "finetune.rounds=1")
    finetune(still, f"inherits-{stage}", (stage, genome), from_scratch=False)
    found = load_network(run.folder / f"inherits-{stage}").state_dict()
    architecture = run.recipe.space.decode(genome)
    expected = job.trained(run.checkpoint(weights)).extract(architecture).state_dict()
    assert all(torch.allclose(found[name], tensor, rtol=0, atol=1e-20) for name, tensor in expected.items())


def test_the_candidate_that_is_best_from_scratch_goes_on(run):
    candidates = candidates_of(session_of(run), [], 4)
    assert len(candidates) == 4
    stage, genome = best_alone(session_of(run), candidates, 4)
    tried = {path.parent.name.split("-")[0]: checkpoint.load(path)[1] for path in trials(run, 4)}
    assert len(tried) == 2 and {metadata["about"]["start"] for metadata in tried.values()} == {"scratch"}
    assert subnet_id(genome) == max(tried, key=lambda name: tried[name]["metrics"]["psnr_y"])
    assert stage in STAGES
    score = job_of(run).score(["psnr_y"])  # on the search's images: final fronts may be judged on test/
    for path in trials(run, 4):
        assert checkpoint.load(path)[1]["metrics"] == score.of(load_network(path))


def trials(run: RunFolder, images: int) -> list[Path]:
    return sorted((run.folder / "trials").glob(f"*-{images}-*/model.safetensors"))


def test_other_settings_make_other_trials(run):
    candidates = candidates_of(session_of(run), [], 2)
    for rate in (0.001, 0.002):
        best_alone(session_of(run, f"finetune.learning_rate={rate}"), candidates, 6)
    rates = [checkpoint.load(path)[1]["about"]["finetune"]["learning_rate"] for path in trials(run, 6)]
    assert sorted(rates) == [0.001, 0.001, 0.002, 0.002]


def test_a_candidate_whose_training_fails_is_left_out(run, monkeypatch):
    candidates = candidates_of(session_of(run), [], 2)
    bad, good = candidates

    def failing(session, name, *others, **more):
        if bad in name:
            raise FailedError("no loss is finite")
        return finetune(session, name, *others, **more)

    monkeypatch.setattr("evo_c2f.workflows.finetune.finetune", failing)
    assert best_alone(session_of(run), candidates, 10) == candidates[good]
    with pytest.raises(FailedError, match="none of 2 candidates could be trained"):
        monkeypatch.setattr("evo_c2f.workflows.finetune.finetune", lambda *_, **__: failing(None, bad))
        best_alone(session_of(run), candidates, 10)


def test_the_best_is_not_looked_for_where_another_model_lies(run):
    brief, candidates = session_of(run, "finetune.rounds=1"), candidates_of(session_of(run), [], 2)
    finetune_best(brief, "chosen", candidates, 12, from_scratch=True)
    before = len(trials(run, 12))
    other = session_of(run, "finetune.rounds=2")
    with pytest.raises(InputError, match="chosen holds another model"):
        finetune_best(other, "chosen", candidates, 14, from_scratch=True)
    with pytest.raises(InputError, match="chosen holds another model .subnet is"):
        finetune_best(
            brief,
            "chosen",
            {"x": ("path", run.recipe.space.random(1, np.random.default_rng(7))[0])},
            14,
            from_scratch=True,
        )
    assert before == 2 and trials(run, 14) == []
    assert finetune_best(brief, "chosen", candidates, 12, from_scratch=True)["subnet"] in candidates


def test_the_best_follow_the_credit_that_is_set(run):
    def macs_of_the_first(credit: int) -> float:
        ((_, genome),) = candidates_of(session_of(run, f"search.macs_credit={credit}"), [], 1).values()
        return job_of(run).costs((64, 64))(run.recipe.space.decode(genome))["macs"]

    assert macs_of_the_first(0) < macs_of_the_first(100)


def test_a_model_that_began_from_other_weights_is_not_taken_for_this_one(run):
    genome, brief = run.recipe.space.reference, session_of(run, "finetune.rounds=1")
    finetune(brief, "inherits", ("path", genome), from_scratch=False)
    with pytest.raises(InputError, match=r"inherits holds another model \(weights is \w+ there, \w+ here\)"):
        finetune(brief, "inherits", ("operator", genome), from_scratch=False)


def test_a_model_of_another_precision_is_not_taken_for_this_one(run, monkeypatch):
    brief, subnet = session_of(run, "finetune.rounds=1"), ("path", run.recipe.space.reference)
    finetune(brief, "kept", subnet, True)
    finetune(brief, "kept-trial", subnet, True, judged_by="psnr_y")
    monkeypatch.setattr("evo_c2f.workflows.finetune.in_use", lambda device, precision: "bf16")  # as on a GPU
    with pytest.raises(InputError, match="precision is float32 there, bf16 here"):
        finetune(brief, "kept", subnet, True)
    finetune(brief, "kept-trial", subnet, True, judged_by="psnr_y")
    assert len([*run.folder.glob("kept-trial-*/model.safetensors")]) == 2


def test_a_quality_that_a_model_lacks_is_measured(run):
    brief, subnet = session_of(run, "finetune.rounds=1"), ("path", run.recipe.space.reference)
    first, both = (finetune(brief, "trial", subnet, True, judged_by=name) for name in ("psnr_y", "ssim_y"))
    assert "ssim_y" not in first and {**first, "ssim_y": both["ssim_y"]} == both
    (file,) = run.folder.glob("trial-*/model.safetensors")
    assert checkpoint.load(file)[1]["metrics"].keys() == {"psnr_y", "ssim_y"}


def small_benchmark(folder: Path) -> Path:
    for name, side in (("HR", 64), ("LR_bicubic/X2", 32)):
        (folder / name).mkdir(parents=True)
        Image.fromarray(random_pixels(side, side)).save(folder / name / "a.png")
    return folder


def test_sizes_and_limits_narrow_who_is_tried(run, tmp_path, capsys):
    benchmark = (
        "benchmark",
        small_benchmark(tmp_path / "Set1"),
        "--run",
        run.folder,
        "--threads",
        1,
        "--size",
        2,
        "--candidates",
        1,
    )
    assert exit_code(*benchmark, "--fill", 0.5) == 2
    assert "has size_mb >= 1 and size_mb <= 2; allow more" in capsys.readouterr().err
    for pick in ("knee", "best"):
        words = ("finetune", "--run", run.folder, "--threads", 1, "--pick", pick, "--candidates", 1)
        assert exit_code(*words, "--max", "macs=300000", "--min", "psnr_y=99") == 2
        assert "has macs <= 300000 and psnr_y >= 99; allow more" in capsys.readouterr().err


def test_the_study_of_winners_has_as_many_random_networks_as_searched_ones(run):
    sizes = analysis.load_scores(run.folder).drop_duplicates("id")["size_mb"]
    size = float(max(sizes, key=lambda size: sizes.between(FILL * size, size).sum()))  # most are about as large
    kinds = contestants_of(session_of(run), in_size(size, job_of(run).task.frame), 3)
    assert len(kinds["searched"]) == len(kinds["random"]) > 1
    costs = job_of(run).costs(run.recipe.search.output_size)
    for kind, least in (("searched", FILL), ("random", 0.9)):
        for contestant in kinds[kind].values():
            assert least * size <= costs(contestant.architecture)["size_mb"] <= size


def latencies_of(session):
    """What the session's latency table holds for."""
    job = session.job
    return describe(job.space, job.task.frame, session.settings.search.output_size, job.device)


def test_latencies_are_sums_of_a_table_that_is_made_in_the_run_or_given(run):
    session = session_of(run, "search.objectives=[psnr_y, latency_ms, latency_ratio]")
    evolve(session, "channel", 0, session.hiring())
    found = analysis.load_scores(run.folder, objectives=("psnr_y", "latency_ms")).dropna(subset="latency_ms")
    (made,) = run.folder.glob("latency-*.json")
    plain, written = json.loads(made.read_text())["plain_ms"], made.stat().st_mtime_ns
    assert len(found) and np.allclose(found["latency_ms"] / found["latency_ratio"], plain)
    assert latency_table(session) == made and made.stat().st_mtime_ns == written
    given = session_of(run, "search.objectives=[psnr_y, latency_ms]", "search.latency_table=mine.json")
    assert latency_table(given) == Path("mine.json")
    assert latency_table(session_of(run)) is None


def test_within_a_latency_the_time_of_whole_files_decides_and_is_kept(run, monkeypatch):
    monkeypatch.setattr("supernet.latency.whole.PLAIN_WIDTHS", (4, 8, 12, 16))
    session = session_of(run, "search.objectives=[psnr_y, latency_ratio]")
    evolve(session, "channel", 0, session.hiring())
    asked, table = [], read_table(latency_table(session), latencies_of(session))

    def times(architectures, *about):  # a tenth more than the table says
        asked.extend(architectures)
        return [1.1 * table.ratio(one) for one in architectures]

    monkeypatch.setattr(contestants, "ratios_to_plain", times)
    scores = analysis.load_scores(run.folder, objectives=("psnr_y", "latency_ratio"))
    found = scores[scores["stage"] == "channel"]["latency_ratio"].dropna()
    (budget,) = budgets(session, [], [1.1 * float(found.max())])
    kinds = contestants_of(session, budget, 2, ["hand-made"])
    every = {name: one for kind in kinds.values() for name, one in kind.items()}
    assert 1 <= len(kinds["searched"]) <= 2 and any(name.startswith("all-") for name in kinds["hand-made"])
    assert all(one.latency_ratio <= budget.most for one in every.values())
    assert all(one.plain or one.latency_ratio == 1.1 * table.ratio(one.architecture) for one in every.values())
    n_asked = len(asked)
    assert n_asked > len([one for one in every.values() if one.architecture])  # the table proposed more
    assert contestants_of(session, budget, 2, ["hand-made"]) == kinds and len(asked) == n_asked
    network = {"in time": next(iter(kinds["searched"].values()))}
    (row,) = winners_study(session, [(budget, {"searched": network})], [], Amounts(1, 2, 1))["rows"]
    assert row["latency_ratio"] == network["in time"].latency_ratio


def test_a_run_on_another_machine_times_anew_and_keeps_its_scores_apart(run, monkeypatch):
    monkeypatch.setattr("supernet.latency.exported.REPEATS", 1)
    session = session_of(run, "search.objectives=[psnr_y, latency_ms]")
    here, context = latency_table(session), instruments(session, "channel").context
    assert instruments(session, "channel").context == context
    monkeypatch.setattr("supernet.latency.table.machine_name", lambda device: "another one")
    assert latency_table(session) != here and instruments(session, "channel").context != context


def test_latencies_that_can_not_be_taken_are_refused_before_a_training(run, monkeypatch):
    def refuse(device):
        raise InputError("no ONNX Runtime for it")

    monkeypatch.setattr("evo_c2f.workflows.session.runtime", refuse)
    for objective in ("latency_ms", "latency_ratio"):
        other = RunFolder(run.folder / "none", changed(run, f"search.objectives=[psnr_y, {objective}]"))
        with pytest.raises(InputError, match="no ONNX Runtime for it"), ExitStack() as stack:
            begin_training(lambda found=other: found, Machine("cpu", 1), silent, stack)


def test_winners_are_trained_by_the_seed_that_is_asked_for(run):
    ((_, genome),) = candidates_of(session_of(run), [], 1).values()
    network = Contestant(run.recipe.space.decode(genome))
    networks = [("a", network, 0), ("b", network, 0), ("c", network, 1)]
    same, again, other = (row["psnr_y"] for row in train_contenders(session_of(run), networks, 4, []))
    assert same == again != other


def test_a_network_that_is_there_by_other_settings_is_not_taken_and_the_first_of_them_is_named(run, monkeypatch):
    monkeypatch.setattr(compare, "finetuned", lambda session, work, network: work.begin())  # without the rounds
    other = session_of(run, "finetune.learning_rate=0.5")
    train_plain(session_of(run), 4, "alike")
    with pytest.raises(InputError) as refused:
        train_plain(other, 4, "alike")
    said = str(refused.value)
    assert "holds another model (finetune.learning_rate is 0.001 there, 0.5 here); remove that folder" in said
    assert len(said) < 400
    kept = run.folder / "models" / "plain-alike-4" / "finetune.json"
    older = {key: value for key, value in json.loads(kept.read_text()).items() if key != "finetune"}
    kept.write_text(json.dumps(older))
    train_plain(other, 4, "alike")  # a file of an older version does not tell


def test_winners_are_judged_on_benchmarks_by_the_quality_that_decides(run, tmp_path):
    benchmark = small_benchmark(tmp_path / "Set1")
    session = session_of(run, "search.objectives=[ssim_rgb, macs]")
    one, budget = Contestant(plain=(4, 1)), in_size(1, session.job.task.frame)
    found = [(budget, {"searched": {"ours": one}, "hand-made": {"theirs": one}})]
    ours, theirs = winners_study(session, found, [benchmark], Amounts(1, 2, 1))["rows"]
    assert 0 < ours["Set1 ssim_rgb"] == theirs["Set1 ssim_rgb"] <= 1 and theirs["Set1 ssim_rgb lead"] == 0
    assert names_with("lpips") == names_with("fd_vgg_n4") == NAMES  # too few images for Frechet distances


@pytest.mark.parametrize("first", ["joint", "path"])
def test_each_training_starts_from_the_one_before(run, tmp_path, monkeypatch, first):
    stages = {**run.recipe.model_dump(mode="json")["training"], "stages": [first, "operator", "channel"]}
    settings = recipe.checked({**run.recipe.model_dump(mode="json"), "training": stages}, (), "test")
    session = session_of(RunFolder(tmp_path, settings))
    starts, real = dict[str, str | None](), Job.train

    def train_and_tell(job, work, *others):
        starts[work.stage] = work.start and work.start.stem
        real(job, work, *others)

    monkeypatch.setattr(Job, "train", train_and_tell)
    search(session)
    assert starts == {first: None, "operator": first, "channel": "operator"}
    contexts = analysis.load_scores(tmp_path, objectives=None).groupby("stage")["context"].agg(set)
    assert len(set.union(*contexts[list(STAGES)])) == 3  # each stage is scored by weights of its own
    assert session.run.weights_for("path").stem == first


def test_a_ctrl_c_at_the_end_of_a_search_leaves_its_line_in_the_log(run, tmp_path, monkeypatch):
    copy = RunFolder.open(shutil.copytree(run.folder, tmp_path / "run"))
    real = run_stage

    def and_then(*words):
        summary = real(*words)
        signal.raise_signal(signal.SIGINT)
        return summary

    monkeypatch.setattr("evo_c2f.workflows.search.run_stage", and_then)
    before = len(read_log(copy.log_file))
    with pytest.raises(KeyboardInterrupt):
        evolve(session_of(copy), "path", 0, session_of(copy).hiring())
    assert [line["event"] for line in read_log(copy.log_file)[before:]] == ["setting", "evolved"]
    assert copy.searched()[-1] == "path"


def test_the_seconds_of_a_sitting_that_was_stopped_are_logged(run, tmp_path, monkeypatch):
    copy = RunFolder.open(shutil.copytree(run.folder, tmp_path / "run"))

    def stopped(*words):
        raise KeyboardInterrupt

    monkeypatch.setattr("evo_c2f.workflows.search.run_stage", stopped)
    before = copy.seconds_of("evolved")
    with pytest.raises(KeyboardInterrupt):
        evolve(session_of(copy), "path", 0, session_of(copy).hiring())
    line = read_log(copy.log_file)[-1]
    assert (line["event"], line["stage"]) == ("interrupted", "path")
    assert copy.seconds_of("evolved") == before + line["seconds"]


def test_a_training_takes_every_thread_however_many_workers_measure_later(run, tmp_path, monkeypatch):
    copy, threads = RunFolder.open(shutil.copytree(run.folder, tmp_path / "run")), list[int]()
    copy.checkpoint("joint").unlink()
    monkeypatch.setattr(Job, "train", lambda *words: threads.append(torch.get_num_threads()))
    before = torch.get_num_threads()
    train(replace(session_of(copy), machine=Machine(threads=before + 1, workers=4)), "joint")
    assert threads == [before + 1] and torch.get_num_threads() == before


def test_a_steady_state_search_says_that_it_has_no_surrogate(run, tmp_path, caplog):
    copy = RunFolder.open(shutil.copytree(run.folder, tmp_path / "run"))
    session = session_of(copy, "search.steady_state=true", "search.screen=4")
    evolve(session, "path", 1, session.hiring())
    assert "search.screen is not used" in caplog.text
