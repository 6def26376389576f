"""Which folders of a set hold which pictures: its splits, and inputs apart from their targets."""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from evo_c2f.errors import InputError

SPLITS = ("train", "val", "test")
SIDES = (("inputs", "targets"), ("input", "target"), ("lq", "gt"))  # of inputs and of targets, in any case
DOMAINS = ("a", "b")
MOST_NAMES = 10  # in one sentence
HIGH = re.compile(r".*HR|(.*[._-])?hr", re.DOTALL)
WAY_OUT = "name the one folder by --data, and that of its inputs by data.inputs"


class Folders(NamedTuple):
    """The folder of a set's pictures, and that of their inputs if these are apart."""

    pictures: Path
    inputs: Path | None = None

    def split(self, name: str) -> "Folders":
        """The folders of that name within."""
        return Folders(child(self.pictures, name), self.inputs and child(self.inputs, name))


def names_of(names: Iterable[str]) -> str:
    every = list(names)
    more = f" and {len(every) - MOST_NAMES} others" if len(every) > MOST_NAMES else ""
    return ", ".join(every[:MOST_NAMES]) + more


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, by name, without hidden ones; none if it is no folder."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(Path(entry) for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def by_name(folder: Path) -> dict[str, Path]:
    """The folders in a folder by their names in lower case."""
    return {path.name.lower(): path for path in subfolders(folder)}


def child(folder: Path, name: str) -> Path:
    """The folder of that name within, in upper or lower case."""
    return by_name(folder).get(name.lower(), folder / name)


def folders_in(folder: Path) -> str:
    """What a folder holds, as the end of a sentence that says what it lacks."""
    there = [path.name for path in subfolders(folder)]
    return f", this one holds {names_of(there)}" if there else ""


def two_sides(folder: Path, sides: Sequence[tuple[str, str]]) -> Folders | None:
    """Its two folders of inputs and of targets, if it has them. InputError if it has more than two."""
    there = by_name(folder)
    found = [Folders(there[b], there[a]) for a, b in sides if a in there and b in there]
    if len(found) > 1:
        names = ", ".join(f"{one.inputs.name}/ with {one.pictures.name}/" for one in found if one.inputs)
        raise InputError(f"{folder} holds the pairs of several sets, {names}; {WAY_OUT}")
    return found[0] if found else None


def inputs_of(root: Path, name: str | None) -> Path | None:
    """The folder of inputs that `data.inputs` names, as seen from that of the pictures. InputError if it is absent."""
    folder = Path(os.path.normpath(root / name)) if name else None
    if folder and not folder.is_dir():
        raise InputError(f"{folder} is no folder; data.inputs names one as seen from {root}")
    return folder


def splits_of(
    root: Path, inputs: Path | None = None, sides: Sequence[tuple[str, str]] = (*SIDES, DOMAINS)
) -> dict[str, Folders]:
    """'train', 'val' and 'test' -> their folders, as far as they are there; '' -> those of a set without splits.

    Splits may lie in the two folders of inputs and targets, or the two in each split. inputs: the folder of inputs, if
    it lies elsewhere.
    """
    both = Folders(root, inputs) if inputs else two_sides(root, sides)
    if both:
        within = {name: both.split(name) for name in SPLITS if any(child(side, name).is_dir() for side in both if side)}
    else:
        there = by_name(root)
        within = {name: two_sides(there[name], sides) or Folders(there[name]) for name in SPLITS if name in there}
    return within or {"": both or Folders(root)}


def of_photographs(root: Path, inputs: Path | None, scale: int) -> dict[str, Folders]:
    """The same for photographs, whose folders may also be named as DIV2K's, with inputs of the scale."""
    found = splits_of(root, inputs, SIDES)
    if found == {"": Folders(root)}:
        return high_and_low(root, scale) or found
    return {
        split: both if both.inputs else high_and_low(both.pictures, scale).get("", both)
        for split, both in found.items()
    }


def high_and_low(root: Path, scale: int) -> dict[str, Folders]:
    """The folders of DIV2K's names: `*_train_HR` with `*_train_LR_*/X4`, `*_valid_HR`; or `HR` with `LR` or `LR_*/X4`.

    Without LR there are no inputs. InputError if several sets or kinds of inputs could be meant, or if there are inputs
    of other scales alone.
    """
    found, there = dict[str, Folders](), subfolders(root)
    for high in (path for path in there if HIGH.fullmatch(path.name)):
        name = high.name[:-2].lower()
        words = {"train": "train", "valid": "val", "val": "val", "test": "test"}
        split = next((split for word, split in words.items() if word in name), "")
        if split in found:
            raise InputError(f"{root} holds both {found[split].pictures.name}/ and {high.name}/; {WAY_OUT}")
        kinds = [path for path in there if path.name.lower().startswith(f"{name}lr")]
        lows = [low for kind in kinds if (low := child(kind, f"X{scale}") if subfolders(kind) else kind).is_dir()]
        if len(lows) > 1 or (kinds and not lows):
            fault = "several inputs" if lows else f"no inputs X{scale}/"
            places = ", ".join(f"{path.parent.name}/{path.name}" for kind in kinds for path in subfolders(kind))
            raise InputError(
                f"{root} holds {fault} for {high.name}/, but {places or 'none'}; {WAY_OUT}, or {high} alone, for "
                "bicubic ones"
            )
        found[split] = Folders(high, lows[0] if lows else None)
    if "" in found and len(found) > 1:
        if "train" in found:
            both = " and ".join(f"{found[split].pictures.name}/" for split in ("", "train"))
            raise InputError(f"{root} holds both {both}; {WAY_OUT}")
        found["train"] = found.pop("")
    return found
