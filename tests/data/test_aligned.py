from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from supernet_fixtures import random_pixels, write_images

from evo_c2f.errors import InputError
from evo_c2f.sections.data import PairsSection
from supernet.batches.patches import PairBatches
from supernet.data.aligned import Pairs, check_sizes, held_out, in_batches, split_files, split_off
from supernet.data.images import to_tensor
from supernet.data.pair_data import PairData
from supernet.pictures.decoding import TO_GREY
from supernet.pictures.opening import ON_WHITE
from supernet.pictures.pairs import read_pair


def write_pairs(root: Path, splits: dict[str, int], height: int = 20, width: int = 24) -> Path:
    """Aligned files whose halves are different noise."""
    for number, (split, n) in enumerate(splits.items()):
        pixels = {f"{i}.png": random_pixels(height, 2 * width, 100 * number + i) for i in range(n)}
        write_images(root / split, pixels)
    return root


def data(root: Path | str | None, **changes: object) -> PairData:
    section = {"folder": None if root is None else str(root), "crop": 16, "batch": 3, "validation_images": 2, **changes}
    return PairData(PairsSection.model_validate(section), seed=0)


@pytest.mark.parametrize(("direction", "source", "target"), [("AtoB", 0, 1), ("BtoA", 1, 0)])
def test_the_halves_are_given_exactly_as_cut(tmp_path: Path, direction, source, target):
    pixels = random_pixels(9, 14)
    write_images(tmp_path, {"x.png": pixels})
    halves = pixels[:, :7], pixels[:, 7:]
    found = read_pair(tmp_path / "x.png", direction)
    assert np.array_equal(found[0], halves[source]) and np.array_equal(found[1], halves[target])


def test_a_split_takes_the_same_test_images_each_time_and_none_is_trained_on(tmp_path: Path):
    root = write_pairs(tmp_path / "pairs", {"train": 9, "val": 2})
    assert split_off(root, tmp_path / "a", 4, seed=1) == {"train": 5, "test": 4, "val": 2}
    split_off(root, tmp_path / "b", 4, seed=1)
    split_off(root, tmp_path / "c", 4, seed=2)
    names = {out: {s: {p.name for p in split_files(tmp_path / out, s)} for s in ("train", "test")} for out in "abc"}
    assert names["a"] == names["b"] != names["c"]
    assert not names["a"]["train"] & names["a"]["test"] and len(names["a"]["train"] | names["a"]["test"]) == 9
    for path in split_files(tmp_path / "a", "test"):
        assert path.read_bytes() == (root / "train" / path.name).read_bytes()
    with pytest.raises(InputError, match="exists already"):
        split_off(root, tmp_path / "a", 4, seed=1)
    with pytest.raises(InputError, match="holds 9 images; that leaves none"):
        split_off(root, tmp_path / "d", 9, seed=1)
    assert not (tmp_path / "d").exists()


def test_an_odd_width_is_refused_by_name(tmp_path: Path):
    write_images(tmp_path, {"odd.png": random_pixels(8, 15)})
    for act in (lambda: read_pair(tmp_path / "odd.png", "AtoB"), lambda: check_sizes([tmp_path / "odd.png"])):
        with pytest.raises(InputError, match=r"odd\.png is 15 pixels wide, which is odd"):
            act()


@pytest.mark.parametrize("load_size", [None, 18])
def test_files_of_unequal_sizes_are_cut_as_they_are_or_resized(tmp_path: Path, load_size: int | None):
    sizes = [(20, 16), (17, 30), (17, 30), (16, 18)]
    for number, split in enumerate(("train", "val")):
        images = {f"{i}.png": random_pixels(h, 2 * w, 9 * number + i) for i, (h, w) in enumerate(sizes)}
        write_images(tmp_path / split, images)
    pairs = data(tmp_path, load_size=load_size, validation_images=4)
    assert pairs.training((0,))[0][0].shape == (3, 3, 16, 16)
    held = [tuple(source.shape) for source, _ in pairs.full()]
    assert held == ([(4, 3, 16, 16)] if load_size else [(1, 3, 20, 16), (2, 3, 17, 30), (1, 3, 16, 18)])
    assert pairs.counts()[1] == (4, 16) and pairs.largest_side == (load_size or 16)
    write_images(tmp_path / "train", {"x.png": random_pixels(15, 40)})
    if load_size is None:
        with pytest.raises(InputError, match=r"data.crop is 16, and the images of .*train/x.png are 20x15; set a smal"):
            _ = data(tmp_path).splits


def test_a_broken_file_is_refused_by_name(tmp_path: Path):
    (tmp_path / "x.png").write_bytes(b"nonsense")
    for act in (lambda: read_pair(tmp_path / "x.png", "AtoB"), lambda: check_sizes([tmp_path / "x.png"])):
        with pytest.raises(InputError, match=r"x\.png can't be read"):
            act()


@pytest.mark.parametrize(
    ("splits", "searched", "judged"),
    [({"val": 1}, "val", "val"), ({"test": 1}, "test", "test"), ({"val": 1, "test": 1}, "val", "test")],
)
def test_a_search_compares_on_val_and_its_front_is_judged_on_test(tmp_path: Path, splits, searched, judged):
    assert held_out(write_pairs(tmp_path, splits)) == (searched, judged)


@pytest.mark.parametrize(
    ("splits", "named"), [({"train": 2}, "neither val/ nor test/"), ({"val": 2}, "train is absent.*this one holds val")]
)
def test_an_absent_split_is_refused(tmp_path: Path, splits, named):
    with pytest.raises(InputError, match=named):
        _ = data(write_pairs(tmp_path, splits)).splits


def test_an_empty_split_and_no_folder_are_refused(tmp_path: Path):
    (write_pairs(tmp_path, {"val": 1}) / "train").mkdir()
    with pytest.raises(InputError, match="train holds no image"):
        _ = data(tmp_path).splits
    with pytest.raises(InputError, match="--data DIR"):
        _ = data(None).splits


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"crop": 21}, True),
        ({"crop": 20}, False),
        ({"crop": 24, "load_size": 24}, False),
        ({"crop": 20, "load_size": 19}, True),
    ],
)
def test_a_crop_larger_than_the_images_is_refused(tmp_path: Path, changes, refused):
    pairs = data(write_pairs(tmp_path, {"train": 2, "val": 2}), **changes)
    if refused:
        with pytest.raises(InputError, match=f"data.crop is {changes['crop']}"):
            _ = pairs.splits
    else:
        assert set(pairs.splits) == {"train", "search", "full"}


def test_a_batch_is_the_same_cut_and_flip_of_both_halves(tmp_path: Path):
    root = write_images(tmp_path / "train", {"x.png": np.hstack([random_pixels(12, 10)] * 2)}).parent
    batches = PairBatches(Pairs(split_files(root, "train"), "AtoB", None), side=6, flip=True, batch=8, seed=3)
    source, target = batches[0]
    assert source.shape == (8, 3, 6, 6) and torch.equal(source, target)  # both halves hold one picture
    whole = to_tensor(read_pair(tmp_path / "train" / "x.png", "AtoB")[0])
    windows = [whole[:, t : t + 6, l : l + 6] for t in range(7) for l in range(5)]  # noqa: E741
    flipped = [any(torch.equal(image, window.flip(2)) for window in windows) for image in source]
    as_is = [any(torch.equal(image, window) for window in windows) for image in source]
    assert all(a or b for a, b in zip(flipped, as_is, strict=True)) and any(flipped) and any(as_is)


def test_a_batch_depends_on_the_seed_and_its_index_alone(tmp_path: Path):
    root = write_pairs(tmp_path, {"train": 5, "val": 1})
    first, again = data(root).training((1, 2)), data(root).training((1, 2))
    assert torch.equal(first[7][0], again[7][0])
    assert not torch.equal(first[7][0], first[8][0])
    assert not torch.equal(first[7][0], data(root).training((1, 3))[7][0])


def test_without_flip_nothing_is_mirrored_and_images_load_at_the_size_asked_for(tmp_path: Path):
    root = write_pairs(tmp_path, {"train": 2, "val": 2})
    pairs = data(root, load_size=10, crop=10, flip=False)
    source, _ = pairs.training((0,))[0]
    halves = [
        Image.fromarray(read_pair(p, "AtoB")[0]).resize((10, 10), Image.Resampling.BICUBIC)
        for p in pairs.splits["train"]
    ]
    assert all(any(torch.equal(image, to_tensor(np.asarray(half))) for half in halves) for image in source)


def test_the_held_out_images_come_in_batches_in_order(tmp_path: Path):
    pairs = Pairs(split_files(write_pairs(tmp_path, {"val": 5}), "val"), "BtoA", None)
    batches = in_batches(pairs, 2)
    assert [len(source) for source, _ in batches] == [2, 2, 1]
    assert torch.equal(torch.cat([target for _, target in batches])[3], to_tensor(pairs[3][1]))


def test_what_is_judged_is_resized_to_the_cut_where_training_images_are_resized(tmp_path: Path):
    root = write_pairs(tmp_path, {"train": 2, "val": 2})
    jittered = data(root, load_size=18, crop=16)
    assert jittered.full()[0][0].shape == (2, 3, 16, 16) and jittered.counts() == ((2, 16), (2, 16))
    as_they_are = data(root, crop=16)
    assert as_they_are.full()[0][0].shape == (2, 3, 20, 24)


def test_the_search_takes_as_many_as_asked_and_the_fingerprint_tells_what_they_are(tmp_path: Path):
    root = write_pairs(tmp_path, {"train": 2, "val": 6})
    few = data(root)
    assert few.counts() == ((2, 20), (6, 20))
    assert sum(len(s) for s, _ in few.search()) == 2 and sum(len(s) for s, _ in few.full()) == 6
    others = [data(root, validation_images=3), data(root, direction="BtoA"), data(root, load_size=18)]
    assert len({few.fingerprint, *(other.fingerprint for other in others)}) == 4
    assert data(root).fingerprint == few.fingerprint
    write_images(root / "val", {"0.png": random_pixels(20, 48, 999)})
    assert data(root).fingerprint != few.fingerprint


def test_what_the_pixels_of_pairs_lose_is_told_once(tmp_path: Path):
    clear = np.dstack([random_pixels(16, 32), np.full((16, 32), 9, np.uint8)])
    for name in ("train/a.png", "train/b.png", "val/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(clear + np.uint8(len(name + name[-5]) * ord(name[-5]) % 7)).save(tmp_path / name)
    said: list[str] = []
    how = {"folder": str(tmp_path), "crop": 16, "batch": 1, "validation_images": 1}
    PairData(PairsSection.model_validate(how), 0, warn=said.append).record()
    assert said == [
        "not used as in the file (3), its transparency is laid on white: train/a.png, train/b.png, val/c.png"
    ]
    said.clear()
    PairData(PairsSection.model_validate(how), 0, warn=said.append, channels=(1, 1)).record()
    assert [one.partition(": ")[0].partition("), ")[2] for one in said] == [TO_GREY, ON_WHITE]
