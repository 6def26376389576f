import os
from pathlib import Path

import pytest

from supernet.layouts.index import Facts, Index


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "set" / "a.png"
    path.parent.mkdir()
    path.write_bytes(b"content")
    os.utime(path, ns=(10**18, 10**18))
    return path


def kept(picture: Path, facts: Facts) -> Path:
    file = picture.parents[1] / "index.json"
    index = Index(picture.parent, file)
    assert index.of(picture, lambda path: facts) == facts
    index.save()
    return file


@pytest.mark.parametrize("facts", [Facts((3, 4), "abc", ("a loss",)), Facts((0, 0), "", fault="it is no picture")])
def test_a_file_that_stayed_as_it_was_is_not_read_again_though_its_folder_moved(picture: Path, facts: Facts) -> None:
    file = kept(picture, facts)
    moved = picture.parent.rename(picture.parents[1] / "moved")
    assert Index(moved, file).of(moved / "a.png", pytest.fail) == facts


@pytest.mark.parametrize("change", ["time", "size"])
def test_a_file_that_changed_is_read_again(picture: Path, change: str) -> None:
    file = kept(picture, Facts((3, 4), "abc"))
    if change == "size":
        picture.write_bytes(b"more content")
    os.utime(picture, ns=(10**18, 10**18 + (change == "time")))
    index = Index(picture.parent, file)
    assert index.of(picture, lambda path: Facts((5, 6), "def")).digest == "def"
    index.save()
    assert Index(picture.parent, file).of(picture, pytest.fail).digest == "def"


def test_a_file_that_changed_just_now_is_read_again_since_a_clock_may_stand_still(picture: Path) -> None:
    os.utime(picture)
    file = kept(picture, Facts((3, 4), "abc"))
    assert Index(picture.parent, file).known(picture) is None


@pytest.mark.parametrize("text", ["{", "[]", '{"a.png": [1]}', '{"a.png": 3}'])
def test_an_index_that_is_none_is_made_anew(picture: Path, text: str) -> None:
    file = kept(picture, Facts((3, 4), "abc"))
    file.write_text(text)
    assert Index(picture.parent, file).known(picture) is None
