"""Pairs whose inputs lie in one folder and whose targets lie in another, for both tasks."""

from pathlib import Path

import numpy as np
import pytest
import torch
from supernet_fixtures import random_pixels, unexpected, write_images

from evo_c2f.errors import InputError
from evo_c2f.sections.data import DataSection, PairsSection
from supernet.data.aligned import split_off
from supernet.data.images import to_pixels
from supernet.data.pair_data import PairData
from supernet.data.photograph_data import PhotographData
from supernet.layouts.index import Index
from supernet.layouts.partners import Partners
from supernet.layouts.record import Record
from supernet.pictures.pairs import read_pair
from supernet.teachers.outputs import Outputs, Taught

SCALE = 2


def pairs(folder: Path, known: Record | None = None, warn: object = unexpected, **changes: object) -> PairData:
    how = {"folder": str(folder), "crop": 16, "batch": 4, "validation_images": 2, **changes}
    return PairData(PairsSection.model_validate(how), 0, warn=warn, known=known)  # type: ignore[arg-type]


def photographs(
    folder: Path, scale: int = SCALE, known: Record | None = None, warn: object = unexpected, **changes: object
) -> PhotographData:
    numbers = {"patch": 8, "batch": 4, "crop": 16, "validation_images": 2, "validation_crops": 3}
    settings = DataSection.model_validate({"folder": str(folder), **numbers, **changes})
    return PhotographData(settings, scale, 0, warn, known)  # type: ignore[arg-type]


def write_sides(root: Path, places: dict[str, str], scale: int = 1, n: int = 4) -> Path:
    """Noise at places such as 'B/train/{}.png'; its inputs, dark reductions, where `places` says."""
    for number, (high, low) in enumerate(places.items()):
        for i in range(n):
            small = random_pixels(24 // scale, 32 // scale, 10 * number + i)
            large = small.repeat(scale, axis=0).repeat(scale, axis=1)
            write_images(root, {high.format(i): large, low.format(i): small // 4})
    return root


def is_paired(sources: torch.Tensor, targets: torch.Tensor) -> bool:
    """Whether each source is the dark reduction of its target."""
    step = targets.shape[-1] // sources.shape[-1]
    highs = to_pixels(targets)[:, ::step, ::step] // 4
    return np.array_equal(to_pixels(sources), highs)


SPLIT = {
    "within": {"B/train/{}.png": "A/train/{}.png", "B/val/{}.png": "A/val/{}.png"},
    "beside": {"train/target/{}.png": "train/input/{}.bmp", "val/target/{}.png": "val/input/{}.bmp"},
    "nested": {"gt/train/s/{}.png": "lq/train/s/{}.png", "gt/test/t/{}.bmp": "lq/test/t/{}.png"},
}


@pytest.mark.parametrize("layout", SPLIT)
@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_pairs_of_two_folders_are_trained_on_and_judged_by_their_splits(tmp_path: Path, layout, direction) -> None:
    data = pairs(write_sides(tmp_path / "in", SPLIT[layout]), direction=direction)
    batches = [data.training((0, 1))[index] for index in range(3)] + [*data.search(), *data.full()]
    assert all(is_paired(*(batch if direction == "AtoB" else batch[::-1])) for batch in batches)
    assert [len(data.splits[use]) for use in ("train", "search", "full")] == [4, 2, 4]


def test_pairs_of_two_folders_without_splits_are_split_by_content_whatever_their_names(tmp_path: Path) -> None:
    root = write_sides(tmp_path, {"targets/{}.png": "inputs/{}.bmp"}, n=7)
    data = pairs(root)
    assert [len(data.splits[use]) for use in ("train", "search", "full")] == [5, 2, 2]
    held, record, before = data.full()[0][0], data.record(), data.training((0,))[5]
    for side, suffix in (("inputs", "bmp"), ("targets", "png")):
        for i in range(7):
            (root / side / f"{i}.{suffix}").rename(root / side / f"x{9 - i}.{suffix}")
    assert sorted(map(str, pairs(root).full()[0][0])) == sorted(map(str, held))
    assert torch.equal(pairs(root, record).training((0,))[5][1], before[1])


def test_the_inputs_may_lie_in_a_folder_that_is_named(tmp_path: Path) -> None:
    write_sides(tmp_path, {"b/train/{}.png": "a/train/{}.png", "b/val/{}.png": "a/val/{}.png"})
    data = pairs(tmp_path / "b", inputs="../a")
    assert is_paired(*data.training((0,))[0]) and data.splits["train"][0] == Partners(
        tmp_path / "a" / "train" / "0.png", tmp_path / "b" / "train" / "0.png"
    )


def test_partners_of_other_sizes_are_refused_unless_they_are_resized(tmp_path: Path) -> None:
    write_sides(tmp_path, {"B/train/{}.png": "A/train/{}.png", "B/val/{}.png": "A/val/{}.png"})
    write_images(tmp_path, {"A/train/1.png": random_pixels(24, 30)})
    with pytest.raises(InputError, match=r"A/train/1.png is 30x24, and its partner .*B/train/1.png 32x24; make them"):
        _ = pairs(tmp_path).splits
    assert pairs(tmp_path, load_size=20).training((0,))[0][0].shape == (4, 3, 16, 16)


def test_a_teacher_that_gives_the_targets_sees_the_inputs_alone(tmp_path: Path) -> None:
    root = write_sides(tmp_path / "in", {"targets/{}.png": "inputs/{}.png"})
    for direction, name in (("AtoB", "inputs"), ("BtoA", "targets")):
        said: list[str] = []
        found = pairs(root, warn=said.append, target="teacher", direction=direction).splits["train"]
        assert {path.parent.name for path in found} == {name} and len(said) == 1  # the targets are left out


def test_a_test_split_may_be_taken_of_two_folders(tmp_path: Path) -> None:
    root = write_sides(tmp_path / "in", {"B/train/{}.png": "A/train/{}.png"})
    assert split_off(root, tmp_path / "out", 1, seed=0) == {"train": 3, "test": 1}
    data = pairs(tmp_path / "out", validation_images=1)
    assert [len(data.splits[use]) for use in ("train", "search", "full")] == [3, 1, 1]
    assert is_paired(*data.full()[0])


def test_nested_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    names = [f"{split}/{folder}/0.png" for split in ("train", "val") for folder in "xyz"]
    images = {name: random_pixels(16, 32, seed) for seed, name in enumerate(names)}
    data = pairs(write_images(tmp_path, images))
    assert {name for rows in data.record().values() for name, _ in rows} == set(images)
    assert not np.array_equal(*(read_pair(item, "AtoB")[0] for item in data.splits["train"][:2]))


# -- super-resolution -----------------------------------------------------------------------------


LAYOUTS = {
    "two folders": {"gt/{}.png": "lq/{}.png"},
    "DIV2K": {
        "D_train_HR/{}.png": "D_train_LR_bicubic/X2/{}x2.png",
        "D_valid_HR/{}.png": "D_valid_LR_bicubic/X2/{}x2.png",
    },
    "sides in splits": {"train/gt/{}_HR.png": "train/lq/{}_LR.png", "val/gt/{}.png": "val/lq/{}.png"},
}


@pytest.mark.parametrize("layout", ["two folders", "DIV2K", "sides in splits"])
def test_photographs_are_trained_on_and_judged_with_their_own_inputs(tmp_path: Path, layout) -> None:
    data = photographs(write_sides(tmp_path, LAYOUTS[layout], SCALE))
    assert [len(side) for side in data.images] == ([2, 2] if layout == "two folders" else [4, 2])
    batches = [data.training((0, 1))[index] for index in range(3)] + [*data.search(), *data.full()]
    assert all(is_paired(*batch) for batch in batches)
    assert data.counts() == ((3, 16), (2, 24)) and [len(x) for x, _ in data.search()] == [3]
    names = [name for rows in data.record().values() for name, _ in rows]
    assert len(names) == len(set(names)) == (4 if layout == "two folders" else 8)


def test_photographs_with_inputs_are_used_as_before_and_a_changed_input_is_another_picture(tmp_path: Path) -> None:
    before = photographs(write_sides(tmp_path / "in", LAYOUTS["DIV2K"], SCALE))
    record, first = before.record(), before.training((0,))[3]
    moved = (tmp_path / "in").rename(tmp_path / "moved")
    after = photographs(moved, known=record)
    assert torch.equal(after.training((0,))[3][0], first[0]) and after.fingerprint == photographs(moved).fingerprint
    write_images(moved, {"D_train_LR_bicubic/X2/1x2.png": random_pixels(12, 16)})
    with pytest.raises(InputError, match=r"lacks pictures .*\(training: 1\): D_train_HR/1.png"):
        _ = photographs(moved, known=record, warn=lambda sentence: None).images


def test_photographs_may_be_split_by_the_user(tmp_path: Path) -> None:
    names = [f"{split}/s/{i}.png" for split in ("train", "val") for i in range(4)]
    images = {name: random_pixels(24, 24, seed) for seed, name in enumerate(names)}
    said: list[str] = []
    copies = {f"train/{i}.png": images[f"val/s/{i}.png"] for i in range(4)} | {"stray.png": random_pixels(24, 24)}
    data = photographs(write_images(tmp_path, images | copies), warn=said.append, validation_images=3)
    assert len(data.images[1]) == 3 and all(p.name.startswith("val/") for p in data.images[1])
    assert all(p.name.startswith("train/") for p in data.images[0])
    held = {p.digest for p in data.images[1]}
    assert not held & {p.digest for p in data.images[0]} and "not trained on, as they are held out too (3)" in said[1]
    assert said[0] == f"left out of {tmp_path}, of which train, val are used (1): stray.png"
    assert [len(rows) for rows in data.record().values()] == [5, 3]


def test_pictures_of_a_run_are_found_though_its_flat_folder_holds_splits_too(tmp_path: Path) -> None:
    write_images(tmp_path, {f"{i}.png": random_pixels(24, 24, i) for i in range(5)})
    record = photographs(tmp_path).record()
    write_images(tmp_path, {f"train/{i}.png": random_pixels(24, 24, 50 + i) for i in range(2)})
    again = photographs(tmp_path, known=record, warn=lambda sentence: None)
    assert sorted(p.name for side in again.images for p in side) == [f"{i}.png" for i in range(5)]


@pytest.mark.parametrize(
    ("changes", "scale", "sentence"),
    [
        ({}, 1, r"gt/0.png is 32x24, and its input .*lq/0.png 16x12; task.scale is 1, so make it 32x24"),
        ({"degradation": {"noise": {"sigma": [5, 5]}}}, 2, "holds inputs, and data.degradation makes others; set"),
        ({"inputs": "../none"}, 2, "none is no folder; data.inputs names one"),
    ],
)
def test_inputs_that_cannot_serve_are_refused(tmp_path: Path, changes, scale, sentence) -> None:
    write_sides(tmp_path, LAYOUTS["two folders"], SCALE)
    with pytest.raises(InputError, match=sentence):
        _ = photographs(tmp_path, scale, **changes).images


@pytest.mark.parametrize("lacking", ["train", "val"])
def test_inputs_of_one_split_alone_are_refused_since_the_others_would_be_of_another_kind(
    tmp_path: Path, lacking
) -> None:
    write_sides(tmp_path, LAYOUTS["sides in splits"], SCALE)
    for path in (tmp_path / lacking / "lq").iterdir():
        path.unlink()
    (tmp_path / lacking / "lq").rmdir()
    with pytest.raises(InputError, match=rf"/{lacking} lies without inputs, and those of another split are there; add"):
        _ = photographs(tmp_path).images


def test_inputs_may_lie_within_the_folder_of_the_targets(tmp_path: Path) -> None:
    write_sides(tmp_path, {"{}.png": "blurred/{}.png"}, n=5)
    assert is_paired(*photographs(tmp_path, 1, inputs="blurred").training((0,))[0])
    assert is_paired(*pairs(tmp_path, inputs="blurred").training((0,))[0])


def test_restoration_needs_inputs_or_a_degradation(tmp_path: Path) -> None:
    assert is_paired(*photographs(write_sides(tmp_path, {"target/{}.png": "input/{}.png"}), 1).training((0,))[0])
    for how in (None, {}):
        with pytest.raises(InputError, match="task.scale is 1, so networks restore what data.degradation degrades"):
            _ = photographs(tmp_path / "target", 1, degradation=how).images


def test_a_folder_to_judge_on_alone_is_no_folder_to_train_on(tmp_path: Path) -> None:
    write_images(tmp_path, {f"test/{i}.png": random_pixels(24, 24, i) for i in range(5)})
    with pytest.raises(InputError, match="holds test, but no train; name the folder to train on"):
        _ = photographs(tmp_path).images


def test_an_input_that_cannot_be_read_takes_its_photograph_with_it(tmp_path: Path) -> None:
    write_sides(tmp_path, LAYOUTS["two folders"], SCALE)
    (tmp_path / "lq" / "2.png").write_bytes(b"nonsense")
    said: list[str] = []
    found = photographs(tmp_path, warn=said.append, validation_images=1).images
    assert sorted(p.name for side in found for p in side) == ["0.png", "1.png", "3.png"]
    assert len(said) == 1 and said[0].startswith("lq/2.png is left out")


def test_a_teachers_outputs_stand_beside_targets_of_ones_own_inputs(tmp_path: Path) -> None:
    data = photographs(write_sides(tmp_path / "in", LAYOUTS["two folders"], SCALE))
    made = lambda x: torch.nn.functional.interpolate(1 - x, scale_factor=SCALE)  # noqa: E731
    data.taught = Taught(Outputs(tmp_path / "cache", "a", made, 1 << 20, torch.device("cpu")), SCALE, False)
    source, target = data.training((0,))[0]
    assert is_paired(source, target[:, :3]) and torch.allclose(target[:, 3:], made(source), atol=1e-6)


# -- the index ------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["pairs", "photographs", "photographs that don't fit in memory"])
def test_no_file_is_read_twice_to_learn_what_it_is(tmp_path: Path, task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    from supernet.batches.kept import Kept
    from supernet.data import photographs as reading
    from supernet.pictures import pairs as files

    root = write_sides(tmp_path / "in", LAYOUTS["two folders"], SCALE if task != "pairs" else 1)
    for path in root.rglob("*.png"):
        os.utime(path, ns=(10**18, 10**18))

    def data() -> PairData | PhotographData:
        made = pairs(root) if task == "pairs" else photographs(root)
        made.index = Index(root, tmp_path / "index.json")
        if task.endswith("memory"):
            made.kept = Kept(100, partly=False)  # type: ignore[union-attr]
        return made

    first = data()
    record = first.record()
    first.index.save()
    module, name = (files, "content_hash") if task == "pairs" else (reading, "first_read")
    read, whole, times = getattr(module, name), [], 4 + 4
    monkeypatch.setattr(module, name, lambda path, **how: whole.append(path) or read(path, **how))
    again = data()
    again.known = record
    assert again.counts() == first.counts() and torch.equal(again.training((0,))[2][0], first.training((0,))[2][0])
    assert len(whole) == (times if task == "photographs" else 0)  # what fits is decoded once, to be kept
    os.utime(root / "gt" / "1.png", ns=(10**18, 10**18 + 1))
    assert data().counts() and len(whole) == (2 * times if task == "photographs" else 1)
