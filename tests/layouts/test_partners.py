from pathlib import Path

import pytest

from evo_c2f.errors import InputError
from supernet.layouts.folders import Folders
from supernet.layouts.partners import Partners, partners, places, relative_names

HIGH, LOW = Path("gt"), Path("lq")


def paired(lows: list[str], highs: list[str], scale: int = 4) -> list[tuple[str, str]]:
    found = partners(Folders(HIGH, LOW), [LOW / name for name in lows], [HIGH / name for name in highs], scale)
    return [(low.relative_to(LOW).as_posix(), high.relative_to(HIGH).as_posix()) for low, high in found]


@pytest.mark.parametrize(
    ("lows", "highs"),
    [
        (["a.png", "b.png", "c/a.png"], ["a.jpg", "b.webp", "c/a.png"]),
        (["0801x4.png", "0802x4.png"], ["0801.png", "0802.png"]),
        (["a_x4.png", "b_LR.png", "c-lq.png"], ["a.png", "b_HR.png", "c_GT.png"]),
        (["a_SRF_4_LR.png", "aLRBI.png"], ["a_SRF_4_HR.png", "aLRBI.png"]),
        (["ax4.png", "ax4x4.png"], ["a.png", "ax4.png"]),
        (["max4.png"], ["max4.png"]),  # equal names as they are
        (["caf\u00e9.png"], ["cafe\u0301.png"]),  # one character, or two
    ],
)
def test_partners_have_equal_names_but_for_endings_and_kinds_of_files(lows, highs) -> None:
    assert paired(lows, highs) == list(zip(lows, highs, strict=True)) == paired(lows[::-1], highs)


@pytest.mark.parametrize(
    ("lows", "highs", "sentence"),
    [
        (["a.png", "c.png"], ["a.png", "b.png"],
         r"1 of 2 pictures in gt have no partner in lq, looked for by name: b.png; that one holds 2: a.png, c.png"),
        (["a.png", "b.png"], ["a.png"], r"1 of 2 pictures in lq have no partner in gt, .*: b.png; that one holds 1: a"),
        (["box4.png", "bax4.png", "c.png"], ["box4.png", "bax4.png"], r"1 of 3 pictures in lq .* by name: c.png; that"),
        (["ax4.png", "bx4.png", "cx4.png"], ["a.png", "b.png"], r"1 of 3 pictures in lq .* by name: cx4.png; that"),
        (["ax2.png"], ["a.png"], r"no partner in lq, looked for by name: a.png; that one holds 1: ax2.png"),
        (["c/a.png"], ["a.png"], "no partner"),
        (["a.png", "a.jpg"], ["a.png"], r"a.png, a.jpg in lq have one name, .* in gt can't be told; rename"),
        (["a.png", "a_LR.png"], ["a_HR.png"], r"a.png, a_LR.png in lq have one name"),
    ],
)  # fmt: skip
def test_a_missing_partner_and_two_candidates_are_named_with_what_was_found(lows, highs, sentence) -> None:
    with pytest.raises(InputError, match=sentence):
        paired(lows, highs)


def test_names_are_as_seen_from_the_folder_that_holds_all() -> None:
    flat, nested = [Path("d/a.png"), Path("d/b.png")], [Path("d/train/a.png"), Path("d/val/s/a.png")]
    assert list(relative_names(flat).values()) == ["a.png", "b.png"]
    assert list(places(flat).values()) == ["d/a.png", "d/b.png"]
    assert list(places(nested).values()) == list(relative_names(nested).values()) == ["train/a.png", "val/s/a.png"]
    assert list(places([Partners(Path("in/a.jpg"), Path("out/a.png"))]).values()) == ["out/a.png"]
