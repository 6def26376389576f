"""Folders of a translation's images: pix2pix's with pairs, each file A|B side by side; CycleGAN's without pairs."""

import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from torch import Tensor

from evo_c2f.errors import InputError
from supernet.batches.kept import Kept
from supernet.data.images import Pixels, resized, to_tensor
from supernet.data.picture_files import pictures_in, place_of, tell_losses
from supernet.pictures.decoding import RGB, Reading, channels_of, header, read, wider
from supernet.pictures.opening import SUFFIXES

Direction = Literal["AtoB", "BtoA"]
Layout = Direction | Literal["alone"]  # alone: a picture is the input, and a teacher gives the target
EVALUATION_BATCH = 64
KEPT_BYTES = 1 << 30  # of decoded pairs; edges2shoes is larger
ALIGNED = "an aligned folder holds train/ and val/ or test/"
UNPAIRED = "an unpaired folder holds trainA/, trainB/, testA/ and testB/"


def is_unpaired(root: Path) -> bool:
    """Whether the folder holds pictures of two domains A and B without pairs, or a part of them."""
    splits = [f"{split}{domain}" for split in ("train", "val", "test") for domain in "AB"]
    return not (root / "train").is_dir() and any((root / split).is_dir() for split in splits)


def folders_in(root: Path) -> str:
    """What a folder holds, as the end of a sentence that says what it lacks."""
    there = sorted(p.name for p in root.iterdir() if p.is_dir()) if root.is_dir() else []
    return f", this one holds {', '.join(there)}" if there else ""


def split_files(root: Path, split: str) -> list[Path]:
    """The image files of one split, by name. InputError if it is missing or empty."""
    folder = root / split
    if not folder.is_dir():
        layout = UNPAIRED if split.endswith(("A", "B")) else ALIGNED
        raise InputError(f"{folder} is absent; {layout}{folders_in(root)}")
    paths = pictures_in(folder)
    if not paths:
        raise InputError(f"{folder} holds no image ({', '.join(sorted(SUFFIXES))})")
    return paths


def held_out(root: Path, domain: str = "") -> tuple[str, str]:
    """(split to search on, split to judge on): val/ and test/; if only one exists, it serves for both.

    domain: A or B of an unpaired folder.
    """
    if not root.is_dir():
        raise InputError(f"{root} is no folder; --data takes an aligned folder, which holds train/ and val/ or test/")
    names = [f"val{domain}", f"test{domain}"]
    there = [split for split in names if (root / split).is_dir()]
    if not there:
        layout = UNPAIRED + folders_in(root) if domain else ALIGNED
        raise InputError(f"{root} has neither {names[0]}/ nor {names[1]}/; {layout}")
    return there[0], there[-1]


def unpaired_files(root: Path, direction: Direction) -> dict[str, list[Path]]:
    """The image files of an unpaired folder by use; those of the target's domain are named 'real ...'.

    InputError if a split is missing or empty.
    """
    source, target = direction[0], direction[-1]
    searched, judged = (split.removesuffix(source) for split in held_out(root, source))
    uses = {"train": "train", "search": searched, "full": judged}
    found = {use: split_files(root, f"{split}{source}") for use, split in uses.items()}
    return found | {f"real {use}": split_files(root, f"{split}{target}") for use, split in uses.items()}


def split_off(root: Path, out: Path, n_test: int, seed: int) -> dict[str, int]:
    """Write an aligned folder `out` from root's files, with n_test of train/ as its test/; the number of files of each
    split.

    The hash of the seed and the names decides, so everyone with the same images gets the same test/. val/ stays. The
    files are hard links if the disk allows, else copies. InputError if too few training files would remain.
    """
    if out.exists():
        raise InputError(f"{out} exists already; name a new folder")
    files = split_files(root, "train")
    if len(files) <= n_test:
        raise InputError(f"{root / 'train'} holds {len(files)} images; that leaves none to train on beside {n_test}")
    order = by_hash(files, seed)
    splits = {"train": order[n_test:], "test": order[:n_test]}
    if (root / "val").is_dir():
        splits["val"] = split_files(root, "val")
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    for name, members in splits.items():
        (partial / name).mkdir(parents=True)
        for path in members:
            try:
                (partial / name / path.name).hardlink_to(path.resolve())
            except OSError:
                shutil.copy2(path, partial / name / path.name)
    os.replace(partial, out)
    return {name: len(members) for name, members in splits.items()}


def by_hash(paths: Sequence[Path], seed: int) -> list[Path]:
    """Ordered by a hash of the seed and the names, since neighbours in a folder are often alike."""
    return sorted(paths, key=lambda path: hashlib.sha256(f"{seed}:{path.name}".encode()).digest())


def read_pair(path: Path, layout: Layout, source: Reading = RGB, target: Reading = RGB) -> tuple[Pixels, Pixels]:
    """(source, target), the halves of the file exactly as cut; of an input alone, twice the whole picture.

    InputError if the file can't be read or halved, or a half has not the channels of its reading.
    """
    try:
        if layout == "alone":
            pixels, _ = read(path, source)
            return pixels, pixels
        pixels, _ = read(path, wider(source, target))
        width = pixels.shape[1]
        refuse_odd(path, width)
        a, b = pixels[:, : width // 2], pixels[:, width // 2 :]
        first, second = (a, b) if layout == "AtoB" else (b, a)
        return channels_of(first, source.channels), channels_of(second, target.channels)
    except ValueError as error:
        raise InputError(f"{path} can't be read: {error}") from None


def check_sizes(
    paths: Sequence[Path], warn: Callable[[str], None] = lambda sentence: None, reading: Reading = RGB
) -> tuple[int, int]:
    """(height, width) of each half, the same in all files, read from the headers alone.

    warn: gets a message about the files' losses. InputError naming the first file that differs or can't be halved.
    """
    expected: tuple[int, int] | None = None
    losses = dict[str, tuple[str, ...]]()
    for path in paths:
        try:
            (height, width), losses[place_of(path)] = header(path, reading)
        except ValueError as error:
            raise InputError(f"{path} can't be read: {error}") from None
        refuse_odd(path, width)
        expected = expected or (height, width // 2)
        if (height, width // 2) != expected:
            raise InputError(
                f"{path} holds halves of {width // 2}x{height}, {paths[0].name} of {expected[1]}x{expected[0]}; "
                "all must have one size"
            )
    assert expected is not None
    tell_losses(losses, warn)
    return expected


def check_alone(
    paths: Sequence[Path],
    load_size: int | None,
    warn: Callable[[str], None] = lambda sentence: None,
    reading: Reading = RGB,
) -> tuple[int, int]:
    """(height, width) of inputs that stand alone, or of the square that they are resized to.

    InputError if they are not resized, and one differs from the first; `warn` as in `check_sizes`.
    """
    sizes, losses = dict[Path, tuple[int, int]](), dict[str, tuple[str, ...]]()
    for path in paths:
        try:
            sizes[path], losses[place_of(path)] = header(path, reading)
        except ValueError as error:
            raise InputError(f"{path} can't be read: {error}") from None
    tell_losses(losses, warn)
    height, width = sizes[paths[0]]
    other = next((path for path, size in sizes.items() if size != (height, width)), None)
    if other and load_size is None:
        raise InputError(
            f"{other} is {sizes[other][1]}x{sizes[other][0]}, {paths[0].name} {width}x{height}; set data.load_size, to "
            "which all are resized"
        )
    return (load_size, load_size) if load_size else (height, width)


def refuse_odd(path: Path, width: int) -> None:
    if width % 2:
        raise InputError(f"{path} is {width} pixels wide, which is odd; A and B must stand side by side in it")


def resize(pixels: Pixels, side: int | None) -> Pixels:
    """Bicubic to a square of `side`, as pix2pix loads images; None keeps the size."""
    if side is None or pixels.shape[:2] == (side, side):
        return pixels
    return resized(pixels, side)


class Pairs:
    """The pairs of one split, decoded when they are needed, and kept while they fit in memory."""

    scale = 1

    def __init__(
        self,
        paths: Sequence[Path],
        direction: Layout,
        load_size: int | None,
        source: Reading = RGB,
        target: Reading = RGB,
    ):
        """load_size: side of the square that images are resized to; None keeps their sizes."""
        self.paths, self.direction, self.load_size = list(paths), direction, load_size
        self.readings = source, target
        self.kept = Kept(KEPT_BYTES)

    def __len__(self) -> int:
        return len(self.paths)

    @cached_property
    def sizes(self) -> list[tuple[int, int]]:
        """(height, width) of the halves of each pair, the same in all."""
        height, width = self[0][0].shape[:2]
        return [(height, width)] * len(self)

    def __getitem__(self, number: int) -> tuple[Pixels, Pixels]:
        """(source, target)."""
        source, target = self.kept.get(number, lambda: self.read(self.paths[number]))
        return source, target

    def read(self, path: Path) -> tuple[Pixels, Pixels]:
        source, target = (resize(half, self.load_size) for half in read_pair(path, self.direction, *self.readings))
        return source, target

    @property
    def at_hand(self) -> bool:
        """Whether all pairs are in memory."""
        return len(self.kept) == len(self)

    def forget(self) -> None:
        """Keep no pair so far."""
        self.kept.clear()


def in_batches(pairs: Pairs, n: int) -> list[tuple[Tensor, Tensor]]:
    """All pairs in order, n at a time, as (source, target) in 0..1."""
    groups = [[pairs[i] for i in range(start, min(start + n, len(pairs)))] for start in range(0, len(pairs), n)]
    return [
        (to_tensor(np.stack([source for source, _ in group])), to_tensor(np.stack([target for _, target in group])))
        for group in groups
    ]
