"""Picture files as cameras, phones and systems write them: used upright, or named; nothing is dropped in silence."""

import base64
import struct
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from supernet_fixtures import random_pixels, unexpected, write_images

from evo_c2f.errors import InputError
from supernet.data.aligned import check_sizes, split_files
from supernet.data.benchmarks import benchmark_highs, read_benchmark
from supernet.data.images import read_rgb
from supernet.data.photographs import load
from supernet.data.picture_files import listed, tell_losses, tell_others
from supernet.models.pictures import apply, plan, read_picture
from supernet.pictures.decoding import RGB, read
from supernet.pictures.opening import EIGHT_BITS, FIRST_PAGE, NO_EXIF, ON_WHITE, SUFFIXES, TO_RGB, opening
from supernet.pictures.pairs import read_pair
from supernet.pictures.writing import NO_EXIF_HERE, save_picture

CPU = torch.device("cpu")
HIDDEN = ("._1000_AB.jpg", ".DS_Store", ".hidden.png", "Thumbs.db", "desktop.ini")


class Same(torch.nn.Module):
    """The image itself, so that what is written must be what was read."""

    scale, block, grain, reach, input_channels = 1, 1, 1, 0, 3

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def entry(tag: int, kind: int, count: int, value: bytes) -> bytes:
    return struct.pack("<HHI", tag, kind, count) + value.ljust(4, b"\0")


def exif_of(*entries: bytes) -> bytes:
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)


TURNED = entry(0x0112, 3, 1, struct.pack("<H", 6))
BROKEN_EXIF = {
    "XResolution is UNDEFINED": exif_of(TURNED, entry(0x011A, 7, 4, b"abcd")),
    "a garbage header": b"Exif\0\0garbage, and no TIFF",
    "XResolution is of text": exif_of(entry(0x011A, 2, 4, b"abc\0")),
    "cut short": exif_of(TURNED)[:-9],
    "an IFD beyond the end": exif_of(TURNED, entry(0x8769, 4, 1, struct.pack("<I", 1 << 30))),
}


def through(path: Path, out: Path) -> tuple[list[Path], list[str]]:
    """(what `apply` wrote, what it said)."""
    said: list[str] = []
    return list(apply(Same(), plan(path, out, overwrite=False), 64, CPU, said.append)), said


@pytest.mark.parametrize("exif", BROKEN_EXIF.values(), ids=BROKEN_EXIF)
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_a_picture_of_broken_exif_is_used_by_every_command(tmp_path: Path, exif: bytes, suffix: str):
    path, stored = tmp_path / "in" / f"a{suffix}", random_pixels(48, 48)
    path.parent.mkdir()
    Image.fromarray(stored).save(path, exif=exif)
    assert read_rgb(path).shape == (48, 48, 3) and read_picture(path).colour.shape == (48, 48, 3)
    assert check_sizes([path])[path] == (48, 24) and read_pair(path, "AtoB")[0].shape == (48, 24, 3)
    written, _ = through(path.parent, tmp_path / "out")
    assert [p.name for p in written] == [path.name]
    with Image.open(written[0]) as image:
        assert image.size == (48, 48) and image.getexif().get(0x0112, 1) == 1


def test_exif_that_is_left_out_is_said(tmp_path: Path):
    Image.fromarray(random_pixels(48, 48)).save(tmp_path / "a.jpg", exif=BROKEN_EXIF["a garbage header"])
    said: list[str] = []
    load([tmp_path / "a.jpg"], 8, said.append)
    assert said == [f"not used as in the file (1), {NO_EXIF}: a.jpg"]
    assert through(tmp_path, tmp_path / "out")[1] == said


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_the_header_and_the_pixels_have_one_size_which_is_that_of_the_upright_picture(
    tmp_path: Path, orientation: int, suffix: str
):
    path, exif = tmp_path / f"a{suffix}", Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(random_pixels(256, 512)).save(path, exif=exif)
    size = (256, 512) if orientation < 5 else (512, 256)
    with opening(path) as opened:
        assert opened.size == size
    assert read_rgb(path).shape[:2] == read_picture(path).colour.shape[:2] == size
    assert check_sizes([path])[path] == (size[0], size[1] // 2)


def test_the_exif_behind_a_pngs_pixels_is_followed_too(tmp_path: Path):
    file = BytesIO()
    Image.fromarray(random_pixels(8, 12)).save(file, "PNG")
    data = file.getvalue()
    (tmp_path / "a.png").write_bytes(data)
    with opening(tmp_path / "a.png") as opened:
        assert opened.size == (8, 12)
    import zlib

    body = b"eXIf" + exif_of(TURNED)[6:]
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    (tmp_path / "a.png").write_bytes(data[:-12] + chunk + data[-12:])
    with opening(tmp_path / "a.png") as opened:
        assert opened.size == (12, 8)
    assert read_rgb(tmp_path / "a.png").shape == (12, 8, 3)


def test_hidden_files_are_no_pictures_to_any_command(tmp_path: Path):
    write_images(tmp_path / "train", {"a.png": random_pixels(16, 32)})
    for name in HIDDEN:
        (tmp_path / "train" / name).write_bytes(bytes(100))
    found = [tmp_path / "train" / "a.png"]
    assert split_files(tmp_path, "train") == listed(tmp_path / "train") == found
    assert [source for source, _ in plan(tmp_path / "train", tmp_path / "out", False)] == found
    tell_others(tmp_path / "train", unexpected)


def test_hidden_files_are_no_benchmark_images_and_no_hint(tmp_path: Path):
    high, low = random_pixels(16, 16), random_pixels(4, 4)
    write_images(tmp_path, {"HR/a.png": high, "LR_bicubic/X4/ax4.png": low})
    for folder in ("HR", "LR_bicubic/X4"):
        (tmp_path / folder / "._a.png").write_bytes(bytes(100))
    assert read_benchmark(tmp_path, 4)[0] == ["a"]
    assert benchmark_highs(tmp_path) == [tmp_path / "HR" / "a.png"]
    (tmp_path / "deep" / "x").mkdir(parents=True)
    (tmp_path / "deep" / "x" / "._b.png").write_bytes(bytes(100))
    with pytest.raises(InputError, match=r"holds no image \([^)]*\)$"):
        listed(tmp_path / "deep")


def test_what_is_not_read_of_a_folder_is_counted_and_named(tmp_path: Path):
    write_images(tmp_path, {"a.png": random_pixels(8, 8), "more/b.png": random_pixels(8, 8)})
    for name in ("c.heic", "notes.txt"):
        (tmp_path / name).touch()
    said: list[str] = []
    (tmp_path / "more" / "d.psd").touch()
    (tmp_path / "more" / ".e.txt").touch()
    tell_others(tmp_path, said.append)
    tell_others(tmp_path, said.append, tmp_path / "more")
    words = f"left out of {tmp_path}, not named like pictures"
    assert said == [f"{words} (3): c.heic, more/d.psd, notes.txt", f"{words} (2): c.heic, notes.txt"]


def test_many_losses_are_one_sentence_each():
    said: list[str] = []
    tell_losses({f"{i}.png": (EIGHT_BITS, ON_WHITE) if i == 3 else (EIGHT_BITS,) for i in range(12)}, said.append)
    assert len(said) == 2 and said[0].startswith("not used as in the file (12)") and said[0].endswith(" and 2 others")
    assert said[1] == f"not used as in the file (1), {ON_WHITE}: 3.png"


def pages(path: Path, **options: object) -> None:
    first, *rest = (Image.fromarray(random_pixels(16, 20, seed)) for seed in range(3))
    first.save(path, save_all=True, append_images=rest, **options)


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png", ".tif", *(SUFFIXES & {".avif"})])
def test_of_several_pages_the_first_is_used_with_a_word_that_says_so(tmp_path: Path, suffix: str):
    path = tmp_path / f"a{suffix}"
    pages(path, **({"lossless": True} if suffix == ".webp" else {}))
    pixels, losses = read(path, RGB)
    assert losses == (FIRST_PAGE,) == read_picture(path).losses
    if suffix in (".webp", ".png", ".tif"):
        assert np.array_equal(pixels, random_pixels(16, 20, 0))
    said: list[str] = []
    check_sizes([path], said.append)
    load([path], 8, said.append)
    assert said == [
        f"not used as in the file (1), {FIRST_PAGE}: {place}a{suffix}" for place in (f"{tmp_path.name}/", "")
    ]


@pytest.mark.parametrize("suffix", sorted(SUFFIXES - {".gif", ".npy"}))
def test_every_suffix_that_is_read_is_written(tmp_path: Path, suffix: str):
    Image.fromarray(random_pixels(16, 20)).save(tmp_path / f"a{suffix}")
    written, said = through(tmp_path, tmp_path / "out")
    assert [p.name for p in written] == [f"a{suffix}"] and said == []
    assert read_rgb(written[0]).shape == (16, 20, 3)


def test_a_gif_is_written_as_png_unless_another_picture_is(tmp_path: Path):
    Image.fromarray(random_pixels(16, 20)).save(tmp_path / "a.gif")
    written, said = through(tmp_path, tmp_path / "out")
    assert written == [tmp_path / "out" / "a.png"] and "written as PNG" in said[0]
    assert np.array_equal(read_rgb(written[0]), read_rgb(tmp_path / "a.gif"))
    Image.fromarray(random_pixels(16, 20)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a\.gif, a\.png would all be written to .*a\.png"):
        plan(tmp_path, tmp_path / "more", overwrite=False)


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_of_colour_stay_sixteen_bits(tmp_path: Path, suffix: str, channels: int):
    pixels = np.random.default_rng(0).integers(0, 65536, (9, 13, channels), dtype=np.uint16)
    profile = b"a profile" * 20
    save_picture(pixels, tmp_path / f"a{suffix}", {"icc_profile": profile})
    written, said = through(tmp_path, tmp_path / "out")
    assert said == ([f"not used as in the file (1), {NO_EXIF_HERE}: a.tif"] if suffix == ".tif" else [])
    again = read_picture(written[0])
    assert again.deep and again.info["icc_profile"] == profile
    np.testing.assert_array_equal((again.colour * 65535).round(), pixels[..., :3])
    if channels == 4:
        np.testing.assert_array_equal((np.asarray(again.alpha) * 65535).round(), pixels[..., 3])


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_sixteen_bits_are_read_in_either_order_of_bytes(tmp_path: Path, byteorder, compression):
    pixels = np.random.default_rng(0).integers(0, 65536, (9, 13, 3), dtype=np.uint16)
    how = {"photometric": "rgb", "byteorder": byteorder, "compression": compression}
    tifffile.imwrite(tmp_path / "a.tif", pixels, **how)
    np.testing.assert_array_equal((read_picture(tmp_path / "a.tif").colour * 65535).round(), pixels)
    assert read(tmp_path / "a.tif", RGB)[1] == (EIGHT_BITS,)  # training reads 8


def test_a_turned_picture_of_sixteen_bits_is_read_upright(tmp_path: Path):
    pixels = np.random.default_rng(0).integers(0, 65536, (9, 13, 3), dtype=np.uint16)
    save_picture(pixels, tmp_path / "a.png", {"exif": exif_of(TURNED)})
    found = (read_picture(tmp_path / "a.png").colour * 65535).round()
    np.testing.assert_array_equal(found, np.rot90(pixels, -1))


@pytest.mark.parametrize(
    ("name", "mode", "lost"), [("a.png", "I;16", EIGHT_BITS), ("a.png", "RGBA", ON_WHITE), ("a.tif", "CMYK", TO_RGB)]
)
def test_what_training_loses_of_a_picture_is_said(tmp_path: Path, name: str, mode: str, lost: str):
    Image.new(mode, (16, 16)).save(tmp_path / name)
    said: list[str] = []
    load([tmp_path / name], 8, said.append)
    assert said == [f"not used as in the file (1), {lost}: {name}"]


def test_a_profile_is_kept_but_not_that_of_colours_that_were_converted(tmp_path: Path):
    Image.new("RGB", (16, 16)).save(tmp_path / "a.jpg", icc_profile=b"rgb")
    Image.new("CMYK", (16, 16)).save(tmp_path / "b.jpg", icc_profile=b"cmyk")
    through(tmp_path, tmp_path / "out")
    with Image.open(tmp_path / "out" / "a.jpg") as kept, Image.open(tmp_path / "out" / "b.jpg") as converted:
        assert kept.info["icc_profile"] == b"rgb" and "icc_profile" not in converted.info


def test_exif_that_a_format_can_not_hold_is_left_out_with_a_word(tmp_path: Path):
    exif = Image.Exif()
    exif[0x010E] = "x" * 70_000  # more than a JPEG can hold
    for name in ("a.jpg", "a.bmp"):
        image = Image.fromarray(random_pixels(16, 16))
        image.save(tmp_path / "a.png", exif=exif)
        lost = save_picture(image, tmp_path / name, read_picture(tmp_path / "a.png").info)
        assert len(lost) == 1 and "EXIF" in lost[0] and read_rgb(tmp_path / name).shape == (16, 16, 3)


def test_exif_tells_nothing_of_the_file_that_was_read(tmp_path: Path):
    image = Image.fromarray(random_pixels(16, 20))
    image.save(tmp_path / "a.tif", compression="tiff_lzw", tiffinfo={0x010F: "a maker"})
    (tmp_path / "out").mkdir()
    info = read_picture(tmp_path / "a.tif").info
    save_picture(image.resize((40, 32)), tmp_path / "out" / "a.tif", info)
    save_picture(image.resize((40, 32)), tmp_path / "out" / "a.jpg", info)
    for name in ("a.tif", "a.jpg"):
        assert read_rgb(tmp_path / "out" / name).shape == (32, 40, 3)
    with Image.open(tmp_path / "out" / "a.jpg") as found:
        assert found.getexif()[0x010F] == "a maker" and 256 not in found.getexif() and 273 not in found.getexif()


@pytest.mark.parametrize(("values", "words"), [(np.int32, "signed, or of 32 bits"), (np.float32, "floating-point")])
def test_numbers_of_unknown_range_are_refused(tmp_path: Path, values, words):
    tifffile.imwrite(tmp_path / "a.tif", np.full((8, 8), 70_000, values))
    with pytest.raises(InputError, match=words):
        read_picture(tmp_path / "a.tif")


def test_a_picture_of_many_pixels_is_used_and_one_of_too_many_is_named(tmp_path: Path, monkeypatch, recwarn):
    Image.fromarray(random_pixels(40, 48)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # Pillow warns from here, and refuses twice as many
    assert read_rgb(tmp_path / "a.png").shape == (40, 48, 3) and not recwarn.list
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 900)
    written, said = through(tmp_path, tmp_path / "out")
    assert written == [] and "a.png can't be read" in said[0] and "exceeds limit of 1800 pixels" in said[0]


def test_no_file_is_handed_to_a_program_of_the_machine(tmp_path: Path):
    Image.fromarray(random_pixels(16, 16)).save(tmp_path / "a.eps")  # which Pillow has Ghostscript draw
    (tmp_path / "a.eps").rename(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a\.png can't be read: cannot identify"):
        read_picture(tmp_path / "a.png")


# 16x16 pixels, written by `avifenc --depth 10` and 12: Pillow writes 8 bits alone.
DEEP_AVIF = {
    10: (
        "AAAAIGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZk1BMUEAAADybWV0YQAAAAAAAAAoaGRscgAAAAAAAAAAcGljdAAAAAAAAAAAAAAA"
        "AGxpYmF2aWYAAAAADnBpdG0AAAAAAAEAAAAeaWxvYwAAAABEAAABAAEAAAABAAABGgAAAB8AAAAoaWluZgAAAAAAAQAAABppbmZl"
        "AgAAAAABAABhdjAxQ29sb3IAAAAAamlwcnAAAABLaXBjbwAAABRpc3BlAAAAAAAAABAAAAAQAAAAEHBpeGkAAAAAAwoKCgAAAAxh"
        "djFDgSBAAAAAABNjb2xybmNseAABAA0ABoAAAAAXaXBtYQAAAAAAAAABAAEEAQKDBAAAACdtZGF0EgAKCDgM//nAQ0GkMhEWQAAA"
        "QAACBSd5IB5EetBqVw=="
    ),
    12: (
        "AAAAHGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZgAAAPJtZXRhAAAAAAAAAChoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAbGli"
        "YXZpZgAAAAAOcGl0bQAAAAAAAQAAAB5pbG9jAAAAAEQAAAEAAQAAAAEAAAEWAAAAIAAAAChpaW5mAAAAAAABAAAAGmluZmUCAAAA"
        "AAEAAGF2MDFDb2xvcgAAAABqaXBycAAAAEtpcGNvAAAAFGlzcGUAAAAAAAAAEAAAABAAAAAQcGl4aQAAAAADDAwMAAAADGF2MUOB"
        "QGAAAAAAE2NvbHJuY2x4AAEADQAGgAAAABdpcG1hAAAAAAAAAAEAAQQBAoMEAAAAKG1kYXQSAAoJWAz/+dAQ0GiAMhEWQAAAQAAB"
        "wPdOf6f3t0JEIA=="
    ),
}


@pytest.mark.skipif(".avif" not in SUFFIXES, reason="this Pillow reads no AVIF")
@pytest.mark.parametrize("bits", [8, 10, 12])
def test_the_bits_of_an_avif_that_are_not_read_are_told(tmp_path: Path, bits: int):
    if bits == 8:
        Image.fromarray(random_pixels(16, 16)).save(tmp_path / "a.avif")
    else:
        (tmp_path / "a.avif").write_bytes(base64.b64decode(DEEP_AVIF[bits]))
    losses = () if bits == 8 else (f"8 of its {bits} bits a channel are read",)
    pixels, told = read(tmp_path / "a.avif", RGB)
    assert pixels.shape == (16, 16, 3) and told == losses == read_picture(tmp_path / "a.avif").losses
