"""Partners by name: files of an input and of its target, each in its own folder."""

import os
import re
from collections.abc import Iterable, Sequence
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

    Unless all names are equal, endings such as x4, LR and HR are left out. InputError that says what was looked for and
    what was found if one has no partner, or if several could be it.
    """
    assert folders.inputs
    sides: list[Side] = [(folders.pictures, targets), (folders.inputs, inputs)]
    highs, lows = (by_name(*side) for side in sides)
    if highs.keys() != lows.keys():
        endings = "HR|GT", rf"LR|LQ|(LR|BI|BD)?x{scale}"
        ends = [re.compile(rf"[._-]?(SRF_{scale}_)?({ending})$", re.IGNORECASE) for ending in endings]
        highs, lows = (by_name(*side, end) for side, end in zip(sides, ends, strict=True))
    for (folder, paths), (other, others), mine, theirs in (
        (sides[0], sides[1], highs, lows),
        (sides[1], sides[0], lows, highs),
    ):
        lacking = [path for name, found in mine.items() if name not in theirs for path in found]
        if lacking:
            raise InputError(
                f"{len(lacking)} of {len(paths)} pictures in {folder} have no partner in {other}, looked for by name: "
                f"{within(folder, lacking)}; that one holds {len(others)}: {within(other, others)}"
            )
        double = next((found for found in mine.values() if len(found) > 1), None)
        if double:
            raise InputError(
                f"{within(folder, double)} in {folder} have one name, so which one is a partner in {other} can't be "
                "told; rename or remove one"
            )
    return [Partners(lows[name][0], high) for name, (high,) in highs.items()]


Side = tuple[Path, Sequence[Path]]  # a folder, and its pictures


def by_name(folder: Path, paths: Sequence[Path], ending: re.Pattern[str] | None = None) -> dict[str, list[Path]]:
    """The pictures by their names as seen from the folder, without suffixes and without the ending."""
    found = dict[str, list[Path]]()
    for path in paths:
        name = path.relative_to(folder).with_suffix("").as_posix()
        found.setdefault(ending.sub("", name) if ending else name, []).append(path)
    return found


def within(folder: Path, paths: Sequence[Path]) -> str:
    return names_of(path.relative_to(folder).as_posix() for path in paths)
