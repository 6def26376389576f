"""From a front to a model that is used, as a user does it: finetune, evaluate, export, apply."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from command_line import EVALUATIONS, ROOT, command, exit_code, start, tiny, wait_for
from PIL import Image

import evo_c2f
from evo_c2f.commands.options import search_changes
from evo_c2f.errors import InputError
from evo_c2f.runs.run import RunFolder
from evo_c2f.workflows.progress import silent
from evo_c2f.workflows.search import instruments
from evo_c2f.workflows.session import open_session
from supernet.data.images import read_rgb, resize_bicubic, to_pixels, to_tensor
from supernet.models.model import read_model

BATCH = 2  # TINY's
SHORT = ("--set", "finetune.rounds=4", "--threads", 1)
COSTS_FIRST = ("--set", "search.objectives=[macs, psnr_y]")  # the order of objectives means nothing
FEW = ("--candidates", 3, "--trial-images", 4)  # what is tried before a choice
PHASES = "finetune.phases=[{until: 0.5, side: 8}, {until: 1, side: 12, losses: {l1: 0, l2: 1, spectrum: 0.05}}]"


@pytest.fixture(scope="module")
def searched(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small search, and a model fine-tuned from it in two phases."""
    folder = tmp_path_factory.mktemp("runs") / "quick"
    assert exit_code("search", "--run", folder, "--data", photographs, "--threads", 1, *EVALUATIONS, *tiny()) == 0
    done = command("finetune", "--run", folder, *SHORT, "--set", PHASES, "--json")
    assert done.returncode == 0, done.stderr
    (folder / "finetuned.json").write_text(done.stdout)
    return folder


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two images in the customary layout."""
    from skimage import data

    folder = tmp_path_factory.mktemp("benchmark")
    (folder / "HR").mkdir()
    (folder / "LR_bicubic" / "X4").mkdir(parents=True)
    for i in range(2):
        high = data.astronaut()[100 * i : 100 * i + 96, 100:260]
        low = to_pixels(resize_bicubic(to_tensor(high)[None], 1 / 4)[0])
        Image.fromarray(high).save(folder / "HR" / f"{i}.png")
        Image.fromarray(low).save(folder / "LR_bicubic" / "X4" / f"{i}x4.png")
    return folder


def test_a_fine_tuned_model_says_what_it_is_and_what_it_gives(searched: Path) -> None:
    said = json.loads((searched / "finetuned.json").read_text())
    metadata = read_model(searched / "model").metadata
    assert metadata["about"]["subnet"] == said["subnet"] and metadata["about"]["start"] == "inherited"
    assert {"psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb", "lpips"} == metadata["metrics"].keys()
    assert metadata["seconds"] > 0 and said["params"] > 0
    assert sorted(p.name for p in (searched / "model").iterdir()) == ["finetune.json", "model.md", "model.safetensors"]


def test_the_same_fine_tuning_again_trains_nothing_and_another_is_refused(
    searched: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = searched / "model" / "model.safetensors"
    before = file.stat().st_mtime_ns
    assert exit_code("finetune", "--run", searched, *SHORT, "--set", PHASES) == 0
    assert file.stat().st_mtime_ns == before
    capsys.readouterr()
    assert exit_code("finetune", "--run", searched, *SHORT, "--set", PHASES, "--from-scratch") == 2
    assert "start is inherited there, scratch here" in capsys.readouterr().err
    assert exit_code("finetune", "--run", searched, *SHORT, "--from-scratch", "--name", "scratch") == 0
    assert read_model(searched / "scratch").metadata["about"]["start"] == "scratch"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--pick", "zz"), "begins with 'zz'"),
        (("--max", "size_mb=0.000001"), "size_mb"),
        (("--set", "finetune.phases=[{until: 0.5}]"), "the last at 1"),
        (("--set", "finetune.phases=[{until: 1, side: 40}]"), "side 40 don't fit images of side 32"),
        (("--set", "training.rounds=9"), "only search.* and finetune.* can change"),
        (("--name", "/tmp/elsewhere"), "no folder within the run"),
        (("--name", "../elsewhere"), "no folder within the run"),
        (("--name", "."), "no folder within the run"),
    ],
)
def test_what_can_not_be_picked_or_trained_is_refused(
    searched: Path, words: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("finetune", "--run", searched, *SHORT, "--name", "refused", *words) == 2
    assert sentence in capsys.readouterr().err
    assert not (searched / "refused").exists()


def test_a_model_that_does_not_tell_of_a_later_setting_is_not_refused_for_it(searched: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(searched, run)
    begun = run / "model" / "finetune.json"
    begun.write_text(json.dumps({k: v for k, v in json.loads(begun.read_text()).items() if k != "data"}))
    assert exit_code("finetune", "--run", run, *SHORT, "--set", PHASES) == 0


def test_an_interrupted_fine_tuning_goes_on_to_the_same_model(searched: Path) -> None:
    words = ("finetune", "--run", searched, "--set", "finetune.rounds=150", "--threads", 1)
    process = start(*words, "--name", "stopped")
    state = searched / "stopped" / "finetune.json"
    wait_for(lambda: state.exists() and '"stage": "stopped' in (searched / "log.jsonl").read_text(), process)
    process.send_signal(2)
    assert process.wait(120) == 130
    assert not (searched / "stopped" / "model.safetensors").exists()
    assert exit_code(*words, "--name", "stopped") == 0
    assert exit_code(*words, "--name", "whole") == 0
    found = [read_model(searched / name) for name in ("stopped", "whole")]
    assert found[0].metadata["metrics"] == found[1].metadata["metrics"]


def test_upscalers_of_several_sizes_stand_beside_a_plain_network(
    searched: Path, benchmark: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(searched, tmp_path / "run")
    sizes = ("--size", "0.1", "--size", "2")
    plains = ("--plain", "usual", "--plain", "alike")
    words = ("benchmark", "--run", tmp_path / "run", *SHORT, *sizes, *FEW, *plains, benchmark, "--json")
    assert exit_code(*words) == 0
    table = json.loads(capsys.readouterr().out)
    rows = {row["model"]: row for row in table["rows"]}
    images = 4 * BATCH
    contestants = [f"{size}MB-{start}-{images}" for size in ("0.1", "2") for start in ("scratch", "inherited")]
    assert list(rows) == sorted([f"plain-{images}", f"plain-alike-{images}", *contestants])
    assert rows[f"plain-{images}"]["size_mb"] == pytest.approx(1.501824)
    assert rows[f"0.1MB-scratch-{images}"]["size_mb"] <= 0.1
    for row in rows.values():
        assert {f"{benchmark.name} psnr_y", f"{benchmark.name} lpips", "losses", "start", "seconds"} <= row.keys()
        assert row["images"] == images
    apart = [rows[f"2MB-{start}-{images}"][f"{benchmark.name} psnr_y"] for start in ("scratch", "inherited")]
    assert apart[0] != apart[1]
    inherited = {name for name, row in rows.items() if row.get("supernet_seconds", 0) > 0}
    assert inherited == {name for name in contestants if "inherited" in name}

    plain = tmp_path / "run" / "models" / f"plain-{images}" / "model.safetensors"
    kept = plain.stat().st_mtime_ns
    assert exit_code(*words) == 0
    assert json.loads(capsys.readouterr().out) == table
    assert plain.stat().st_mtime_ns == kept
    assert f"plain-{images}" in (tmp_path / "run" / "benchmark.md").read_text()


def test_the_best_of_the_candidates_when_trained_alone_is_picked_and_what_that_took_is_told(
    searched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(searched, run)
    words = ("finetune", "--run", run, *SHORT, "--pick", "best", "--candidates", 4, "--trial-images", 2 * BATCH)
    words += COSTS_FIRST
    assert exit_code(*words, "--name", "best") == 0
    tried = {path.parent: read_model(path).metadata for path in (run / "trials").glob("*/model.safetensors")}
    last = [metadata for metadata in tried.values() if metadata["about"]["images"] == 2 * BATCH]
    assert len(tried) == 4 + 2 and len(last) == 2
    best = max(last, key=lambda metadata: metadata["metrics"]["psnr_y"])
    assert read_model(run / "best").metadata["about"]["subnet"] == best["about"]["subnet"]
    said = capsys.readouterr().err
    assert f"trials: 4 subnets on {4 * BATCH + 2 * 2 * BATCH} images in" in said
    assert f"{best['about']['subnet']} goes on" in said
    before = {path: path.stat().st_mtime_ns for path in (run / "trials").rglob("*.safetensors")}
    assert exit_code(*words, "--name", "again") == 0
    assert {path: path.stat().st_mtime_ns for path in (run / "trials").rglob("*.safetensors")} == before
    assert exit_code(*words, "--max", "size_mb=0.000001", "--name", "none") == 2


def test_the_finalist_that_is_best_when_trained_alone_is_the_one_that_goes_on(
    searched: Path, benchmark: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(searched, tmp_path / "run")
    trials = ("--candidates", 4, "--trial-images", 2 * BATCH)
    assert exit_code("benchmark", "--run", tmp_path / "run", *SHORT, "--size", 2, *trials, *COSTS_FIRST, benchmark) == 0
    every = [read_model(path).metadata for path in (tmp_path / "run" / "trials").iterdir()]
    tried = [metadata for metadata in every if metadata["about"]["images"] == 2 * BATCH]
    assert len(every) == 6 and len(tried) == 2
    best = max(tried, key=lambda metadata: metadata["metrics"]["psnr_y"])
    gone_on = read_model(tmp_path / "run" / "models" / f"2MB-scratch-{4 * BATCH}").metadata
    assert gone_on["about"]["subnet"] == best["about"]["subnet"]


def test_what_the_end_needs_is_there_at_the_beginning(
    searched: Path, benchmark: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, small = tmp_path / "run", tmp_path / "small"
    shutil.copytree(searched, run)
    shutil.copytree(benchmark, small)
    for folder, side in ((small / "HR", 24), (small / "LR_bicubic" / "X4", 6)):
        for path in folder.iterdir():
            with Image.open(path) as image:
                image.crop((0, 0, side, side)).save(path)
    assert exit_code("benchmark", "--run", run, *SHORT, "--size", 2, *FEW, small) == 2
    assert "lpips needs images of at least 32 pixels a side, these have 24" in capsys.readouterr().err
    (run / "supernet" / "operator.safetensors").unlink()
    for words in (("benchmark", "--size", 2, benchmark), ("finetune", "--pick", "best")):
        assert exit_code(*words, "--run", run, *SHORT, *FEW) == 2
        assert "operator.safetensors is missing; run 'python cli.py train-supernet" in capsys.readouterr().err
    assert not (run / "trials").exists() and not (run / "models").exists()


def test_a_model_is_judged_image_by_image(searched: Path, benchmark: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("evaluate", "--model", searched / "model", "--data", benchmark, "--threads", 1)
    assert exit_code(*words, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert list(result["images"]) == ["0", "1"]
    for name in ("psnr_y", "ssim_rgb", "lpips"):
        assert result["mean"][name] == pytest.approx(np.mean([row[name] for row in result["images"].values()]))
    assert result["costs"]["size_mb"] == pytest.approx(result["costs"]["params"] * 4e-6)
    assert result["costs"]["latency_torch_ms"] > 0 and result["costs"]["threads"] == 1
    assert exit_code(*words, "--metric", "psnr_y") == 0
    assert "mean" in capsys.readouterr().out


def run_as_the_card_says(card: Path, picture: Path) -> tuple[int, int]:
    """The size of what comes out of the code in a model's card."""
    (code,) = re.findall(r"```python\n(.*?)```", card.read_text(), re.S)
    shutil.copy(picture, card.with_name("in.png"))
    subprocess.run([sys.executable, "-c", code], cwd=card.parent, check=True)
    size: tuple[int, int] = Image.open(card.with_name("out.png")).size
    return size


def test_an_exported_model_is_judged_the_same(
    searched: Path, benchmark: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime")
    shutil.copytree(searched / "model", searched / "exported")
    sample = benchmark / "LR_bicubic" / "X4" / "0x4.png"
    assert exit_code("export", "--model", searched / "exported", "--sample", sample) == 0
    file = searched / "exported" / "model.onnx"
    assert file.is_file() and "MB on disk" in capsys.readouterr().err
    assert run_as_the_card_says(file.with_suffix(".md"), sample) == Image.open(benchmark / "HR" / "0.png").size
    means = []
    for model in (searched / "exported", file):
        words = ("evaluate", "--model", model, "--data", benchmark, "--threads", 1, "--metric", "psnr_y", "--json")
        assert exit_code(*words) == 0
        means.append(json.loads(capsys.readouterr().out))
    assert means[0]["mean"]["psnr_y"] == pytest.approx(means[1]["mean"]["psnr_y"], abs=0.01)
    assert means[0]["costs"]["macs"] == means[1]["costs"]["macs"]


def test_a_model_in_8_bits_tells_what_it_loses_and_lies_beside_the_other(
    searched: Path, benchmark: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime")
    shutil.copytree(searched, tmp_path / "run")
    model = tmp_path / "run" / "model"
    card = (model / "model.md").read_text()
    assert exit_code("export", "--model", model, "--int8", "--threads", 1) == 0
    (lost,) = re.findall(r"\| lost in the 8 bits .* \| (.*) \|", (model / "model.int8.md").read_text())
    assert (model / "model.md").read_text() == card
    said = capsys.readouterr().err
    assert re.search(
        r"model\.int8\.onnx: [\d.]+ MB on disk .* dB of psnr_y lost on the held-out images; .* ms instead", said
    )
    assert f"; {lost} lost on" in said
    means = []
    for file in (model, model / "model.int8.onnx"):
        assert exit_code("evaluate", "--model", file, "--data", benchmark, "--metric", "psnr_y", "--json") == 0
        means.append(json.loads(capsys.readouterr().out)["mean"]["psnr_y"])
    assert means[0] != means[1] == pytest.approx(means[0], abs=0.5)
    for words in (("--int8", "--half"), ("--run", tmp_path / "run")):
        assert exit_code("export", "--model", model, *words) == 2
    (tmp_path / "alone").mkdir()
    shutil.copy(model / "model.safetensors", tmp_path / "alone")
    assert exit_code("export", "--model", tmp_path / "alone", "--int8") == 2
    assert "lies in no run" in capsys.readouterr().err


def test_a_final_front_is_measured_as_files_in_8_bits(searched: Path) -> None:
    pytest.importorskip("onnxruntime")
    wanted = search_changes({"int8": True}, ())
    session = open_session(RunFolder.open(searched), evo_c2f.Machine("cpu", threads=1), silent, wanted)
    assert instruments(session, "operator").int8 is None  # the last stage's front alone is
    tools, front = instruments(session, "channel"), evo_c2f.load_run(searched).front("channel")
    assert tools.int8 and tools.int8_names == ("psnr_y_int8_full", "size_mb_int8")
    largest = front.loc[front["size_mb"].idxmax()]  # a file of a few kilobytes is not smaller in 8 bits
    network = session.job.space.decode(np.frombuffer(bytes.fromhex(largest["genome"]), dtype=np.uint8))
    ((whole,), (quantised,)) = tools.full([network]), tools.int8([network])
    lost = whole["psnr_y_full"] - quantised["psnr_y_int8_full"]
    assert quantised.keys() == set(tools.int8_names) and 0 < abs(lost) < 0.5
    assert 0.25 < quantised["size_mb_int8"] / largest["size_mb"] < 0.5


@pytest.fixture(scope="module")
def hub(searched: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for a model hub, of the model."""
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("hub") / "mine"
    assert exit_code("export", "--model", searched / "model", "--to", folder, "--threads", 1) == 0
    return folder


def test_a_hubs_folder_shows_held_out_pictures_and_the_figures_of_the_file(searched: Path, hub: Path) -> None:
    samples = ["samples/1-output.png", "samples/1.png", "samples/2-output.png", "samples/2.png"]  # TINY holds out two
    files = sorted(path.relative_to(hub).as_posix() for path in hub.rglob("*") if path.is_file())
    assert files == ["README.md", "model.onnx", "model.safetensors", "run.py", *samples]
    before, header, card = (hub / "README.md").read_text().split("---\n", 2)
    assert before == "" and all(name in card for name in files[1:])
    (result,) = yaml.safe_load(header)["model-index"][0]["results"]
    figures = {each["name"]: each["value"] for each in result["metrics"]}
    assert figures == read_model(searched / "model").metadata["metrics"]


def test_the_script_of_few_lines_runs_without_torch_and_this_project(hub: Path, tmp_path: Path) -> None:
    assert len((hub / "run.py").read_text().splitlines()) <= 16
    absent = "for name in ('torch', 'evo_c2f', 'supernet'): sys.modules[name] = None\n"
    code = f"import runpy, sys\n{absent}runpy.run_path({str(hub / 'run.py')!r})"
    words = (sys.executable, "-c", code, hub / "samples/1.png", tmp_path / "out.png")
    subprocess.run(words, cwd=tmp_path, check=True)
    found, shown, small = (
        read_rgb(path).astype(int)
        for path in (tmp_path / "out.png", hub / "samples/1-output.png", hub / "samples/1.png")
    )
    assert found.shape == (4 * small.shape[0], 4 * small.shape[1], 3) and np.abs(found - shown).max() <= 1


def test_a_hubs_snapshot_is_a_model_again(searched: Path, hub: Path, tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "models--me--mine/blobs", tmp_path / "models--me--mine/snapshots/0a1b"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    shutil.copy(hub / "model.safetensors", blobs / "a-hash")  # to which huggingface_hub links, in its cache
    (snapshot / "model.safetensors").symlink_to("../../blobs/a-hash")
    model, image = evo_c2f.load_model(snapshot), torch.rand(1, 3, 12, 9)
    assert torch.equal(model.network(image), evo_c2f.Model(searched / "model").network(image))
    assert model.about == read_model(searched / "model").metadata
    with pytest.raises(InputError, match=r"model\.safetensors is absent"):
        evo_c2f.load_model(blobs)


def test_a_hubs_folder_is_refused_where_something_is_or_no_pictures_are(
    searched: Path, hub: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export = ("export", "--model", searched / "model", "--to", hub)
    for words, sentence in (((), "README.md is there already"), (("--int8",), "--to goes with --sample")):
        assert exit_code(*export, *words) == 2
        assert sentence in capsys.readouterr().err
    assert exit_code("export", "--model", hub, "--to", tmp_path / "other") == 2
    assert "lies in no run, whose pictures this needs; name the run with --run" in capsys.readouterr().err


def test_an_export_takes_the_place_of_nothing_else(
    searched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ("export", "--model", searched / "model")
    weights = (searched / "model" / "model.safetensors").read_bytes()
    taken = tmp_path / "mine.onnx"
    taken.write_text("mine")
    for out, sentence in (
        (searched / "model" / "model.safetensors", "end it in .onnx"),
        (tmp_path, "end it in .onnx"),
        (taken, "mine.onnx is there already; name another file, or say --overwrite"),
    ):
        assert exit_code(*model, out) == 2
        assert sentence in capsys.readouterr().err
    assert taken.read_text() == "mine" and (searched / "model" / "model.safetensors").read_bytes() == weights
    assert exit_code(*model, taken, "--overwrite") == 0 and taken.stat().st_size > 1000
    assert exit_code("apply", "--model", searched / "recipe.yaml", tmp_path, tmp_path / "out") == 2
    assert "recipe.yaml is no model" in capsys.readouterr().err


def test_a_benchmark_is_refused_before_anything_is_trained(
    searched: Path, benchmark: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    twin = tmp_path / benchmark.name
    shutil.copytree(benchmark, twin)
    before = sorted(searched.rglob("*"))
    for words, sentence in (
        ((benchmark, tmp_path / "none"), "none is no folder; name a benchmark"),
        ((benchmark, twin), f"two benchmarks are called {benchmark.name}"),
        ((benchmark, "--size", 2, "--size", 0.000001), "size_mb"),
    ):
        assert exit_code("benchmark", "--run", searched, *SHORT, *words) == 2
        assert sentence in capsys.readouterr().err
    assert sorted(searched.rglob("*")) == before


def test_a_name_with_brackets_is_a_name(searched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "z[" / "red]é[" / "fin]"
    run.parent.mkdir(parents=True)
    shutil.copytree(searched, run)
    assert exit_code("report", "--run", run) == 0
    assert f"{run / 'report.html'}: the run as a page" in capsys.readouterr().err


def test_pictures_go_through_a_model_with_their_names(
    searched: Path, benchmark: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lows = benchmark / "LR_bicubic" / "X4"
    words = ("apply", "--model", searched / "model", lows, tmp_path / "out", "--threads", 1)
    assert exit_code(*words) == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["0x4.png", "1x4.png"]
    assert read_rgb(tmp_path / "out" / "0x4.png").shape == (96, 160, 3)
    assert exit_code(*words) == 2
    assert exit_code(*words, "--overwrite") == 0
    capsys.readouterr()
    assert exit_code(*words, "--skip") == 0
    assert "out already; there is nothing to do" in capsys.readouterr().err
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.png").write_bytes(b"no image")
    assert exit_code("apply", "--model", searched / "model", tmp_path / "bad", tmp_path / "none") == 1


MEASURED = """
import resource, subprocess, sys
code = subprocess.run([sys.executable, *sys.argv[1:]]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
sys.exit(code)
"""


@pytest.mark.slow
def test_a_photograph_of_3_megapixels_takes_less_than_2_gb(searched: Path, tmp_path: Path) -> None:
    from skimage import data

    Image.fromarray(data.astronaut()).resize((2000, 1500)).save(tmp_path / "in.png")
    words = (ROOT / "cli.py", "apply", "--model", searched / "model", tmp_path / "in.png", tmp_path / "out.png")
    done = subprocess.run([sys.executable, "-c", MEASURED, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert Image.open(tmp_path / "out.png").size == (8000, 6000)
    assert int(done.stdout.split()[-1]) < 2e9


def test_what_does_not_fit_the_model_is_named(
    searched: Path, benchmark: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("evaluate", "--model", searched / "model", "--data", tmp_path) == 2
    assert "is no x4 benchmark" in capsys.readouterr().err
    assert exit_code("evaluate", "--model", tmp_path, "--data", benchmark) == 2
    assert "model.safetensors is absent" in capsys.readouterr().err
    assert exit_code("evaluate", "--model", searched / "model", "--data", benchmark, "--metric", "beauty") == 2
    assert "beauty is no quality of super-resolution" in capsys.readouterr().err
    size = ("--output-size", 0, 5)
    assert exit_code("evaluate", "--model", searched / "model", "--data", benchmark, *size) == 2
    assert "0 is not in the range x>=64" in capsys.readouterr().err
    with pytest.raises(InputError, match="is absent"):
        read_model(tmp_path / "none.onnx")
