"""Pictures of other channels and numbers than 8-bit RGB: read as they are, or refused in one sentence."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from evo_c2f.errors import InputError
from supernet.data.photographs import load
from supernet.data.picture_files import listed
from supernet.pictures.decoding import RGB, TO_GREY, Reading, header, read
from supernet.pictures.opening import EIGHT_BITS, FIRST_PAGE, ON_WHITE
from supernet.pictures.writing import save_deep

DTYPES: dict[Any, Any] = {8: np.uint8, 16: np.uint16, "float": np.float32}


def levels(channels: int, depth: Any = 8, size: tuple[int, int] = (6, 9)) -> np.ndarray:
    shares = np.random.default_rng(channels).random((*size, channels), np.float32)
    return shares if depth == "float" else (shares * np.iinfo(DTYPES[depth]).max).astype(DTYPES[depth])


def write(path: Path, pixels: np.ndarray, layout: str = "samples") -> Path:
    if path.suffix == ".npy":
        np.save(path, pixels)
    elif path.suffix == ".tif":
        pixels = np.moveaxis(pixels, 2, 0) if layout != "samples" else pixels
        how = {"samples": {"planarconfig": "contig"}, "planar": {"planarconfig": "separate"}, "pages": {}}[layout]
        pixels, how = (pixels.squeeze(), {}) if 1 in pixels.shape else (pixels, how)
        tifffile.imwrite(path, pixels, photometric="minisblack", **how)
    else:
        Image.fromarray(pixels.squeeze()).save(path)
    return path


@pytest.mark.parametrize("depth", DTYPES)
@pytest.mark.parametrize("channels", [1, 2, 7, 16])
@pytest.mark.parametrize(
    ("name", "layout"), [("a.npy", ""), ("a.tif", "samples"), ("a.tif", "planar"), ("a.tif", "pages")]
)
def test_any_number_of_channels_is_read_as_it_is(tmp_path, depth, channels, name, layout):
    if channels == 1 and layout == "planar":
        return  # which TIFF doesn't have
    pixels = levels(channels, depth)
    write(tmp_path / name, pixels, layout)
    found, losses = read(tmp_path / name, Reading(channels, depth))
    assert found.dtype == pixels.dtype and np.array_equal(found, pixels) and losses == ()
    assert header(tmp_path / name, Reading(channels, depth)) == ((6, 9), ())


@pytest.mark.parametrize(
    ("channels", "depth", "name"), [(1, 8, "a.png"), (1, 16, "a.png"), (1, 8, "a.bmp"), (4, 8, "a.png")]
)
def test_pictures_of_usual_formats_are_read_as_they_are(tmp_path, channels, depth, name):
    pixels = levels(channels, depth)
    found, losses = read(write(tmp_path / name, pixels), Reading(channels, depth))
    assert found.dtype == pixels.dtype and np.array_equal(found, pixels) and losses == ()


def test_an_array_without_a_third_axis_has_one_channel(tmp_path):
    np.save(tmp_path / "a.npy", levels(1)[..., 0])
    assert np.array_equal(read(tmp_path / "a.npy", Reading(1))[0], levels(1))
    assert np.array_equal(read(tmp_path / "a.npy", RGB)[0], levels(1).repeat(3, axis=2))


def test_numbers_of_fewer_bits_are_scaled_and_of_more_are_rounded_and_named(tmp_path):
    for depth in (8, 16):
        write(tmp_path / f"{depth}.npy", levels(7, depth))
    shares = levels(7, 16) / np.float32(65535)
    assert np.array_equal(read(tmp_path / "8.npy", Reading(7, 16))[0], levels(7).astype(np.uint16) * 257)
    assert np.array_equal(read(tmp_path / "16.npy", Reading(7, "float"))[0], shares)
    found, losses = read(tmp_path / "16.npy", Reading(7, 8))
    assert np.array_equal(found, (shares.astype(float) * 255).round()) and losses == (EIGHT_BITS,)


def test_grey_that_was_stored_as_colours_is_grey_and_colours_become_grey_by_their_brightness(tmp_path):
    grey = write(tmp_path / "grey.png", levels(1).repeat(3, axis=2))
    assert read(grey, Reading(1))[1] == () and np.array_equal(read(grey, Reading(1))[0], levels(1))
    colours = write(tmp_path / "colours.png", levels(3))
    found, losses = read(colours, Reading(1))
    assert losses == (TO_GREY,)
    assert abs(found[..., 0].astype(int) - np.asarray(Image.open(colours).convert("L"))).max() <= 1


def test_the_fourth_of_four_channels_may_be_a_picture_s_alpha(tmp_path):
    path = write(tmp_path / "a.png", levels(4))
    assert np.array_equal(read(path, Reading(4))[0], levels(4))
    assert read(path, Reading(1))[1] == (TO_GREY, ON_WHITE)


def test_alpha_is_laid_on_white_in_16_bits_too(tmp_path):
    pixels = np.array([[[9, 9, 9, 0], [9, 9, 9, 65535], [0, 0, 0, 32768]]], np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=["unassalpha"])
    found, losses = read(tmp_path / "a.tif", Reading(3, 16))
    assert found[0, :, 0].tolist() == [65535, 9, 32767] and losses == (ON_WHITE,)


def test_of_a_tiff_of_many_pages_one_channel_or_three_are_the_first_page(tmp_path):
    path = write(tmp_path / "a.tif", levels(7), "pages")
    assert read(path, Reading(1))[1] == (FIRST_PAGE,) and np.array_equal(read(path, Reading(1))[0], levels(7)[..., :1])


def bad(value: float) -> np.ndarray:
    pixels = levels(7, "float")
    pixels[2, 3, 4] = value
    return pixels


REFUSED = {
    "other channels": (levels(5), "it has 5 channels, not 7"),
    "not a number": (bad(np.nan), "not all of its floating-point numbers are finite"),
    "infinite": (bad(np.inf), "not all of its floating-point numbers are finite"),
    "beyond white": (bad(1.25), "its floating-point numbers lie in .*1.25; scale them to 0..1"),
    "below black": (bad(-0.5), r"lie in -0.5\.\."),
    "signed": (levels(7).astype(np.int32), "its numbers are int32; give 8 or 16 bits, or floats in 0..1"),
    "a row": (levels(7)[0, :, 0], "it has 1 dimensions; an image is"),
    "objects": (np.array([[{}]], dtype=object), "object"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_array_that_is_no_such_picture_is_refused_in_one_sentence(tmp_path, name):
    pixels, words = REFUSED[name]
    np.save(tmp_path / "a.npy", pixels, allow_pickle=True)
    with pytest.raises(ValueError, match=words):
        read(tmp_path / "a.npy", Reading(7, "float"))


def test_a_damaged_array_and_floats_where_none_are_wanted_are_refused(tmp_path):
    path = write(tmp_path / "a.npy", levels(7, "float"))
    with pytest.raises(ValueError, match="set data.depth to float"):
        read(path, Reading(7))
    path.write_bytes(path.read_bytes()[:-9])
    for damaged in (path, path.with_name("none.npy")):
        damaged.touch()
        with pytest.raises(ValueError, match=r"\A[^\n]+\Z"):
            read(damaged, Reading(7, "float"))


def test_a_photograph_of_other_channels_is_named_and_left_out(tmp_path):
    for channels in (5, 7):
        np.save(tmp_path / f"{channels}.npy", levels(channels))
    said: list[str] = []
    (found,) = load(listed(tmp_path), 1, said.append, reading=Reading(7))
    assert found.pixels.shape == (6, 9, 7) and said == ["5.npy is left out: it has 5 channels, not 7"]
    with pytest.raises(InputError, match="none of the 2 images"):
        load(listed(tmp_path), 1, said.append, reading=Reading(4))


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("channels", [3, 4])
def test_sixteen_bits_in_planes_of_their_own_are_read_whole(tmp_path: Path, channels: int, compression) -> None:
    pixels = levels(channels, 16)
    how: dict[str, Any] = {"photometric": "rgb", "planarconfig": "separate", "compression": compression}
    tifffile.imwrite(tmp_path / "a.tif", np.moveaxis(pixels, 2, 0), **how)
    np.testing.assert_array_equal(read(tmp_path / "a.tif", Reading(channels, 16))[0], pixels)


def test_grey_of_sixteen_bits_with_alpha_is_read_whole(tmp_path: Path) -> None:
    both = levels(2, 16)
    save_deep(both, tmp_path / "a.png", {})
    pixels, losses = read(tmp_path / "a.png", Reading(2, 16))
    np.testing.assert_array_equal(pixels, both)
    assert losses == () == header(tmp_path / "a.png", Reading(2, 16))[1]
    grey, losses = read(tmp_path / "a.png", Reading(1))
    assert grey.shape == (6, 9, 1) and losses == (EIGHT_BITS, ON_WHITE)
    tifffile.imwrite(tmp_path / "a.tif", both, photometric="minisblack", planarconfig="contig", extrasamples=[2])
    np.testing.assert_array_equal(read(tmp_path / "a.tif", Reading(2, 16))[0], both)
    for reading in (Reading(1), Reading(1, 16)):
        found, losses = read(tmp_path / "a.tif", reading)
        np.testing.assert_array_equal(found, read(tmp_path / "a.png", reading)[0])
        assert losses == read(tmp_path / "a.png", reading)[1] == header(tmp_path / "a.tif", reading)[1]


@pytest.mark.parametrize("channels", [1, 3])
def test_a_transparent_grey_or_colour_of_sixteen_bits_is_laid_on_white(tmp_path: Path, channels: int) -> None:
    pixels = levels(channels, 16)
    save_deep(pixels, tmp_path / "a.png", {})
    transparent = pixels[2, 3].astype(">u2").tobytes()
    content = (tmp_path / "a.png").read_bytes()
    chunk = b"tRNS" + transparent
    chunk = struct.pack(">I", len(transparent)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    at = content.index(b"IDAT") - 4
    (tmp_path / "a.png").write_bytes(content[:at] + chunk + content[at:])
    found, losses = read(tmp_path / "a.png", Reading(channels, 16))
    expected = pixels.copy()
    expected[(pixels == pixels[2, 3]).all(axis=2)] = 65535
    np.testing.assert_array_equal(found, expected)
    assert losses == (ON_WHITE,)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_other_numbers_are_not_written_as_sixteen_bits(tmp_path: Path, suffix: str) -> None:
    for dtype in (np.uint8, np.float32):
        with pytest.raises(ValueError, match=f"its numbers are {np.dtype(dtype)}, not of 16 bits"):
            save_deep(np.ones((6, 9, 3), dtype), tmp_path / f"a{suffix}", {})
    assert not [*tmp_path.iterdir()]
