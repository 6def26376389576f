from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageCms, ImageOps
from supernet_fixtures import random_images, random_pixels, write_images

from evo_c2f.errors import InputError
from supernet.models.pictures import OTHER_PROFILE, apply, generate, info_for, plan, read_picture
from supernet.network.teacher import ResNetGenerator
from supernet.pictures.writing import save_picture

CPU = torch.device("cpu")


class Doubling(torch.nn.Module):
    """Each pixel twice along each side: what comes out is known exactly."""

    scale, block, grain, reach, input_channels = 2, 1, 1, 0, 3

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


@pytest.fixture
def colour() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (10, 14, 3), dtype=np.uint8)


def doubled(pixels: np.ndarray) -> np.ndarray:
    return pixels.repeat(2, axis=0).repeat(2, axis=1)


def through(path: Path, out: Path, said: Callable[[str], None] = pytest.fail) -> Image.Image:
    list(apply(Doubling(), plan(path, out, overwrite=False), 16, CPU, said))
    with Image.open(out / path.name) as image:
        image.load()
        return image


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "RGBA", "LA", "CMYK"])
def test_a_picture_of_any_mode_goes_through_and_grey_stays_grey(mode: str, colour, tmp_path: Path):
    image = Image.fromarray(colour).convert(mode)
    name = "a.tif" if mode == "CMYK" else "a.png"
    image.save(tmp_path / name)
    said: list[str] = []
    found = through(tmp_path / name, tmp_path / "out", said.append)
    assert len(said) == (mode == "CMYK") and all("converted to RGB, without its colour profile" in s for s in said)
    assert found.mode == {"P": "RGB", "1": "L", "CMYK": "RGB"}.get(mode, mode)
    expected = doubled(np.asarray(image.convert(found.mode)))
    np.testing.assert_array_equal(np.asarray(found), expected)


def test_alpha_is_enlarged_beside_the_colours(colour, tmp_path: Path):
    alpha = np.zeros((10, 14), np.uint8)
    alpha[:, 7:] = 255
    Image.fromarray(np.dstack([colour, alpha])).save(tmp_path / "a.png")
    found = np.asarray(through(tmp_path / "a.png", tmp_path / "out"))
    assert found.shape == (20, 28, 4) and found[:, :10, 3].max() == 0 and found[:, 18:, 3].min() == 255
    np.testing.assert_array_equal(found[..., :3], doubled(colour))


def test_sixteen_bits_stay_sixteen_bits(tmp_path: Path):
    levels = np.random.default_rng(0).integers(0, 65536, (10, 14), dtype=np.uint16)
    Image.fromarray(levels).save(tmp_path / "a.png")
    found = np.asarray(through(tmp_path / "a.png", tmp_path / "out"))
    np.testing.assert_allclose(found.astype(int), doubled(levels).astype(int), atol=1)


def test_a_turned_photograph_comes_out_as_it_is_seen(colour, tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a maker"
    Image.fromarray(colour).save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as source:
        seen = np.asarray(ImageOps.exif_transpose(source))
    found = through(tmp_path / "a.png", tmp_path / "out")
    np.testing.assert_array_equal(np.asarray(ImageOps.exif_transpose(found)), doubled(seen))
    assert found.getexif()[0x010F] == "a maker"


def test_a_format_without_alpha_gets_it_on_white(colour, tmp_path: Path):
    image = Image.fromarray(np.dstack([colour, np.zeros((10, 14), np.uint8)]))
    save_picture(image, tmp_path / "a.jpg", {})
    with Image.open(tmp_path / "a.jpg") as found:
        assert found.mode == "RGB" and np.asarray(found).min() > 250


def test_names_stay_and_nothing_is_overwritten_unless_told(colour, tmp_path: Path):
    (tmp_path / "in").mkdir()
    for name in ("b.png", "a.JPG", "notes.txt"):
        if name.endswith("txt"):
            (tmp_path / "in" / name).write_text("no image")
        else:
            Image.fromarray(colour).save(tmp_path / "in" / name)
    pairs = plan(tmp_path / "in", tmp_path / "out", overwrite=False)
    assert [target for _, target in pairs] == [tmp_path / "out" / "a.JPG", tmp_path / "out" / "b.png"]
    assert plan(tmp_path / "in" / "b.png", tmp_path / "x.png", overwrite=False)[0][1] == tmp_path / "x.png"
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "b.png").write_bytes(b"precious")
    with pytest.raises(InputError, match=r"b\.png is there already"):
        plan(tmp_path / "in", tmp_path / "out", overwrite=False)
    assert len(plan(tmp_path / "in", tmp_path / "out", overwrite=True)) == 2
    with pytest.raises(InputError, match="is absent"):
        plan(tmp_path / "none", tmp_path / "out", overwrite=False)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no image"):
        plan(tmp_path / "empty", tmp_path / "out", overwrite=False)


def test_a_broken_picture_is_named_and_the_others_go_through(colour, tmp_path: Path):
    (tmp_path / "in").mkdir()
    Image.fromarray(colour).save(tmp_path / "in" / "b.png")
    (tmp_path / "in" / "a.png").write_bytes(b"no image")
    said: list[str] = []
    written = list(apply(Doubling(), plan(tmp_path / "in", tmp_path / "out", False), 16, CPU, said.append))
    assert written == [tmp_path / "out" / "b.png"] and len(said) == 1 and "a.png can't be read" in said[0]


@pytest.mark.parametrize(
    ("value", "trouble"), [(1.5, "its floating-point numbers lie in 0..1.5; scale them"), (np.nan, "are finite")]
)
def test_floating_point_numbers_beyond_0_and_1_are_named_and_left_out(value: float, trouble: str, tmp_path: Path):
    levels = np.zeros((10, 14), np.float32)
    levels[3, 3] = value
    Image.fromarray(levels).save(tmp_path / "a.tif")
    with pytest.raises(InputError, match=trouble):
        read_picture(tmp_path / "a.tif")


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".bmp"])
def test_sixteen_bits_become_eight_where_the_format_holds_no_more(tmp_path: Path, suffix: str):
    levels = np.full((10, 14), 40_000, np.uint16)
    Image.fromarray(levels).save(tmp_path / "a.png")
    said: list[str] = []
    list(apply(Doubling(), [(tmp_path / "a.png", tmp_path / f"b{suffix}")], 16, CPU, said.append))
    assert said == ["not used as in the file (1), its format holds 8 bits a channel: a.png"]
    found = np.asarray(Image.open(tmp_path / f"b{suffix}").convert("L"))
    assert found.shape == (20, 28) and abs(found.astype(int) - 40_000 // 257).max() <= 2


def test_what_a_format_can_not_hold_is_named_and_the_others_go_through(colour, tmp_path: Path):
    told: list[str] = []
    for name, width in (("a.webp", 8200), ("b.webp", 20)):
        Image.fromarray(colour[:8]).resize((width, 8)).save(tmp_path / name)
    pairs = plan(tmp_path, tmp_path / "out", overwrite=False)
    assert [p.name for p in apply(Doubling(), pairs, 256, CPU, told.append)] == ["b.webp"]
    assert len(told) == 1 and "a.webp can't be written" in told[0] and "16383" in told[0]
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["b.webp"]


def test_names_like_those_of_unfinished_files_are_names_like_others(colour, tmp_path: Path):
    (tmp_path / "in").mkdir()
    for name in ("a.png", "a.partial.png"):
        Image.fromarray(colour).save(tmp_path / "in" / name)
    list(apply(Doubling(), plan(tmp_path / "in", tmp_path / "out", False), 16, CPU, warn=pytest.fail))
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.partial.png", "a.png"]


def test_what_is_there_can_be_skipped(colour, tmp_path: Path):
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.png"):
        Image.fromarray(colour).save(tmp_path / "in" / name)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.png").touch()
    assert plan(tmp_path / "in", tmp_path / "out", False, skip=True) == [
        (tmp_path / "in" / "b.png", tmp_path / "out" / "b.png")
    ]
    with pytest.raises(InputError, match="--skip for the others"):
        plan(tmp_path / "in", tmp_path / "out", False)
    (tmp_path / "out" / "b.png").touch()
    assert plan(tmp_path / "in", tmp_path / "out", False, skip=True) == []
    with pytest.raises(InputError, match="named like no image"):
        plan(tmp_path / "in" / "a.png", tmp_path / "b.gif", False)


def test_a_failed_write_leaves_nothing_behind(colour, tmp_path: Path, monkeypatch):
    def full(self: Image.Image, path: Path, **options: object) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OSError, match="No space"):
        save_picture(Image.fromarray(colour), tmp_path / "a.png", {})
    assert list(tmp_path.iterdir()) == []


def test_grey_is_the_mean_of_the_outputs_channels(tmp_path: Path):
    class Tinted(Doubling):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) + torch.tensor([-0.1, 0.0, 0.1])[:, None, None]

    Image.fromarray(np.full((4, 4), 128, np.uint8)).save(tmp_path / "a.png")
    found = generate(Tinted(), read_picture(tmp_path / "a.png"), 16, CPU)
    assert found.mode == "L" and set(np.asarray(found).ravel()) == {128}


@pytest.mark.parametrize(
    ("name", "channels", "dtype"),
    [("a.npy", 7, np.float32), ("pages.tif", 7, np.uint16), ("samples.tif", 7, np.uint8), ("a.tif", 1, np.float32)],
)
def test_what_is_no_usual_picture_is_written_as_it_was_read(tmp_path: Path, name: str, channels: int, dtype: type):
    numbers = random_images(10, 14, channels).numpy()
    pixels = numbers if dtype == np.float32 else (numbers * np.iinfo(dtype).max).astype(dtype)
    if name == "a.npy":
        np.save(tmp_path / name, pixels)
    else:
        planes = np.moveaxis(pixels, 2, 0) if name == "pages.tif" else pixels
        planes = planes[..., 0] if channels == 1 else planes
        tifffile.imwrite(
            tmp_path / name, planes, photometric="minisblack", planarconfig="contig" if "samples" in name else None
        )
    network, said = Doubling(), list[str]()
    network.input_channels = channels
    (written,) = apply(network, plan(tmp_path, tmp_path / "out", False, channels=channels), 16, CPU, said.append)
    found = np.load(written) if written.suffix == ".npy" else tifffile.imread(written)
    found = np.moveaxis(found, 0, 2) if name == "pages.tif" else found
    assert said == [] and written.name == name and found.dtype == dtype
    np.testing.assert_array_equal(found.reshape(20, 28, channels), doubled(pixels))


def test_many_channels_go_to_tiff_and_are_refused_where_the_user_names_another_format(tmp_path: Path):
    class Sevenfold(Doubling):
        input_channels = 1

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x).repeat(1, 7, 1, 1)

    said = list[str]()
    Image.fromarray(np.full((4, 4), 128, np.uint8)).save(tmp_path / "a.png")
    (written,) = apply(Sevenfold(), plan(tmp_path, tmp_path / "out", False, channels=7), 16, CPU, said.append, 7)
    assert written.name == "a.tif" and tifffile.imread(written).shape == (8, 8, 7) and len(said) == 1
    assert list(apply(Sevenfold(), [(tmp_path / "a.png", tmp_path / "b.png")], 16, CPU, said.append)) == []
    assert "b.png can't be written: a .png file holds no 7 channels; name a .tif or .npy file" in said[1]


def test_a_folder_is_applied_to_with_the_folders_within_and_its_outputs_are_no_inputs(tmp_path: Path):
    names = ["a.png", "b/a.png", "b/c/d.gif"]
    write_images(tmp_path, {name: random_pixels(8, 8, seed) for seed, name in enumerate(names)})
    written = ["a.png", "b/a.png", "b/c/d.png"]
    out = tmp_path / "out"
    for overwrite in (False, True):
        found = list(apply(Doubling(), plan(tmp_path, out, overwrite), 16, CPU, lambda sentence: None))
        assert [path.relative_to(out).as_posix() for path in found] == written


@pytest.mark.parametrize("shape", [(0, 5, 3), (5, 0, 3), (5, 5, 0), (0, 5)])
def test_an_empty_array_is_named_and_left_out(shape: tuple[int, ...], tmp_path: Path):
    np.save(tmp_path / "a.npy", np.zeros(shape, np.uint8))
    said: list[str] = []
    assert list(apply(Doubling(), plan(tmp_path, tmp_path / "out", False), 16, CPU, said.append)) == []
    assert len(said) == 1 and "a.npy can't be read: it is empty, of" in said[0]


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory."), RuntimeError("can't allocate memory")]
)
def test_a_tile_that_does_not_fit_into_memory_is_told_with_one_that_may(error: RuntimeError, tmp_path: Path):
    class Large(Doubling):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if max(x.shape) > limit:
                raise error
            return super().forward(x)

    Image.fromarray(np.zeros((8, 100), np.uint8)).save(tmp_path / "a.png")
    picture, limit = read_picture(tmp_path / "a.png"), 50
    with pytest.raises(InputError, match="not enough memory for tiles of 100 pixels; try --tile 50"):
        generate(Large(), picture, 4096, CPU)
    assert generate(Large(), picture, 50, CPU).size == (200, 16)
    limit, expected = 10, pytest.raises(type(error), match=str(error))
    with expected:  # smaller tiles there are none
        generate(Large(), picture, 16, CPU)
    error = RuntimeError("something else")
    with pytest.raises(RuntimeError, match="something else"):
        generate(Large(), picture, 4096, CPU)


@pytest.mark.parametrize(("network", "mode"), [(ResNetGenerator(4), "RGB"), (Doubling(), "L")])
def test_a_grey_picture_is_translated_to_colours_and_enlarged_to_greys(network, mode, tmp_path: Path):
    Image.fromarray(np.full((16, 16), 128, np.uint8)).save(tmp_path / "a.png")
    network.input_channels = 3
    assert generate(network, read_picture(tmp_path / "a.png"), 16, CPU).mode == mode


def test_a_profile_of_colours_is_not_written_beside_greys(colour, tmp_path: Path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(colour).save(tmp_path / "a.png", icc_profile=profile)
    picture = read_picture(tmp_path / "a.png")
    assert info_for(Image.new("RGB", (4, 4)), picture) == (picture.info, ())
    info, losses = info_for(Image.new("L", (4, 4)), picture)
    assert "icc_profile" not in info and losses == (OTHER_PROFILE,)


def test_pictures_that_would_become_one_file_are_named(tmp_path: Path):
    for name in ("a.png", "a.jpg"):
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    with pytest.raises(InputError, match=r"a\.jpg, a\.png would all be written to .*a\.tif; rename them"):
        plan(tmp_path, tmp_path / "out", False, channels=5)


@pytest.mark.parametrize(("channels", "planes"), [(1, "contig"), (3, "contig"), (3, "separate")])
def test_the_transparency_of_a_tiff_of_16_bits_is_read(tmp_path: Path, channels: int, planes: str):
    pixels = (random_images(10, 14, channels + 1).numpy() * 65535).astype(np.uint16)
    laid = np.moveaxis(pixels, 2, 0) if planes == "separate" else pixels
    kind = "rgb" if channels == 3 else "minisblack"
    tifffile.imwrite(tmp_path / "a.tif", laid, photometric=kind, planarconfig=planes, extrasamples=["unassalpha"])
    picture = read_picture(tmp_path / "a.tif")
    assert picture.channels == channels and picture.alpha is not None
    assert np.array_equal((picture.colour[..., :channels] * 65535).round(), pixels[..., :channels])
