from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from supernet_fixtures import random_images, random_pixels

from supernet.data.images import read_rgb, resize_bicubic, round_to_8_bits, to_pixels, to_tensor
from supernet.data.photographs import embedded
from supernet.pictures.opening import SUFFIXES


def pixel_row(mode: str, *values: object) -> Image.Image:
    """An image of one row."""
    image = Image.new(mode, (len(values), 1))
    for x, value in enumerate(values):
        image.putpixel((x, 0), value)
    return image


def palette_row() -> Image.Image:
    image = pixel_row("P", 0, 1, 2)
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    return image


RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)

# What is saved, with which options, and the pixels that are read.
MODES = {
    "L.png": (pixel_row("L", 0, 77, 255), {}, [BLACK, (77, 77, 77), WHITE]),
    "L with a transparent grey.png": (pixel_row("L", 0, 77), {"transparency": 77}, [BLACK, WHITE]),
    "LA.png": (pixel_row("LA", (0, 255), (0, 0), (0, 128)), {}, [BLACK, WHITE, (127, 127, 127)]),
    "P.png": (palette_row(), {}, [RED, GREEN, BLUE]),
    "P with a transparent colour.png": (palette_row(), {"transparency": 1}, [RED, WHITE, BLUE]),
    "P with three alphas.png": (palette_row(), {"transparency": b"\xff\x00\x80"}, [RED, WHITE, (127, 127, 255)]),
    "RGB.png": (pixel_row("RGB", RED, (1, 2, 3)), {}, [RED, (1, 2, 3)]),
    "RGB with a transparent colour.png": (pixel_row("RGB", RED, (1, 2, 3)), {"transparency": (1, 2, 3)}, [RED, WHITE]),
    "RGBA.png": (pixel_row("RGBA", (*RED, 255), (*RED, 0), (*RED, 128)), {}, [RED, WHITE, (255, 127, 127)]),
    "I;16.png": (pixel_row("I;16", 0, 257, 128 * 257, 65535), {}, [BLACK, (1, 1, 1), (128, 128, 128), WHITE]),
    "I;16.tif": (pixel_row("I;16", 0, 257, 128 * 257, 65535), {}, [BLACK, (1, 1, 1), (128, 128, 128), WHITE]),
    "I;16B.tif": (pixel_row("I;16B", 0, 257, 65535), {}, [BLACK, (1, 1, 1), WHITE]),
    "1.png": (pixel_row("1", 0, 1), {}, [BLACK, WHITE]),
    "CMYK.tif": (pixel_row("CMYK", (0, 255, 255, 0), (0, 0, 0, 0), (0, 0, 0, 255)), {}, [RED, WHITE, BLACK]),
    "RGB.bmp": (pixel_row("RGB", RED, (1, 2, 3)), {}, [RED, (1, 2, 3)]),
    "RGBA.webp": (pixel_row("RGBA", (*RED, 255), (*RED, 0)), {"lossless": True}, [RED, WHITE]),
    "LA.tif": (pixel_row("LA", (0, 255), (0, 0)), {}, [BLACK, WHITE]),
}


@pytest.mark.parametrize("name", MODES)
def test_any_mode_is_read_as_8_bit_rgb(tmp_path, name):
    image, options, expected = MODES[name]
    image.save(tmp_path / name, **options)
    pixels = read_rgb(tmp_path / name)
    assert pixels.dtype == np.uint8
    assert pixels.tolist() == [[list(colour) for colour in expected]]


@pytest.mark.parametrize(
    ("mode", "value", "expected"),
    [("CMYK", (0, 255, 255, 0), RED), ("CMYK", (0, 0, 0, 0), WHITE), ("L", 77, (77, 77, 77)), ("RGB", GREEN, GREEN)],
)
def test_any_mode_of_jpeg_is_read_as_rgb(tmp_path, mode, value, expected):
    Image.new(mode, (16, 16), value).save(tmp_path / "x.jpg", quality=95)
    pixels = read_rgb(tmp_path / "x.jpg")
    assert pixels.shape == (16, 16, 3)
    assert np.abs(pixels.astype(int) - expected).max() <= 3


def test_floating_point_numbers_are_refused_unless_the_recipe_says_floats(tmp_path):
    Image.fromarray(np.full((4, 4), 0.5, np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match="floating-point; set data.depth to float, or convert it to 8 or 16 bits"):
        read_rgb(tmp_path / "a.tif")


def test_16_bits_are_rounded_to_the_nearest_of_8(tmp_path):
    wide = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    Image.fromarray(wide).save(tmp_path / "x.png")
    expected = np.round(wide / 257).astype(np.uint8)
    assert np.array_equal(read_rgb(tmp_path / "x.png"), np.repeat(expected[..., None], 3, axis=2))


@pytest.mark.parametrize(
    ("orientation", "undo"),
    [
        (1, lambda a: a),
        (2, np.fliplr),
        (3, lambda a: np.rot90(a, 2)),
        (4, np.flipud),
        (5, lambda a: a.swapaxes(0, 1)),
        (6, lambda a: np.rot90(a, -1)),
        (7, lambda a: np.rot90(a, 2).swapaxes(0, 1)),
        (8, np.rot90),
    ],
)
def test_the_orientation_of_a_camera_is_followed(tmp_path, orientation, undo):
    stored = random_pixels(4, 6)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / "x.png", exif=exif)
    assert np.array_equal(read_rgb(tmp_path / "x.png"), undo(stored))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("suffix", sorted(SUFFIXES - {".npy"}))
def test_every_kind_of_file_is_read_and_a_broken_one_is_a_value_error_in_one_line(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    Image.fromarray(random_pixels(40, 48)).save(path)
    assert read_rgb(path).shape == (40, 48, 3)
    data = path.read_bytes()
    for kept in (0, 1, 7, 20, len(data) // 2):
        path.write_bytes(data[:kept])
        with pytest.raises(ValueError, match=r"\A[^\n]+\Z"):
            read_rgb(path)


@pytest.mark.parametrize("data", [b"", b"nonsense", b"\x89PNG\r\n\x1a\n", b"II*\x00"], ids=repr)
def test_what_is_no_image_is_a_value_error(tmp_path, data):
    (tmp_path / "x.png").write_bytes(data)
    with pytest.raises(ValueError, match="x.png"):
        read_rgb(tmp_path / "x.png")


def test_an_image_of_a_bombs_size_is_a_value_error(tmp_path, monkeypatch):
    Image.fromarray(random_pixels(40, 48)).save(tmp_path / "x.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ValueError, match="pixels"):
        read_rgb(tmp_path / "x.png")


def test_a_missing_file_and_a_folder_are_value_errors(tmp_path):
    (tmp_path / "folder.png").mkdir()
    for name in ("none.png", "folder.png"):
        with pytest.raises(ValueError, match=name):
            read_rgb(tmp_path / name)


# -- tensors ------------------------------------------------------------------------------------------


def test_pixels_and_tensors_are_inverse():
    every = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 256, 3)
    stack = np.stack([random_pixels(5, 7, seed) for seed in range(2)])
    for pixels in (every, stack[0], stack, stack[0, ::-1, ::-1]):
        tensor = to_tensor(pixels)
        assert tensor.shape == (*pixels.shape[:-3], 3, *pixels.shape[-3:-1])
        assert tensor.dtype == torch.float32
        assert np.array_equal(to_pixels(tensor), pixels)
    assert to_tensor(every).min() == 0
    assert to_tensor(every).max() == 1


ROUNDED = [(-0.5, 0), (0, 0), (0.49, 0), (0.51, 1), (77.3, 77), (254.6, 255), (255, 255), (300, 255)]


@pytest.mark.parametrize(("value", "pixel"), ROUNDED)
def test_values_are_clamped_and_rounded_to_8_bits(value, pixel):
    image = torch.full((3, 1, 1), value / 255)
    assert to_pixels(image).tolist() == [[[pixel] * 3]]
    torch.testing.assert_close(round_to_8_bits(image), torch.full((3, 1, 1), pixel / 255))


# -- resizing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1 / 8, 1 / 4, 1 / 2, 2, 4, 8])
@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_a_constant_image_stays_constant(scale, value):
    resized = resize_bicubic(torch.full((1, 3, 16, 24), value), scale)
    assert resized.shape == (1, 3, 16 * scale, 24 * scale)
    torch.testing.assert_close(resized, torch.full_like(resized, value), atol=1e-6, rtol=0)


@pytest.mark.parametrize("scale", [1 / 8, 1 / 4, 1 / 2, 2, 4])
def test_resizing_agrees_with_pillows_bicubic_on_a_photograph(scale):
    pixels = read_rgb(next(path for path in embedded() if path.name == "chelsea.png"))[:128, 64:224]
    ours = to_pixels(resize_bicubic(to_tensor(pixels)[None], scale)[0]).astype(int)
    size = int(pixels.shape[1] * scale), int(pixels.shape[0] * scale)
    theirs = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)).astype(int)
    assert np.abs(ours - theirs).max() <= 1
    assert ours.std() > 10


def test_resizing_treats_rows_columns_and_images_alike():
    images = random_images(2, 3, 16, 24)
    resized = resize_bicubic(images, 0.25)
    torch.testing.assert_close(resize_bicubic(images.mT, 0.25), resized.mT, atol=1e-6, rtol=0)
    torch.testing.assert_close(resize_bicubic(images[1:], 0.25), resized[1:])


def test_the_bundled_benchmark_was_made_by_the_same_degradation():
    folder = Path(__file__).parents[3] / "shared/data/sr/benchmark/Set5"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    for high_path in sorted((folder / "HR").iterdir()):
        high, low = read_rgb(high_path), read_rgb(folder / "LR_bicubic/X4" / f"{high_path.stem}x4.png")
        high = high[: 4 * low.shape[0], : 4 * low.shape[1]]
        ours = to_pixels(resize_bicubic(to_tensor(high)[None], 0.25)[0]).astype(int)
        assert np.abs(ours - low).mean() < 0.6
