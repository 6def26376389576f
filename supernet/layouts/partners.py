"""Partners by name: files of an input and of its target, each in its own folder."""

import os
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from evo_c2f.errors import InputError
from supernet.layouts.folders import Folders, names_of


class Partners(NamedTuple):
    """The files of an input and of its target."""

    input: Path
    target: Path


Item = Path | Partners  # a file that holds all of a pair, or two


def files_of(item: Item) -> tuple[Path, ...]:
    return item if isinstance(item, Partners) else (item,)


def named(item: Item) -> Path:
    """The file that a pair is named after."""
    return files_of(item)[-1]


def common_folder(items: Iterable[Item]) -> str:
    """The innermost folder that holds all of them."""
    return os.path.commonpath({os.path.dirname(named(item)) for item in items})


def relative_names(items: Sequence[Item]) -> dict[Item, str]:
    """Each one's name as seen from that folder: 'a.png', or 'sub/a.png'."""
    start = len(os.path.join(common_folder(items), "")) if items else 0
    return {item: str(named(item))[start:].replace(os.sep, "/") for item in items}


def places(items: Sequence[Item]) -> dict[Item, str]:
    """Each one's name with a folder's: 'train/a.png'."""
    names = relative_names(items)
    if all("/" in name for name in names.values()):
        return names
    folder = os.path.basename(common_folder(items))
    return {item: f"{folder}/{name}" for item, name in names.items()}


def partners(folders: Folders, inputs: Sequence[Path], targets: Sequence[Path], scale: int = 1) -> list[Partners]:
    """The files of equal names, in the order of the targets; the kinds of files may differ.

    Endings such as x4, LR and HR are left out where more names are equal then. InputError that says what was looked for
    and what was found if one has no partner, or if several could be it.
    """
    assert folders.inputs
    sides: list[Side] = [(folders.pictures, targets), (folders.inputs, inputs)]
    endings = "HR|GT", rf"LR|LQ|(LR|BI|BD)?x{scale}"
    ends = [re.compile(rf"[._-]?(SRF_{scale}_)?({ending})$", re.IGNORECASE) for ending in endings]
    highs, lows = (by_name(*side) for side in sides)
    if highs.keys() != lows.keys():
        shortened = [by_name(*side, end) for side, end in zip(sides, ends, strict=True)]
        highs, lows = min((highs, lows), shortened, key=lambda both: len(both[0].keys() ^ both[1].keys()))
    for side, other, mine, theirs in ((sides[0], sides[1], highs, lows), (sides[1], sides[0], lows, highs)):
        refuse_lacking(side, other, [path for name, paths in mine.items() if name not in theirs for path in paths])
        refuse_double(side, other, mine)
    return [Partners(lows[name][0], high) for name, (high,) in highs.items()]


Side = tuple[Path, Sequence[Path]]  # a folder, and its pictures


def refuse_lacking(side: Side, other: Side, lacking: Sequence[Path]) -> None:
    """InputError if some of a side's pictures lack a partner on the other one."""
    if lacking:
        raise InputError(
            f"{len(lacking)} of {len(side[1])} pictures in {side[0]} have no partner in {other[0]}, looked for by "
            f"name: {within(side[0], lacking)}; that one holds {len(other[1])}: {within(*other)}"
        )


def refuse_double(side: Side, other: Side, named: Mapping[str, Sequence[Path]]) -> None:
    """InputError if two of a side's pictures have one name."""
    double = next((paths for paths in named.values() if len(paths) > 1), None)
    if double:
        raise InputError(
            f"{within(side[0], double)} in {side[0]} have one name, so which one is a partner in {other[0]} can't be "
            "told; rename or remove one"
        )


def by_name(folder: Path, paths: Sequence[Path], ending: re.Pattern[str] | None = None) -> dict[str, list[Path]]:
    """The pictures by their names as seen from the folder, without suffixes and without the ending.

    An accent may be written as one character or as two (Unicode's NFC and NFD): macOS and Linux differ in that.
    """
    found = dict[str, list[Path]]()
    for path in paths:
        name = unicodedata.normalize("NFC", path.relative_to(folder).with_suffix("").as_posix())
        found.setdefault(ending.sub("", name) if ending else name, []).append(path)
    return found


def within(folder: Path, paths: Sequence[Path]) -> str:
    return names_of(path.relative_to(folder).as_posix() for path in paths)
