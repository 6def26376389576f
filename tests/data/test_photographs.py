import pickle
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from supernet_fixtures import low_and_high_of, photographs, random_pixels, unexpected, write_images

from evo_c2f.errors import InputError
from evo_c2f.sections.data import DataSection
from supernet.batches.kept import Kept
from supernet.batches.patches import PatchPairs
from supernet.data.images import (
    Pixels,
    low_and_high,
    resize_bicubic,
    to_pixels,
    to_tensor,
    validation_crops,
    whole_images,
)
from supernet.data.photograph_data import PhotographData
from supernet.data.photographs import (
    EMBEDDED,
    SOURCES,
    LowAndHigh,
    Photograph,
    embedded,
    fingerprint,
    load,
    refuse_benchmark_images,
    split,
)
from supernet.data.picture_files import listed
from supernet.pictures.decoding import TO_GREY
from supernet.pictures.opening import EIGHT_BITS


def turned(pixels: Pixels) -> list[Pixels]:
    """The eight ways in which a square can lie."""
    return [np.rot90(side, k) for side in (pixels, pixels[:, ::-1]) for k in range(4)]


# -- reading --------------------------------------------------------------------------------------------


def test_the_embedded_photographs_can_all_be_read():
    found = load(embedded(), 192, unexpected)
    assert [p.name for p in found] == [name for names in EMBEDDED.values() for name in names]
    assert len({p.digest for p in found}) == len(found) >= 10
    assert all(p.pixels.ndim == 3 and p.pixels.shape[2] == 3 and p.pixels.dtype == np.uint8 for p in found)


def test_the_images_in_a_folder_and_those_within_are_listed_by_name_and_nothing_else_is(tmp_path):
    write_images(tmp_path, {name: random_pixels(8, 8) for name in ("b.png", "a.JPG", "sub/c.png")})
    (tmp_path / "notes.txt").write_text("no image")
    assert [p.name for p in listed(tmp_path)] == ["a.JPG", "b.png", "c.png"]


@pytest.mark.parametrize("made", ["nothing", "a file", "an empty folder", "a folder without images"])
def test_a_folder_that_cannot_serve_is_named(tmp_path, made):
    folder = tmp_path / "photos"
    if made == "a file":
        folder.write_text("")
    elif made != "nothing":
        folder.mkdir()
    if made == "a folder without images":
        (folder / "notes.txt").write_text("")
    with pytest.raises(InputError, match=str(folder)):
        listed(folder)


def test_a_broken_image_is_named_and_left_out(tmp_path):
    write_images(tmp_path, {name: random_pixels(8, 8) for name in ("a.png", "c.png")})
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:60])
    (tmp_path / "d.png").write_bytes(b"")
    said: list[str] = []
    found = load(listed(tmp_path), 8, said.append)
    assert [p.name for p in found] == ["a.png", "c.png"]
    assert [sentence.split()[0] for sentence in said] == ["b.png", "d.png"]
    assert all("\n" not in sentence for sentence in said)


def test_if_no_image_can_be_read_the_folder_is_named(tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"nonsense")
    said: list[str] = []
    with pytest.raises(InputError, match=f"2 images in {tmp_path}"):
        load(listed(tmp_path), 8, said.append)
    assert len(said) == 2


@pytest.mark.parametrize(("height", "width"), [(7, 40), (40, 7), (7, 7)])
def test_an_image_smaller_than_a_patch_is_named_with_its_size(tmp_path, height, width):
    write_images(tmp_path, {"a.png": random_pixels(8, 8), "small.png": random_pixels(height, width)})
    assert len(load(listed(tmp_path), 7, unexpected)) == 2
    with pytest.raises(InputError, match=f"small.png is {width}x{height} pixels, less than the 8"):
        load(listed(tmp_path), 8, unexpected)
    write_images(tmp_path, {"tiny.png": random_pixels(3, 4), "b.png": random_pixels(9, 9)})
    with pytest.raises(InputError, match=r"and so small are 1 others: tiny.png\); remove them"):
        load(listed(tmp_path), 8, unexpected)


def test_a_source_of_a_plugin_may_give_floats_and_its_losses_are_told(monkeypatch):
    grey = np.linspace(0, 1, 32 * 32).reshape(32, 32)  # numpy's own floats, of 64 bits
    coloured = (np.dstack([grey, grey**2, grey**3]) * 65535).astype(np.uint16)
    how = {"patch": 8, "batch": 2, "crop": 16, "validation_images": 1, "validation_crops": 1, "folder": "mine"}
    said: list[str] = []
    for pixels, depth, channels in ((grey, "float", 1), (coloured, 8, 1)):
        monkeypatch.setitem(SOURCES, "mine", lambda pixels=pixels: [("a", pixels), ("b", pixels[::-1])])
        settings = DataSection.model_validate({**how, "depth": depth})
        (image, _) = PhotographData(settings, 2, 0, said.append, channels=channels).found[""]
        assert image.pixels.shape == (32, 32, 1)
    assert [one.partition(": ")[0] for one in said] == [
        f"not used as in the file (2), {loss}" for loss in (EIGHT_BITS, TO_GREY)
    ]


def test_the_digest_is_of_the_pixels_not_of_the_file(tmp_path):
    pixels = random_pixels(8, 12)
    write_images(tmp_path, {"a.png": pixels, "b.bmp": pixels, "c.png": pixels[::-1]})
    a, b, c = load(listed(tmp_path), 8, unexpected)
    assert a.digest == b.digest != c.digest


# -- splitting --------------------------------------------------------------------------------------------


def test_the_split_is_disjoint_and_holds_every_image(tmp_path):
    found = photographs(tmp_path, 7, side=8)
    for n, seed in product((1, 3, 6), range(3)):
        training, validation = split(found, n, seed)
        assert len(validation) == n
        assert sorted(p.name for p in training + validation) == sorted(p.name for p in found)


def test_no_more_crops_are_counted_than_there_are(tmp_path):
    write_images(tmp_path, {f"{seed}.png": random_pixels(64, 96, seed) for seed in range(4)})
    for wanted, n in ((3, 3), (12, 12), (50, 12)):  # two images, 2 x 3 crops in each
        counts = {"batch": 2, "validation_images": 2, "validation_crops": wanted}
        settings = DataSection.model_validate({"folder": str(tmp_path), "patch": 4, "crop": 32, **counts})
        data = PhotographData(settings, 4, 0, unexpected)
        ((low, high),) = data.search()
        assert data.counts()[0] == (len(low), 32) == (len(high), 32) == (n, 32)


def test_the_split_depends_on_neither_order_nor_names_but_on_the_seed(tmp_path):
    found = photographs(tmp_path, 7, side=8)
    renamed = [replace(p, name=f"{len(found) - i}.jpg") for i, p in enumerate(found)][::-1]
    sides = [{p.digest for p in split(images, 3, 0)[1]} for images in (found, renamed)]
    assert sides[0] == sides[1]
    assert len({frozenset(p.digest for p in split(found, 3, seed)[1]) for seed in range(10)}) > 3


def test_copies_of_an_image_stay_on_one_side_and_count_once(tmp_path):
    found = photographs(tmp_path, 4, side=8)
    copies = found + [replace(p, name=f"copy of {p.name}") for p in found]
    for seed in range(6):
        training, validation = split(copies, 2, seed)
        assert not {p.digest for p in training} & {p.digest for p in validation}
        assert len(training) == len(validation) == 4


@pytest.mark.parametrize(("n_images", "n_copies", "n_validation"), [(3, 1, 3), (3, 1, 4), (1, 5, 1), (1, 1, 1)])
def test_too_few_different_images_are_refused(tmp_path, n_images, n_copies, n_validation):
    found = photographs(tmp_path, n_images, side=8) * n_copies
    with pytest.raises(InputError, match=f"{n_images} different images can't give {n_validation}"):
        split(found, n_validation, 0)


def test_a_photograph_that_stands_in_a_benchmark_is_refused_by_both_names(tmp_path):
    found = photographs(tmp_path, 3, side=8)
    benchmark = [replace(found[1], name="img_001.png")]
    refuse_benchmark_images([found[0], found[2]], benchmark)
    with pytest.raises(InputError, match=r"1.png is the benchmark image img_001.png"):
        refuse_benchmark_images(found, benchmark)


# -- pairs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
@pytest.mark.parametrize("size", [(16, 24), (17, 31)])
def test_a_pair_is_the_image_cut_to_the_scale_and_its_reduction(scale, size):
    pixels = random_pixels(*size)
    low, high = low_and_high(pixels, scale)
    height, width = size[0] // scale, size[1] // scale
    assert np.array_equal(high, pixels[: height * scale, : width * scale])
    assert low.shape == (height, width, 3)
    assert np.array_equal(low, to_pixels(resize_bicubic(to_tensor(high)[None], 1 / scale))[0])


def test_a_patch_as_large_as_the_image_is_the_image_turned_or_mirrored(tmp_path):
    (image,) = photographs(tmp_path, 1, side=32)
    low, high = low_and_high(image.pixels, 4)
    ways = list(zip(turned(low), turned(high), strict=True))
    batches = PatchPairs(low_and_high_of([image]), side=8, batch=80, seed=0)
    met = set()
    for small, large in zip(*map(to_pixels, batches[0]), strict=True):
        way = [i for i, (a, b) in enumerate(ways) if np.array_equal(small, a) and np.array_equal(large, b)]
        assert len(way) == 1
        met.add(way[0])
    assert met == set(range(8))


def test_a_patch_is_cut_at_the_same_place_of_both_sides(tmp_path):
    found = photographs(tmp_path, 2, side=48)
    lows, highs = PatchPairs(low_and_high_of(found), side=6, batch=30, seed=1)[0]
    assert (lows.shape, highs.shape) == ((30, 3, 6, 6), (30, 3, 24, 24))
    windows = {}  # the bytes of every low patch, in every way it can lie -> its high one
    for image in found:
        low, high = low_and_high(image.pixels, 4)
        for top, left in product(range(12 - 6 + 1), repeat=2):
            small = low[top : top + 6, left : left + 6]
            large = high[4 * top : 4 * top + 24, 4 * left : 4 * left + 24]
            for a, b in zip(turned(small), turned(large), strict=True):
                windows[a.tobytes()] = b, image.name, top, left
    met = set()
    for small, large in zip(*map(to_pixels, (lows, highs)), strict=True):
        expected, *place = windows[small.tobytes()]
        assert np.array_equal(large, expected)
        met.add(tuple(place))
    assert len(met) > 20
    assert {0, 6} <= {top for _, top, _ in met}
    assert {0, 6} <= {left for *_, left in met}


def test_a_batch_depends_on_the_seed_and_its_index_alone(tmp_path):
    found = photographs(tmp_path, 3)
    first, again, other = (PatchPairs(low_and_high_of(found), 8, 4, seed) for seed in (0, 0, 1))
    in_order = [first[index] for index in range(4)]
    for index in (3, 1, 0, 2):
        assert all(torch.equal(a, b) for a, b in zip(again[index], in_order[index], strict=True))
        assert not torch.equal(other[index][0], in_order[index][0])
    assert len({low.numpy().tobytes() for low, _ in in_order}) == 4


def test_larger_images_are_cut_more_often(tmp_path):
    write_images(tmp_path, {"dark.png": random_pixels(96, 96) // 8, "bright.png": random_pixels(32, 32) // 8 + 200})
    lows, _ = PatchPairs(low_and_high_of(load(listed(tmp_path), 32, unexpected)), 8, 400, seed=0)[0]
    assert 0.84 < (lows.mean((1, 2, 3)) < 0.5).float().mean() < 0.96  # 9 of 10 by area


# -- memory -----------------------------------------------------------------------------------------------


def test_photographs_that_do_not_fit_in_memory_are_cut_as_those_that_do(tmp_path):
    photographs(tmp_path, 6, side=50)
    least = 3 * 50 * 50
    batches = []
    for most_bytes in (0, 2 * least, 100 * least):
        kept = Kept(most_bytes)
        pairs = LowAndHigh(load(listed(tmp_path), 48, unexpected, kept), 4, kept)
        assert kept.bytes == min(most_bytes, 6 * least)
        batches.append([PatchPairs(pairs, 8, 4, seed=0)[index] for index in range(20)])
        assert pairs.at_hand == (most_bytes > 6 * least)
    for small, some, every in zip(*batches, strict=True):
        assert all(torch.equal(a, b) and torch.equal(a, c) for a, b, c in zip(small, some, every, strict=True))


def test_a_set_that_fits_in_memory_is_read_from_its_files_once(tmp_path):
    kept = Kept(1 << 20)
    photographs(tmp_path, 3)
    found = load(listed(tmp_path), 48, unexpected, kept)
    for path in listed(tmp_path):
        path.unlink()
    pairs = LowAndHigh(found, 4, kept)
    assert not pairs.at_hand
    assert len(PatchPairs(pairs, 8, 50, seed=0)[0][0]) == 50 and pairs.at_hand
    pairs.forget()
    assert not pairs.at_hand and kept.bytes == 0


def test_a_photograph_that_is_gone_or_another_when_it_is_read_again_is_named(tmp_path):
    gone, other, same = photographs(tmp_path, 3)
    (tmp_path / "0.png").unlink()
    write_images(tmp_path, {"1.png": random_pixels(48, 48, 9)})
    with pytest.raises(InputError, match=r"0.png can't be read any more: .*No such file.*; put it back"):
        _ = gone.pixels
    with pytest.raises(InputError, match=r"1.png is another picture than before; put the first one back"):
        _ = other.pixels
    assert np.array_equal(same.pixels, random_pixels(48, 48, 2))


def test_the_photographs_of_a_job_go_to_another_process_without_their_pixels(tmp_path):
    write_images(tmp_path, {f"{seed}.png": random_pixels(96, 96, seed) for seed in range(4)})
    counts = {"patch": 4, "batch": 2, "validation_images": 2, "validation_crops": 2, "crop": 32}
    settings = DataSection.model_validate({"folder": str(tmp_path), **counts})
    data = PhotographData(settings, 4, 0, print)
    before = data.training((0,))[5]
    sent = pickle.dumps(data)
    assert len(sent) < 96 * 96
    assert all(torch.equal(a, b) for a, b in zip(pickle.loads(sent).training((0,))[5], before, strict=True))


# -- validation -------------------------------------------------------------------------------------------


def photograph(name: str, pixels: Pixels) -> Photograph:
    return Photograph(name, pixels.shape[:2], name, lambda: pixels)


def test_validation_crops_are_the_most_detailed_dealt_evenly_over_the_images():
    flat, detailed = np.full((32, 32, 3), 90, np.uint8), random_pixels(32, 32, 1)
    first = np.concatenate([flat, detailed, flat], axis=1)
    second = np.concatenate([random_pixels(32, 32, 2), flat], axis=0)
    low, high = validation_crops([photograph("a", first), photograph("b", second)], 4, 32, 2)
    assert (low.shape, high.shape) == ((2, 3, 8, 8), (2, 3, 32, 32))
    assert np.array_equal(to_pixels(high), np.stack([detailed, second[:32]]))
    assert np.array_equal(to_pixels(low), np.stack([low_and_high(crop, 4)[0] for crop in (detailed, second[:32])]))


def test_validation_crops_never_overlap():
    pixels = np.arange(50 * 70, dtype=np.uint32).reshape(50, 70)
    image = np.stack([pixels >> 8, pixels & 255, pixels * 0], axis=2).astype(np.uint8)  # every pixel is another
    _, high = validation_crops([photograph("a", image)], 2, 16, 12)
    every = to_pixels(high).reshape(-1, 3)
    assert len(high) == 12
    assert len(np.unique(every, axis=0)) == len(every)


def test_whole_images_are_batches_of_one_cut_to_the_scale():
    images = [photograph("a", random_pixels(17, 30, 1)), photograph("b", random_pixels(24, 16, 2))]
    pairs = whole_images(low_and_high_of(images), 3)
    assert [(tuple(low.shape), tuple(high.shape)) for low, high in pairs] == [
        ((1, 3, 4, 7), (1, 3, 16, 28)),
        ((1, 3, 6, 4), (1, 3, 24, 16)),
    ]
    assert np.array_equal(to_pixels(pairs[0][1])[0], images[0].pixels[:16, :28])


def test_the_fingerprint_depends_on_the_images_and_the_protocol_not_on_order_or_names(tmp_path):
    found = photographs(tmp_path, 3, side=8)
    renamed = [replace(p, name="x") for p in found][::-1]
    assert fingerprint(found, 1, "a") == fingerprint(renamed, 1, "a")
    uses = [(found, 1, "a"), (found[:2], 1, "a"), (found, 2, "a"), (found, 1, "b"), (found,)]
    assert len({fingerprint(*use) for use in uses}) == 5
