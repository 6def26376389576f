"""`data cut`: the most detailed square of each large picture."""

from pathlib import Path

import numpy as np
import pytest
from command_line import exit_code
from PIL import Image
from supernet_fixtures import random_pixels, write_images


def pixels_of(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_the_most_detailed_square_of_each_picture_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    large = np.full((64, 96, 3), 90, np.uint8)
    large[32:64, 64:96] = random_pixels(32, 32)
    small = random_pixels(24, 40, 1)
    write_images(
        tmp_path / "in", {"train/a.png": large, "val/a.png": small, "deep.png": small[..., 0].astype(np.uint16)}
    )
    (tmp_path / "in" / "notes.txt").touch()
    assert exit_code("data", "cut", tmp_path / "in", tmp_path / "out", "--side", 32) == 0
    said = capsys.readouterr()
    assert "out: 3 pictures" in said.out and "notes.txt" in said.err and "8 of its 16 bits" in said.err
    assert np.array_equal(pixels_of(tmp_path / "out" / "train" / "a.png"), large[32:64, 64:96])
    assert np.array_equal(pixels_of(tmp_path / "out" / "val" / "a.png"), small)
    assert pixels_of(tmp_path / "out" / "deep.png").shape == (24, 40, 3)
    assert not (tmp_path / "out.partial").exists()


def test_what_cannot_be_cut_is_refused_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = write_images(tmp_path / "in", {"a.png": random_pixels(40, 40), "b.bmp": random_pixels(40, 40)})
    out = tmp_path / "out"

    def refused(sentence: str) -> None:
        assert exit_code("data", "cut", images, out) == 2
        assert sentence in capsys.readouterr().err

    out.mkdir()
    refused("out exists already; name a new folder")
    out.rmdir()
    write_images(images, {"a.bmp": random_pixels(40, 40)})
    refused("differ in their suffixes alone; rename one")
    (images / "a.bmp").write_bytes(b"nonsense")
    (images / "a.png").unlink()
    refused("a.bmp can't be read")
    assert not out.exists()
