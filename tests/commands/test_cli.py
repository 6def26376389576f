"""The commands as a user runs them: whole small runs, real processes, and every kind of bad input."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from command_line import EVALUATIONS, ROOT, TINY, command, exit_code, settings, start, tiny, wait_for
from PIL import Image

from evo_c2f.runs.run import RunFolder
from evo_c2f.scores import analysis
from evo_c2f.workflows.train import tell_other_survivors
from supernet.models.model import read_model


@pytest.fixture(scope="module")
def run(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole small search, on one thread, with the screen of the recipe: what is promised is promised of that."""
    folder = tmp_path_factory.mktemp("runs") / "quick"
    words = ("search", "--run", folder, "--data", photographs, "--threads", 1, "--json", *EVALUATIONS)
    done = command(*words, *settings(*TINY))
    assert done.returncode == 0, done.stderr
    (folder / "said.txt").write_text(done.stderr)
    (folder / "result.json").write_text(done.stdout)
    return folder


def test_a_search_leaves_three_fronts_with_pictures_a_ledger_and_a_log(run: Path) -> None:
    for stage in ("path", "operator", "channel"):
        assert len(analysis.read_front(run / "fronts" / f"{stage}.csv")) >= 1
        with Image.open(run / "fronts" / f"{stage}.png") as picture:
            assert picture.width > 500
    ledger = json.loads((run / "ledger.json").read_text())
    assert {name: counts["rounds"] for name, counts in ledger.items()} == {"path": 6, "operator": 3, "channel": 3}
    assert all(counts["unfair"] == {} for counts in ledger.values())
    events = [json.loads(line)["event"] for line in (run / "log.jsonl").read_text().splitlines()]
    assert events.count("evolved") == 3 and "trained" in events
    assert not list(run.rglob("*.partial*")) and not list(run.rglob("*.state.safetensors"))


def test_a_search_prints_its_counts_stages_and_gain(run: Path) -> None:
    said = (run / "said.txt").read_text()
    assert re.search(r"space: [\d,]+ subnets, [\d,]+ architectures", said)
    assert len(re.findall(r"hypervolume [\d.]+ -> [\d.]+; .* of it the search's own", said)) == 3
    assert re.search(r"architectures that span .*x in MACs; best psnr_y [\d.]+, bicubic [\d.]+", said)


def test_the_final_front_is_scored_on_whole_images(run: Path) -> None:
    stages = json.loads((run / "result.json").read_text())
    assert [s["stage"] for s in stages] == ["path", "operator", "channel"]
    assert all("psnr_y_full" in row for row in stages[-1]["front"])
    qualities = [row["psnr_y_full"] for row in stages[-1]["front"]]
    assert qualities == sorted(qualities, reverse=True)


def test_the_same_evolve_again_measures_nothing_and_gives_the_same_front(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for stage in ("path", "operator", "channel"):
        before = (copied / "fronts" / f"{stage}.csv").read_text()
        words = ("evolve", "--stage", stage, "--run", copied, "--threads", 1, "--json", *EVALUATIONS)
        assert exit_code(*words) == 0
        assert json.loads(capsys.readouterr().out)[0]["measured"] == 0
        assert (copied / "fronts" / f"{stage}.csv").read_text() == before


def test_a_run_goes_on_by_its_folder_alone(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("train-supernet", "--run", copied, "--threads", 1) == 0
    assert "path.safetensors is there already; nothing to train" in capsys.readouterr().err
    for stage in ("path", "operator"):
        assert exit_code("evolve", "--stage", stage, "--run", copied, "--threads", 1, *EVALUATIONS) == 0


def test_a_supernet_of_other_survivors_than_the_front_before_has_now_is_told(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = ("train-supernet", "--stage", "operator", "--run", copied, "--threads", 1)
    search = ("evolve", "--stage", "operator", "--run", copied, "--threads", 1, *EVALUATIONS)
    told = "operator.safetensors was trained on other survivors than the front of stage path has now; remove it"
    assert not tell_other_survivors(RunFolder.open(copied), "operator")
    front = copied / "fronts" / "path.csv"
    front.write_text(front.read_text().replace("True", "False", 1))
    for words in (train, search):
        assert exit_code(*words) == 0
        said = capsys.readouterr().err
        assert told in said and "nothing to train" not in said
    front.unlink()
    assert not tell_other_survivors(RunFolder.open(copied), "operator")


def test_a_run_whose_recipe_is_damaged_is_named(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copied / "recipe.yaml").write_text("name: [")
    codes = {exit_code(*words, "--run", copied) for words in (["train-supernet"], ["evolve", "--stage", "path"])}
    assert codes == {1} and capsys.readouterr().err.count("recipe.yaml is damaged") == 2


def test_one_seed_gives_one_front_and_another_seed_another(run: Path, photographs: Path, tmp_path: Path) -> None:
    words = ("search", "--data", photographs, "--threads", 1, *EVALUATIONS, *settings(*TINY))
    for name, seed in (("same", 0), ("other", 1)):
        assert exit_code(*words, "--run", tmp_path / name, "--seed", seed) == 0
    front = (run / "fronts" / "channel.csv").read_text()
    assert (tmp_path / "same" / "fronts" / "channel.csv").read_text() == front
    assert (tmp_path / "other" / "fronts" / "channel.csv").read_text() != front


def test_supernets_are_trained_stage_by_stage_where_the_recipe_says_so(photographs: Path, tmp_path: Path) -> None:
    stages = tiny("training.stages=[path, operator, channel]", "training.sampler=fair")
    words = ("search", "--run", tmp_path / "r", "--data", photographs, "--threads", 1, *EVALUATIONS)
    assert exit_code(*words, *stages) == 0
    assert {p.stem for p in (tmp_path / "r" / "supernet").iterdir()} == {"path", "operator", "channel"}
    assert len(analysis.load_scores(tmp_path / "r")["context"].unique()) == 3
    ledger = json.loads((tmp_path / "r" / "ledger.json").read_text())
    assert {name: counts["rounds"] for name, counts in ledger.items()} == {"path": 6, "operator": 3, "channel": 3}
    assert all(counts["unfair"] == {} for counts in ledger.values())


def test_each_stage_keeps_as_many_survivors_as_the_recipe_says(photographs: Path, tmp_path: Path) -> None:
    few = tiny("search.survivors={path: 2, operator: 3}")
    words = ("search", "--run", tmp_path / "r", "--data", photographs, "--threads", 1, *EVALUATIONS, *few)
    assert exit_code(*words) == 0
    fronts = {stage: analysis.read_front(tmp_path / "r" / "fronts" / f"{stage}.csv") for stage in ("path", "operator")}
    assert {stage: int(front["survivor"].sum()) for stage, front in fronts.items()} == {
        stage: min(n, len(fronts[stage])) for stage, n in (("path", 2), ("operator", 3))
    }
    assert len(fronts["path"]) > 2


def test_all_runs_the_stages_in_order_by_any_number_of_workers(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "r")
    shutil.rmtree(tmp_path / "r" / "fronts")
    (tmp_path / "r" / "scores.h5").unlink()
    words = ("--run", tmp_path / "r", "--threads", 1, "--workers", 2, *EVALUATIONS)
    assert exit_code("evolve", "--stage", "all", *words) == 0
    assert (tmp_path / "r" / "fronts" / "channel.csv").read_text() == (run / "fronts" / "channel.csv").read_text()


def test_the_joint_search_frees_all_genes_of_a_supernet_that_is_trained_jointly(
    photographs: Path, tmp_path: Path
) -> None:
    words = ("--run", tmp_path / "r", "--threads", 1)
    jointly = tiny("training.stages=[joint, operator, channel]", "training.sampler=widest_first")
    assert exit_code("train-supernet", *words, "--data", photographs, *jointly) == 0
    assert exit_code("evolve", "--stage", "joint", *words, *EVALUATIONS) == 0
    operators = analysis.load_scores(tmp_path / "r").query("stage == 'joint'")["operator_0"].unique()
    assert len(operators) > 1
    # Its front goes on to a model, with the weights that scored it.
    short = ("--set", "finetune.rounds=2", "--candidates", 1)
    assert exit_code("finetune", *words, *short, "--pick", "knee") == 0
    assert exit_code("finetune", *words, *short, "--pick", "best", "--name", "best") == 0
    best = [read_model(tmp_path / "r" / name).metadata["about"] for name in ("model", "best")]
    assert [about["start"] for about in best] == ["inherited"] * 2
    # And its subnets tell how much of the quality paths, operators and widths explain.
    assert exit_code("study", "stages", *words) == 0
    (row,) = json.loads((tmp_path / "r" / "stages.json").read_text())["rows"]
    assert row["subnets"] > 50 and row["path"] + row["operator"] + row["channel"] == pytest.approx(1)


def test_a_study_of_stages_without_joint_weights_is_refused_before_anything_is_written(run: Path, capsys) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    assert exit_code("study", "stages", "--run", run, "--set", "search.timeout=9", "--threads", 1) == 2
    assert "stage joint needs a supernet that is trained jointly" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_a_training_that_the_recipe_does_not_have_is_refused(photographs: Path, tmp_path: Path, capsys) -> None:
    words = ("train-supernet", "--run", tmp_path / "r", "--data", photographs, "--threads", 1)
    assert exit_code(*words, "--stage", "joint", *tiny()) == 2
    assert "no training joint; its training.stages are path, operator, channel" in capsys.readouterr().err


def test_limits_and_other_objectives_shape_the_front(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "r")
    limit = analysis.load_scores(run)["size_mb"].median()
    words = ("evolve", "--stage", "all", "--run", tmp_path / "r", "--threads", 1, "--max", f"size_mb={limit}")
    changes = ("--objective", "ssim_y", "--objective", "latency_torch_ms")
    assert exit_code(*words, *changes, *EVALUATIONS) == 0
    front = analysis.read_front(tmp_path / "r" / "fronts" / "channel.csv")
    assert (
        (front["size_mb"] <= limit).all()
        and (front["latency_torch_ms"] > 0).all()
        and front["ssim_y"].between(0, 1).all()
    )


def test_only_one_worker_measures_torchs_latency(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("evolve", "--stage", "path", "--run", run, "--workers", 2, "--objective", "psnr_y")
    assert exit_code(*words, "--objective", "latency_torch_ms") == 2
    assert "latency_torch_ms is measured on a quiet machine alone" in capsys.readouterr().err


def test_front_writes_tables_for_people_and_programs(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("front", "--run", run, "--csv", tmp_path / "f.csv") == 0
    assert exit_code("front", "--run", run, "--stage", "path", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["operator_0"] for row in rows} <= {"residual", ""}
    assert exit_code("front", "--run", run) == 0
    assert rows[0]["id"] not in (tmp_path / "f.csv").read_text() or rows[0]["id"] in capsys.readouterr().out


def test_the_worked_example_of_the_results_page_runs(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "quick").symlink_to(run)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "results" / "README.md").read_text(), re.S)
    for block in blocks:
        exec(block, names)
    curve = names["curve"]
    assert len(blocks) == 3 and curve.is_monotonic_increasing and curve.iloc[-1] >= 0  # type: ignore[attr-defined]


# -- interruption -------------------------------------------------------------------------------


def test_ctrl_c_in_training_keeps_the_state_and_the_same_command_ends_as_if_never_stopped(
    photographs: Path, tmp_path: Path
) -> None:
    changes = tiny("training.rounds=150", "space.n_cells=2", "space.reference_path=[2, 2]")
    words = ["train-supernet", "--data", photographs, "--threads", 1, *changes]
    process = start(*words, "--run", tmp_path / "stopped")
    log = tmp_path / "stopped" / "log.jsonl"
    wait_for(lambda: log.exists() and "round" in log.read_text(), process)  # logged every 100 rounds
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and "the same command goes on" in said and "Traceback" not in said
    assert (tmp_path / "stopped" / "supernet" / "path.state.safetensors").exists()
    for name in ("stopped", "never"):
        assert exit_code(*words, "--run", tmp_path / name) == 0
    weights = [(tmp_path / name / "supernet" / "path.safetensors").read_bytes() for name in ("stopped", "never")]
    assert weights[0] == weights[1]
    ledgers = [(tmp_path / name / "ledger.json").read_text() for name in ("stopped", "never")]
    assert ledgers[0] == ledgers[1]


SIXTY = ("evolve", "--stage", "path", "--threads", 1, "--evaluations", 60, "--set", "search.population=10")


@pytest.fixture(scope="module")
def trained(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run before its search."""
    folder = shutil.copytree(run, tmp_path_factory.mktemp("runs") / "trained")
    (folder / "scores.h5").unlink()
    shutil.rmtree(folder / "fronts")
    return folder


@pytest.fixture(scope="module")
def never_stopped(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The front of such a search."""
    folder = shutil.copytree(trained, tmp_path_factory.mktemp("runs") / "never")
    assert exit_code(*SIXTY, "--run", folder) == 0
    return (folder / "fronts" / "path.csv").read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_search_that_was_stopped_ends_with_the_same_front(
    trained: Path, never_stopped: str, tmp_path: Path, number: signal.Signals
) -> None:
    stopped = shutil.copytree(trained, tmp_path / "stopped")
    process, store = start(*SIXTY, "--run", stopped), stopped / "scores.h5"
    wait_for(lambda: store.exists() and store.stat().st_size > 10_000, process)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode in ((130, 0) if number == signal.SIGINT else (-9, 0))
    assert exit_code(*SIXTY, "--run", stopped) == 0
    assert (stopped / "fronts" / "path.csv").read_text() == never_stopped


@pytest.mark.parametrize("words", [("train-supernet",), ("evolve", "--stage", "path", "--evaluations", 400)])
def test_a_second_ctrl_c_stops_at_once_and_loses_nothing(
    run: Path, photographs: Path, tmp_path: Path, words: tuple[str | int, ...]
) -> None:
    stopped, known = shutil.copytree(run, tmp_path / "run"), len(analysis.load_scores(run / "scores.h5"))
    if words[0] == "train-supernet":
        stopped = tmp_path / "new"
        words = (*words, "--data", photographs, *tiny("training.rounds=90000"))
    process = start(*words, "--threads", 1, "--run", stopped)
    assert process.stderr is not None
    if words[0] == "evolve":
        wait_for(lambda: len(analysis.load_scores(stopped / "scores.h5")) > known, process)
        known = len(analysis.load_scores(stopped / "scores.h5"))
    else:
        log = stopped / "log.jsonl"
        wait_for(lambda: log.exists() and "round" in log.read_text(), process)
    process.send_signal(signal.SIGINT)
    said = ""
    while "stopping after this step" not in said:
        said += process.stderr.readline()
    for _ in range(3):  # the third may come while the process ends
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
    said += process.stderr.read()  # `communicate` would lose what readline has read ahead
    assert process.wait(timeout=60) == 130 and "the same command goes on" in said and "Traceback" not in said, said
    assert exit_code("verify", stopped) == 0
    if words[0] == "evolve":
        assert len(analysis.load_scores(stopped / "scores.h5")) >= known


# -- bad input ----------------------------------------------------------------------------------


@pytest.fixture
def copied(run: Path, tmp_path: Path) -> Path:
    shutil.copytree(run, tmp_path / "run")
    return tmp_path / "run"


BAD = [
    (["train-supernet", "--data", "{tmp}/none"], 2, "none is no folder"),
    (["train-supernet", "--data", "{empty}"], 2, "holds no image"),
    (["train-supernet", "--data", "{photographs}", "--set", "data.patch=64"], 2, "less than the 256"),
    (["train-supernet", "--recipe", "sr-x4"], 2, "--data DIR"),
    (["train-supernet", "--recipe", "nope"], 2, "there are edges2shoes, edges2shoes-64, evidence"),
    (["train-supernet", "--set", "training.rouns=3"], 2, "did you mean 'rounds'"),
    (["train-supernet", "--set", "search.objectives=[psnr_y, speed]"], 2, "'speed' is unknown"),
    (["train-supernet", "--set", "space.operators=[a]", "--set", "space.reference_operator=a"], 2, "'a' is unknown"),
    (["train-supernet", "--device", "cuda:99"], 2, "use --device cpu"),
    (["search", "--max", "size_mb=0.0001"], 2, "the smallest has size_mb"),
    (["evolve", "--stage", "path"], 2, "train-supernet --run"),
    (["front"], 2, "train-supernet --run"),
    (
        ["train-supernet", "--set", "training.sampler=uniform", "--set", "training.stages=[joint, channel]"],
        2,
        "set training.stages=[joint]",
    ),
    (["study", "ranking"], 2, "--data DIR"),
]


@pytest.mark.parametrize(("words", "code", "sentence"), BAD)
def test_bad_input_is_refused_in_one_sentence_before_anything_is_written(
    words: list[str], code: int, sentence: str, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    places = {"tmp": tmp_path, "empty": tmp_path / "empty", "photographs": photographs}
    assert exit_code(*(word.format(**places) for word in words), "--run", tmp_path / "new") == code
    said = capsys.readouterr().err
    assert sentence in said and len(said.strip().splitlines()) == 1
    assert not (tmp_path / "new").exists()


def test_bench_is_told_that_a_run_does_not_exist(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("bench", "--simulate", tmp_path / "none") == 2
    assert "none does not exist; name the folder of a run" in capsys.readouterr().err


BAD_ON_A_RUN = [
    (["evolve", "--stage", "path", "--objective", "psnr_y", "--objective", "speed"], 2, "'speed' is unknown"),
    (["evolve", "--stage", "path", "--objective", "psnr_y"], 2, "name at least two"),
    (["evolve", "--stage", "path", "--max", "macs=2", "--min", "macs=3"], 2, "can't be at least 3"),
    (["evolve", "--stage", "path", "--max", "macs=10"], 2, "the smallest has macs"),
    (["evolve", "--stage", "path", "--max", "macs"], 2, "write --max METRIC=VALUE"),
    (["study", "operators", "--seed", "1"], 2, "study operators draws by the seed of its run; leave --seed out"),
    (["evolve", "--stage", "channel", "--max", "psnr_y=1", *EVALUATIONS], 2, "loosen one"),
    (["evolve", "--stage", "path", "--set", "training.rounds=3"], 2, "only search.* and finetune.* can change"),
    (["train-supernet", "--set", "data.batch=3"], 2, "holds another run"),
]


@pytest.mark.parametrize(("words", "code", "sentence"), BAD_ON_A_RUN)
def test_bad_input_on_a_run_loses_nothing(
    words: list[str], code: int, sentence: str, copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fronts = {p: p.read_bytes() for p in (copied / "fronts").iterdir()}
    n_scores = len(analysis.load_scores(copied))
    assert exit_code(*words, "--run", copied, "--threads", 1) == code
    assert sentence in capsys.readouterr().err
    assert {p: p.read_bytes() for p in (copied / "fronts").iterdir()} == fronts
    assert len(analysis.load_scores(copied)) >= n_scores


@pytest.mark.parametrize(
    ("words", "lost", "said"),
    [
        (("evolve", "--stage", "operator"), "fronts/path.csv", "evolve --stage path"),
        (("evolve", "--stage", "all"), "supernet/operator.safetensors", "train-supernet"),
        (("study", "operators"), "supernet/operator.safetensors", "train-supernet"),
    ],
)
def test_a_command_that_lacks_what_came_before_names_its_command_and_writes_nothing(words, lost, said, copied, capsys):
    (copied / lost).unlink()
    recipe = copied / "recipe.yaml"
    recipe.write_text(recipe.read_text() + "# as an older version wrote it\n")
    before = recipe.read_bytes()
    assert exit_code(*words, "--run", copied, "--threads", 1) == 2
    assert said in capsys.readouterr().err and recipe.read_bytes() == before


@pytest.mark.parametrize("name", ["supernet/operator.safetensors", "scores.h5", "fronts/path.csv", "recipe.yaml"])
def test_a_truncated_file_is_named_and_left_as_it_is(
    name: str, copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copied / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    before = path.read_bytes()
    assert exit_code("evolve", "--stage", "operator", "--run", copied, "--threads", 1, *EVALUATIONS) == 1
    assert path.name in capsys.readouterr().err
    assert path.read_bytes() == before


def test_images_of_every_mode_train_and_a_broken_one_is_named_and_skipped(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "modes"
    folder.mkdir()
    with Image.open(photographs / "0.png") as image:
        image.convert("L").save(folder / "grey.png")
        image.convert("CMYK").save(folder / "cmyk.jpg")
        image.convert("P").save(folder / "palette.png")
        image.convert("RGBA").save(folder / "alpha.png")
        Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257).save(folder / "deep.png")
    (folder / "broken.png").write_bytes((photographs / "1.png").read_bytes()[:500])
    assert exit_code("train-supernet", "--data", folder, "--run", tmp_path / "r", "--threads", 1, *tiny()) == 0
    assert "broken.png is left out" in capsys.readouterr().err
    for path in folder.iterdir():
        path.write_bytes(b"no image")
    assert exit_code("train-supernet", "--data", folder, "--run", tmp_path / "r2", "--threads", 1, *tiny()) == 2
    assert "none of the 6 images" in capsys.readouterr().err


def test_a_second_writer_is_refused_and_readers_are_not(copied: Path) -> None:
    import h5py

    with h5py.File(copied / "scores.h5", "a"):
        done = command("evolve", "--stage", "path", "--run", copied, "--threads", 1)
        assert done.returncode == 2 and "being written by another process" in done.stderr
        reader = f"import evo_c2f; assert len(evo_c2f.load_scores({str(copied)!r}))"
        assert subprocess.run([sys.executable, "-c", reader], cwd=ROOT, check=False).returncode == 0


def test_help_is_quick_to_load() -> None:
    code = "import sys, cli; assert 'torch' not in sys.modules and 'pandas' not in sys.modules"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
