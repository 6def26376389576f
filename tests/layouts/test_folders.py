from pathlib import Path

import pytest

from evo_c2f.errors import InputError
from supernet.layouts.folders import Folders, inputs_of, of_photographs, splits_of


def made(root: Path, *folders: str) -> Path:
    for folder in folders:
        (root / folder).mkdir(parents=True)
    return root


def shown(root: Path, found: dict[str, Folders]) -> dict[str, tuple[str, ...]]:
    """The folders as seen from the root: pictures, then inputs."""
    return {split: tuple(side.relative_to(root).as_posix() for side in both if side) for split, both in found.items()}


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (["train", "val", "test"], {s: (s,) for s in ("train", "val", "test")}),
        (["A/train", "A/val", "B/train", "B/val"], {s: (f"B/{s}", f"A/{s}") for s in ("train", "val")}),
        (["train/A", "train/B", "test/a", "test/b"], {"train": ("train/B", "train/A"), "test": ("test/b", "test/a")}),
        (["inputs", "targets"], {"": ("targets", "inputs")}),
        (["input", "target", "others"], {"": ("target", "input")}),
        (["LQ/train", "GT/train"], {"train": ("GT/train", "LQ/train")}),
        (["lq", "gt"], {"": ("gt", "lq")}),
        (["2019", "2020"], {"": (".",)}),
        (["Train", "VAL"], {"train": ("Train",), "val": ("VAL",)}),
        (["Targets/Train", "Targets/Test", "inputs/train", "inputs/test"],
         {"train": ("Targets/Train", "inputs/train"), "test": ("Targets/Test", "inputs/test")}),
    ],
)  # fmt: skip
def test_pairs_lie_in_splits_or_in_two_folders_or_in_both(tmp_path: Path, folders, expected) -> None:
    assert shown(tmp_path, splits_of(made(tmp_path, *folders))) == expected


DIV2K = ["DIV2K_train_HR", "DIV2K_train_LR_bicubic/X2", "DIV2K_train_LR_bicubic/X4", "DIV2K_valid_HR"]


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        ([*DIV2K, "DIV2K_valid_LR_bicubic/X4"],
         {"train": ("DIV2K_train_HR", "DIV2K_train_LR_bicubic/X4"),
          "val": ("DIV2K_valid_HR", "DIV2K_valid_LR_bicubic/X4")}),
        (["Flickr2K_HR", "Flickr2K_LR_bicubic/X4"], {"": ("Flickr2K_HR", "Flickr2K_LR_bicubic/X4")}),
        (["HR", "LR_bicubic/X4"], {"": ("HR", "LR_bicubic/X4")}),
        (["Flickr2K_HR", "DIV2K_valid_HR"], {"val": ("DIV2K_valid_HR",), "train": ("Flickr2K_HR",)}),
        (["x_train_HR", "x_valid_HR"], {"train": ("x_train_HR",), "val": ("x_valid_HR",)}),
        (["A", "B"], {"": (".",)}),  # photographs by letters
        (["shr", "LR"], {"": (".",)}),
        (["Train", "Test"], {"train": ("Train",), "test": ("Test",)}),
        (["d_train_hr", "d_train_lr_x/x4"], {"train": ("d_train_hr", "d_train_lr_x/x4")}),
        (["HR", "LR"], {"": ("HR", "LR")}),
        (["train/HR", "train/LR", "val/HR", "val/LR_x/X4"],
         {"train": ("train/HR", "train/LR"), "val": ("val/HR", "val/LR_x/X4")}),
    ],
)  # fmt: skip
def test_photographs_may_lie_in_the_folders_of_div2k(tmp_path: Path, folders, expected) -> None:
    assert shown(tmp_path, of_photographs(made(tmp_path, *folders), None, 4)) == expected


@pytest.mark.parametrize(
    ("folders", "sentence"),
    [
        (["lq", "gt", "input", "target"], r"holds the pairs of several sets, input/ with target/, lq/ with gt/; name"),
        (["a_train_HR", "b_train_HR"], r"holds both a_train_HR/ and b_train_HR/"),
        (["a_train_HR", "b_HR"], r"holds both b_HR/ and a_train_HR/"),
        (["x_HR", "x_LR_bicubic/X4", "x_LR_mild/X4"], r"several inputs for x_HR/, but x_LR_bicubic/X4, x_LR_mild/X4"),
        (["x_HR", "x_LR_bicubic/X2"], r"no inputs X4/ for x_HR/, but x_LR_bicubic/X2; name"),
    ],
)
def test_what_could_mean_several_sets_is_refused_with_what_was_found(tmp_path: Path, folders, sentence) -> None:
    with pytest.raises(InputError, match=sentence):
        of_photographs(made(tmp_path, *folders), None, 4)


def test_the_inputs_may_lie_elsewhere(tmp_path: Path) -> None:
    made(tmp_path, "gt/train", "lq/train")
    inputs = inputs_of(tmp_path / "gt", "../lq")
    assert inputs == tmp_path / "lq" == inputs_of(tmp_path / "gt", str(tmp_path / "lq"))
    assert shown(tmp_path, splits_of(tmp_path / "gt", inputs)) == {"train": ("gt/train", "lq/train")}
    with pytest.raises(InputError, match=f"{tmp_path}/none is no folder; data.inputs names one as seen from .*gt"):
        inputs_of(tmp_path / "gt", "../none")
