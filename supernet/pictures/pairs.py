"""Pairs in files: A|B side by side in one, or each picture in its own; their pixels and what is known of the files."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

from evo_c2f.errors import InputError
from supernet.layouts.index import Facts, Index
from supernet.layouts.partners import Item, Partners, files_of
from supernet.pictures.decoding import RGB, Levels, Reading, channels_of, header, read, wider

Direction = Literal["AtoB", "BtoA"]
Layout = Direction | Literal["alone"]  # alone: a picture is the input, and a teacher gives the target


class Pair(NamedTuple):
    """losses: the parts of the files that are not used, in words."""

    source: Levels
    target: Levels
    losses: tuple[str, ...]


def read_pair(item: Item, layout: Layout, source: Reading = RGB, target: Reading = RGB) -> Pair:
    """The halves of the file exactly as cut, or its partners; of an input alone, twice the whole picture.

    InputError if a file can't be read or halved, or a picture has not the channels of its reading.
    """
    if isinstance(item, Partners):
        first, second = reversed(item) if layout == "BtoA" else item
        one, other = read_pair(first, "alone", source), read_pair(second, "alone", target)
        return Pair(one.source, other.source, (*one.losses, *other.losses))
    path = item
    try:
        if layout == "alone":
            pixels, losses = read(path, source)
            return Pair(pixels, pixels, losses)
        pixels, losses = read(path, wider(source, target))
        width = pixels.shape[1]
        refuse_odd(path, width)
        a, b = pixels[:, : width // 2], pixels[:, width // 2 :]
        halves = (a, b) if layout == "AtoB" else (b, a)
        return Pair(channels_of(halves[0], source.channels), channels_of(halves[1], target.channels), losses)
    except ValueError as error:
        raise InputError(f"{path} can't be read: {error}") from None


def facts_of(item: Item, layout: Layout, index: Index, source: Reading, target: Reading) -> list[Facts]:
    """The facts of each of a pair's files."""
    both = [target, source] if layout == "BtoA" else [source, target]
    one = [source if layout == "alone" else wider(source, target)]
    readings = both if isinstance(item, Partners) else one
    return [index.of(*each) for each in zip(files_of(item), map(learning, readings), strict=True)]


def learning(reading: Reading) -> Callable[[Path], Facts]:
    """What learns the facts that a file's header and its bytes tell."""

    def facts(path: Path) -> Facts:
        digest = ""
        try:
            digest = content_hash(path)
            size, losses = header(path, reading)
        except (OSError, ValueError) as error:
            return Facts((0, 0), digest, fault=str(error))
        return Facts(size, digest, losses)

    return facts


def content_hash(path: Path) -> str:
    """The hash of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]


def refuse_odd(path: Path, width: int) -> None:
    if width % 2:
        raise InputError(f"{path} is {width} pixels wide, which is odd; A and B must stand side by side in it")
