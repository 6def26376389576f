"""The commands with a teacher of each kind: learning from it, beside targets and without any."""

import contextlib
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import EVALUATIONS, TINY_PAIRS, exit_code, settings, tiny
from supernet_fixtures import random_pixels, randomise, write_enlarger, write_images
from test_pix2pix import resnet, unet
from test_plugins import TEACHER
from torch import nn

import evo_c2f
from evo_c2f.errors import InputError
from evo_c2f.runs.run import RunFolder, read_log
from evo_c2f.scores.analysis import read_front
from supernet.metrics.vision import make_torchvision_importable
from supernet.teachers.found import PLUGGED

SHORT = ("training.rounds=2", "training.stage_rounds=2", "finetune.rounds=2", "finetune.phases=[]")
TRANSLATION = (
    *TINY_PAIRS,
    *SHORT,
    "data.target=teacher",
    "training.stages=[joint]",
    "search.objectives=[psnr_y, macs]",
    "search.rescore=[psnr_y]",
)
SEARCH = ("--threads", "1", *EVALUATIONS)


@pytest.fixture(scope="module")
def onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnx")
    return write_enlarger(tmp_path_factory.mktemp("teacher") / "big.onnx")


@pytest.fixture(scope="module")
def searched(onnx: Path, photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """(the run of a search beside the photographs, what the command said)."""
    folder, said = tmp_path_factory.mktemp("runs") / "taught", io.StringIO()
    words = ("--data", photographs, "--run", folder, "--teacher", onnx, *SEARCH, *tiny(*SHORT))
    with contextlib.redirect_stderr(said):
        assert exit_code("search", *words) == 0
    return folder, " ".join(said.getvalue().split())


def test_a_search_learns_from_an_onnx_file_beside_the_photographs(searched: tuple[Path, str], onnx: Path) -> None:
    recipe = RunFolder.open(searched[0]).recipe
    assert recipe.teacher.file == str(onnx) and len(recipe.teacher.digest) == 16
    assert recipe.training.losses.guide == "teacher" and recipe.training.losses.distillation == 1.0
    (folder,) = (searched[0] / "teacher").iterdir()
    assert folder.name == f"{recipe.teacher.digest}-0..255-0..255-x4"
    assert 0 < len(list(folder.glob("*.npy"))) <= 4  # photographs of training


def test_the_teachers_figures_stand_beside_the_baseline(searched: tuple[Path, str]) -> None:
    folder, said = searched
    assert "RGB, values in 0..255, its output is 4 times as large" in said
    assert ": the teacher is no better, and what learns from it can hardly be" in said  # nearest neighbours
    (told,) = [line for line in read_log(folder / "log.jsonl") if line["event"] == "teacher"]
    figures = told["metrics"]
    assert figures.keys() == {"psnr_y", "psnr_y_full"} and 10 < figures["psnr_y_full"] < 40
    assert f"teacher big.onnx {figures['psnr_y_full']:.5g}, on held-out images" in said
    assert "teacher big.onnx" in (folder / "report.html").read_text()


def test_a_run_is_taken_up_with_its_own_teacher_alone(searched, onnx: Path, photographs: Path, tmp_path, capsys):
    moved, run = tmp_path / "elsewhere.onnx", searched[0]
    moved.write_bytes(onnx.read_bytes())
    changed = tiny(*SHORT, "search.evaluations={path: 14, operator: 14, channel: 14}")
    words = ("--data", photographs, "--run", run, "--teacher", moved, "--threads", 1, *changed)
    assert exit_code("train-supernet", *words) == 0
    assert RunFolder.open(run).recipe.teacher.file == str(moved)
    moved.write_bytes(b"another")
    assert exit_code("front", "--run", run) == 0  # needs no teacher
    assert exit_code("train-supernet", "--run", run, "--threads", 1) == 2
    assert "is not the teacher that the run was begun with; name that one with --teacher" in capsys.readouterr().err
    assert exit_code("train-supernet", "--run", run, "--threads", 1, "--teacher", onnx) == 0


def test_python_takes_a_teacher_as_the_commands_do(searched: tuple[Path, str], onnx: Path, tmp_path: Path) -> None:
    run = evo_c2f.load_run(searched[0], machine=evo_c2f.Machine(threads=1))
    about = json.loads((run.finetune(name="taught", teacher=onnx).path / "finetune.json").read_text())
    assert about["losses"] == "1 l1 + 1 distillation" and about["teacher"] == run.recipe.teacher.digest
    with pytest.raises(InputError, match="teacher .*absent.onnx does not exist"):
        evo_c2f.search(run=tmp_path / "run", teacher=tmp_path / "absent.onnx")


def compact(path: Path) -> Path:
    make_torchvision_importable()
    pytest.importorskip("spandrel")
    from spandrel.architectures.Compact import Compact

    torch.save({"params": randomise(Compact(num_feat=8, num_conv=2, upscale=4), 0).state_dict()}, path)
    return path


def test_photographs_without_targets_are_enlarged_by_a_network_of_spandrels(photographs: Path, tmp_path: Path) -> None:
    run, teacher = tmp_path / "alone", compact(tmp_path / "compact.pth")
    words = ("--data", photographs, "--run", run, "--teacher", teacher, "--threads", 1)
    assert exit_code("train-supernet", *words, *tiny(*SHORT, "data.target=teacher")) == 0
    recipe = RunFolder.open(run).recipe
    assert recipe.training.losses.distillation == 0
    sizes = {np.load(path, mmap_mode="r").shape for path in run.glob("teacher/*/*.npy")}
    assert sizes == {(4 * 130, 4 * 160, 3)}


def of_a_checkpoint(make: Callable[[], nn.Module], path: Path) -> Path:
    torch.save(randomise(make(), 0).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[object, ...]]:
    """The words that load a plugin, whose teacher `inverse` is forgotten in the end."""
    path = tmp_path_factory.mktemp("plugins") / "inverse.py"
    path.write_text(TEACHER)
    yield "--plugin", path
    PLUGGED.pop("inverse", None)


def inputs(folder: Path, n: int = 10) -> Path:
    return write_images(folder, {f"{i}.png": random_pixels(40, 36 + i, i) for i in range(n)})


@pytest.mark.parametrize(
    ("make", "side", "words"),
    [
        (lambda: resnet(6, False), 32, "pix2pix's ResNet of 6 blocks, instance norm; RGB, values in -1..1"),
        (lambda: unet(7, True), 128, "pix2pix's U-Net 128, batch norm; RGB, values in -1..1, its output is as large"),
    ],
    ids=["ResNet", "U-Net"],
)
def test_inputs_alone_are_translated_by_checkpoints_of_pix2pix(make, side, words, tmp_path, capsys) -> None:
    teacher, run = of_a_checkpoint(make, tmp_path / "latest_net_G.pth"), tmp_path / "run"
    changes = (*TRANSLATION, f"data.load_size={side}")
    words_of_data = ("--recipe", "openmoji", "--data", inputs(tmp_path / "inputs"), "--teacher", teacher)
    assert exit_code("train-supernet", *words_of_data, "--run", run, "--threads", 1, *settings(*changes)) == 0
    assert words in " ".join(capsys.readouterr().err.split())
    sizes = {np.load(path, mmap_mode="r").shape for path in run.glob("teacher/*/*.npy")}
    assert sizes == {(side, side, 3)} and RunFolder.open(run).weights_for("path").is_file()


def test_one_folder_of_inputs_is_enough_to_search_what_a_plugins_function_does(plugin, tmp_path: Path, capsys) -> None:
    run = tmp_path / "run"
    words = ("--recipe", "openmoji", "--data", inputs(tmp_path / "inputs"), "--teacher", "inverse", "--run", run)
    assert exit_code("train-supernet", *plugin, *words, "--threads", 1, *settings(*TRANSLATION)) == 0
    assert exit_code("evolve", "--stage", "path", *plugin, "--run", run, *SEARCH) == 0
    record = json.loads((run / "data.json").read_text())
    assert len(record["train"]) == 6 and record["search"] == record["full"] and len(record["full"]) == 4
    assert len(list(run.glob("teacher/*/*.npy"))) >= 5
    assert len(read_front(RunFolder.open(run).front("path"))) >= 1
    assert exit_code("compare", *plugin, "--run", run, "--threads", 1, "--distil") == 2
    assert "all networks learn from it; leave out --distil" in capsys.readouterr().err


def test_inputs_smaller_than_a_crop_are_refused(plugin, tmp_path: Path, capsys) -> None:
    words = ("search", "--recipe", "openmoji", "--data", inputs(tmp_path / "in"), "--run", tmp_path / "run")
    changes = settings(*TRANSLATION, "data.load_size=null", "data.crop=37")
    assert exit_code(*words, *plugin, "--teacher", "inverse", "--threads", 1, *changes) == 2
    assert "0.png are 36x40; set a smaller crop, or a larger data.load_size" in capsys.readouterr().err


def test_targets_by_a_teacher_need_one(photographs: Path, tmp_path: Path, capsys) -> None:
    words = ("search", "--data", photographs, "--run", tmp_path / "run", "--threads", 1)
    assert exit_code(*words, *tiny("data.target=teacher")) == 2
    assert "data.target is teacher, and none is named; name one with --teacher FILE" in capsys.readouterr().err
    assert exit_code(*words, *tiny("training.losses.guide=teacher", "training.losses.distillation=1")) == 2
    assert "losses.guide is 'teacher', and there is none; name one with --teacher FILE" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_teacher_of_another_scale_is_refused_before_the_run_is_begun(onnx, photographs, tmp_path, capsys) -> None:
    words = ("search", "--data", photographs, "--run", tmp_path / "run", "--threads", 1, "--teacher", onnx)
    assert exit_code(*words, *tiny("task.scale=2")) == 2
    assert "makes 4 times as large an image" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_cache_that_is_no_folder_is_refused(onnx, photographs, tmp_path, capsys) -> None:
    (tmp_path / "file").write_text("")
    words = ("search", "--data", photographs, "--run", tmp_path / "run", "--threads", 1, "--teacher", onnx)
    assert exit_code(*words, *tiny(f"teacher.cache={tmp_path / 'file'}")) == 2
    assert "can't be made (" in capsys.readouterr().err and not (tmp_path / "run").exists()
