from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from supernet_fixtures import random_pixels, write_images

from evo_c2f.errors import InputError
from supernet.data.benchmarks import benchmark_highs, read_benchmark
from supernet.data.images import to_pixels


def layout(name: str, scale: int) -> tuple[str, str]:
    """Where a layout keeps an image's high and low side."""
    return {
        "folders": ("HR/{}.png", f"LR_bicubic/X{scale}/{{}}x{scale}.png"),
        "folders, equal names": ("HR/{}.png", f"LR_bicubic/X{scale}/{{}}.png"),
        "flat": (f"{{}}_SRF_{scale}_HR.png", f"{{}}_SRF_{scale}_LR.png"),
    }[name]


def test_a_benchmark_may_lie_in_two_folders(tmp_path):
    write_images(tmp_path, {f"gt/s/{name}.png": random_pixels(24, 28, i) for i, name in enumerate("ab")})
    write_images(tmp_path, {f"lq/s/{name}x4.png": random_pixels(6, 7, i) for i, name in enumerate("ab")})
    names, batches = read_benchmark(tmp_path, 4)
    assert names == ["a", "b"]
    for i, (low, high) in enumerate(batches):
        assert np.array_equal(to_pixels(low)[0], random_pixels(6, 7, i))
        assert np.array_equal(to_pixels(high)[0], random_pixels(24, 28, i))
    assert benchmark_highs(tmp_path) == [tmp_path / "gt" / "s" / "a.png", tmp_path / "gt" / "s" / "b.png"]


every_layout = pytest.mark.parametrize("name", ["folders", "folders, equal names", "flat"])


@every_layout
@pytest.mark.parametrize("scale", [2, 4])
def test_a_benchmark_is_paired_by_name(tmp_path, name, scale):
    """Order would pair a with b: the sizes and colours tell them apart."""
    high_name, low_name = layout(name, scale)
    stems = ("a", "a_2", "b10", "b9")
    lows = {stem: random_pixels(6, 7, seed) for seed, stem in enumerate(stems)}
    highs = {stem: random_pixels(6 * scale, 7 * scale, seed + 9) for seed, stem in enumerate(stems)}
    write_images(tmp_path, {low_name.format(stem): pixels for stem, pixels in lows.items()})
    write_images(tmp_path, {high_name.format(stem): pixels for stem, pixels in highs.items()})
    write_images(tmp_path, {low_name.format("a_1"): random_pixels(6, 7)})  # no partner of any: it shifts the order
    names, batches = read_benchmark(tmp_path, scale)
    assert sorted(names) == sorted(stems)
    for stem, (low, high) in zip(names, batches, strict=True):
        assert np.array_equal(to_pixels(low), lows[stem][None])
        assert np.array_equal(to_pixels(high), highs[stem][None])


@every_layout
def test_a_benchmark_image_without_a_partner_is_named(tmp_path, name):
    high_name, low_name = layout(name, 4)
    write_images(tmp_path, {low_name.format("a"): random_pixels(6, 7)})
    write_images(tmp_path, {high_name.format(stem): random_pixels(24, 28) for stem in ("a", "lonely")})
    with pytest.raises(InputError, match="lonely.*no low-resolution partner at x4"):
        read_benchmark(tmp_path, 4)


@every_layout
@pytest.mark.parametrize(
    ("size", "fits"),
    [((24, 28), True), ((27, 31), True), ((28, 28), False), ((24, 32), False), ((23, 28), False), ((12, 14), False)],
)
def test_a_benchmarks_sizes_must_fit_up_to_less_than_one_low_pixel(tmp_path, name, size, fits):
    high_name, low_name = layout(name, 4)
    pixels = random_pixels(*size)
    write_images(tmp_path, {low_name.format("a"): random_pixels(6, 7), high_name.format("a"): pixels})
    if fits:
        _, batches = read_benchmark(tmp_path, 4)
        ((low, high),) = batches
        assert batches.shapes == [(low.shape, high.shape)] == [((1, 3, 6, 7), (1, 3, 24, 28))]
        assert np.array_equal(to_pixels(high)[0], pixels[:24, :28])
    else:
        with pytest.raises(InputError, match=f"a.*{size[1]}x{size[0]}, not 4 times"):
            read_benchmark(tmp_path, 4)


@pytest.mark.parametrize("made", ["nothing", "an empty folder", "images without a layout", "another scale"])
def test_a_folder_that_is_no_benchmark_is_named(tmp_path, made):
    folder = tmp_path / "Set"
    if made == "an empty folder":
        folder.mkdir()
    elif made == "images without a layout":
        write_images(folder, {"a.png": random_pixels(8, 8)})
    elif made == "another scale":
        write_images(folder, {"a_SRF_2_HR.png": random_pixels(8, 8), "a_SRF_2_LR.png": random_pixels(4, 4)})
    sentence = "no folder; name a benchmark" if made == "nothing" else "no x4 benchmark"
    with pytest.raises(InputError, match=f"{folder} is {sentence}"):
        read_benchmark(folder, 4)


@every_layout
@pytest.mark.parametrize("side", [0, 1], ids=["high", "low"])
def test_a_broken_benchmark_image_is_named(tmp_path, name, side):
    """It can't be left out: the figures of a benchmark are those of all its images."""
    names = [place.format("a") for place in layout(name, 4)]
    write_images(tmp_path, dict(zip(names, (random_pixels(24, 28), random_pixels(6, 7)), strict=True)))
    broken = tmp_path / names[side]
    broken.write_bytes(broken.read_bytes()[:60])
    with pytest.raises(InputError, match=broken.name):
        read_benchmark(tmp_path, 4)


@every_layout
def test_other_files_beside_a_benchmarks_images_are_passed_over(tmp_path, name):
    high_name, low_name = layout(name, 4)
    write_images(tmp_path, {low_name.format("a"): random_pixels(6, 7), high_name.format("a"): random_pixels(24, 28)})
    for place in (high_name, low_name):
        (tmp_path / place.format("a")).with_suffix(".txt").write_text("where this comes from")
    assert read_benchmark(tmp_path, 4)[0] == ["a"]


@every_layout
@pytest.mark.parametrize("side", [0, 1], ids=["high", "low"])
def test_two_images_of_one_name_in_a_benchmark_are_refused(tmp_path, name, side):
    names = [place.format("a") for place in layout(name, 4)]
    write_images(tmp_path, dict(zip(names, (random_pixels(24, 28), random_pixels(6, 7)), strict=True)))
    twin = Path(names[side]).with_suffix(".bmp")
    write_images(tmp_path, {str(twin): random_pixels(24, 28)})
    with pytest.raises(InputError, match=f"{Path(names[side]).name} has the name of {twin.name}.*rename one"):
        read_benchmark(tmp_path, 4)


def test_the_names_of_a_benchmark_may_differ_in_the_kind_of_file(tmp_path: Path):
    Image.fromarray(random_pixels(24, 28)).save(tmp_path / "a_SRF_4_HR.bmp")
    Image.fromarray(random_pixels(6, 7)).save(tmp_path / "a_SRF_4_LR.png")
    assert read_benchmark(tmp_path, 4)[0] == ["a"]


def test_pictures_that_do_not_fit_in_memory_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    images = {"gt/a.png": random_pixels(25, 28), "lq/a.png": random_pixels(6, 7), "gt/b.png": random_pixels(8, 8)}
    write_images(tmp_path, {**images, "lq/b.png": random_pixels(2, 2)})
    kept = [*read_benchmark(tmp_path, 4)[1]]
    monkeypatch.setattr("supernet.data.benchmarks.KEPT_BYTES", 700)  # b alone fits
    _, batches = read_benchmark(tmp_path, 4)
    for one, other in zip(batches, kept, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    (tmp_path / "lq" / "a.png").unlink()
    assert torch.equal(batches[1][0], kept[1][0])
    with pytest.raises(InputError, match="a.png can't be read"):
        batches[0]
