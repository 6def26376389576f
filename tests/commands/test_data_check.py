"""`data check`: what a search would use of a folder."""

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import TINY_PAIRS, exit_code, settings, tiny
from PIL import Image
from supernet_fixtures import random_pixels, write_images

PAIRS = ("--recipe", "openmoji", *settings(*TINY_PAIRS, "search.rescore=[]"))


def shapes(folder: Path, places: dict[str, tuple[int, int, int]]) -> Path:
    """Noise at the places: (number, height, width)."""
    for number, (place, (n, height, width)) in enumerate(places.items()):
        images = {place.format(i): random_pixels(height, width, 20 * number + i) for i in range(n)}
        write_images(folder, images)
    return folder


def check(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, object]:
    capsys.readouterr()
    assert exit_code("data", "check", *words, "--threads", 1, "--json") == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def test_what_a_search_would_use_of_photographs_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shapes(tmp_path, {"{}.png": (4, 64, 96), "more/{}.png": (3, 80, 48)})
    write_images(tmp_path, {"more/copy.png": random_pixels(64, 96, 0)})
    (tmp_path / "broken.png").write_bytes(b"nonsense")
    (tmp_path / "more" / "notes.txt").touch()
    Image.fromarray(np.zeros((64, 64), np.uint16)).save(tmp_path / "deep.png")
    found = check(capsys, tmp_path, *tiny())
    assert found["used"] == {"training": 7, "held out": 2} or found["used"] == {"training": 6, "held out": 3}
    assert found["unreadable"] == ["broken.png"] and found["copies"] == [["0.png", "more/copy.png"]]
    assert found["sizes"] == [[80, 48], [64, 96]] and found["folders"] == {"all": [str(tmp_path)]}
    told = " ".join(found["told"])  # type: ignore[arg-type]
    assert all(word in told for word in ("broken.png is left out", "more/notes.txt", "8 of its 16 bits"))


def test_what_a_search_would_use_of_pairs_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shapes(tmp_path, {"A/train/{}.png": (5, 40, 36), "A/val/{}.png": (6, 32, 32)})
    shapes(tmp_path, {"B/train/{}.jpg": (5, 40, 36), "B/val/{}.jpg": (6, 32, 32)})
    found = check(capsys, tmp_path, *PAIRS)
    assert found["used"] == {"train": 5, "search": 4, "full": 6} and found["not used"] == 0
    assert exit_code("data", "check", tmp_path, *PAIRS, "--threads", 1) == 0
    said = capsys.readouterr()
    assert f"train: {tmp_path}/B/train with inputs {tmp_path}/A/train" in said.out
    assert "sizes: 32x32 to 36x40" in said.out
    assert "reading pictures 11/11" in said.err


def test_a_folder_is_checked_before_there_is_a_teacher(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alone, apart = tmp_path / "alone", tmp_path / "apart"
    shapes(alone, {"train/{}.png": (5, 32, 32), "val/{}.png": (4, 32, 32)})
    assert check(capsys, alone, *PAIRS, "--set", "data.target=teacher")["used"] == {"train": 5, "search": 4, "full": 4}
    shapes(apart, {"trainA/{}.png": (5, 32, 32), "trainB/{}.png": (6, 32, 32), "testA/{}.png": (4, 32, 32)})
    shapes(apart, {"testB/{}.png": (4, 32, 32)})
    for words in ((), ("--set", "data.target=teacher")):
        used = check(capsys, apart, *PAIRS, *words)["used"]
        assert isinstance(used, dict) and (used["train"], used["real train"]) == (5, 6)


@pytest.mark.parametrize(
    ("broken", "words", "sentence"),
    [
        ("A/val/1.png", (), "val/1.png can't be read"),
        ("", ("--set", "data.crop=64"), "load_size"),
        ("", ("--set", "search.rescore=[fid_n6]", "--set", "data.validation_images=6"), "which FID needs, is absent"),
    ],
)
def test_what_keeps_a_search_from_starting_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, broken, words, sentence
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    shapes(tmp_path, {f"{side}/{split}/{{}}.png": (6, 32, 32) for side in "AB" for split in ("train", "val")})
    if broken:
        path = tmp_path / broken
        path.write_bytes(path.read_bytes()[:300])  # its header is whole
    assert exit_code("data", "check", tmp_path, *PAIRS, *words) == 2
    assert sentence in capsys.readouterr().err
