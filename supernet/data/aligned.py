"""Paired images in pix2pix's format: a folder with train/ and val/ or test/; each file holds A|B side by side."""

import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from PIL import Image
from torch import Tensor

from evo_c2f.errors import InputError
from supernet.data import openmoji
from supernet.data.images import Pixels, read_rgb, to_tensor
from supernet.data.picture_files import SUFFIXES, opening, pictures_in, place_of, tell_losses, tell_others
from supernet.data.record import NOT_USED, Record, as_before
from supernet.ranks import ALONE, Ranks

Direction = Literal["AtoB", "BtoA"]
EVALUATION_BATCH = 64
CACHE_BYTES = 1 << 30  # decoded images are kept in memory up to this; edges2shoes is larger


SOURCES: dict[str, Callable[[], Path]] = {}  # aligned folders by name, that plugins add


def split_files(root: Path, split: str) -> list[Path]:
    """The image files of one split, by name. InputError if it is missing or empty."""
    folder = root / split
    if not folder.is_dir():
        there = sorted(p.name for p in root.iterdir() if p.is_dir()) if root.is_dir() else []
        raise InputError(
            f"{folder} is absent; an aligned folder holds train/ and val/ or test/"
            + (f", this one holds {', '.join(there)}" if there else "")
        )
    paths = pictures_in(folder)
    if not paths:
        raise InputError(f"{folder} holds no image ({', '.join(sorted(SUFFIXES))})")
    return paths


def held_out(root: Path) -> tuple[str, str]:
    """(split to search on, split to judge on): val/ and test/; if only one exists, it serves for both."""
    if not root.is_dir():
        raise InputError(f"{root} is no folder; --data takes an aligned folder, which holds train/ and val/ or test/")
    there = [split for split in ("val", "test") if (root / split).is_dir()]
    if not there:
        raise InputError(f"{root} has neither val/ nor test/; an aligned folder holds train/ and val/ or test/")
    return there[0], there[-1]


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


def read_pair(path: Path, direction: Direction) -> tuple[Pixels, Pixels]:
    """(source, target), the halves of the file exactly as cut. InputError if the file can't be halved."""
    try:
        pixels = read_rgb(path)
    except ValueError as error:
        raise InputError(f"{path} can't be read: {error}") from None
    width = pixels.shape[1]
    refuse_odd(path, width)
    a, b = pixels[:, : width // 2], pixels[:, width // 2 :]
    return (a, b) if direction == "AtoB" else (b, a)


def check_sizes(paths: Sequence[Path], warn: Callable[[str], None] = lambda sentence: None) -> tuple[int, int]:
    """(height, width) of each half, the same in all files, read from the headers alone.

    warn: gets a message about the files' losses. InputError naming the first file that differs or can't be halved.
    """
    expected: tuple[int, int] | None = None
    losses = dict[str, tuple[str, ...]]()
    for path in paths:
        try:
            with opening(path) as opened:
                (height, width), losses[place_of(path)] = opened.size, opened.losses
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


def refuse_odd(path: Path, width: int) -> None:
    if width % 2:
        raise InputError(f"{path} is {width} pixels wide, which is odd; A and B must stand side by side in it")


def resize(pixels: Pixels, side: int | None) -> Pixels:
    """Bicubic to a square of `side`, as pix2pix loads images; None keeps the size."""
    if side is None or pixels.shape[:2] == (side, side):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC))


class Pairs:
    """The pairs of one split, decoded on first use and cached while they fit in memory."""

    def __init__(self, paths: Sequence[Path], direction: Direction, load_size: int | None):
        """load_size: side of the square that images are resized to; None keeps their sizes."""
        self.paths, self.direction, self.load_size = list(paths), direction, load_size
        self.known: dict[int, tuple[Pixels, Pixels]] = {}
        self.bytes = 0

    def __len__(self) -> int:
        return len(self.paths)

    @cached_property
    def size(self) -> tuple[int, int]:
        """(height, width) of each half, the same in all."""
        height, width = self[0][0].shape[:2]
        return height, width

    def __getitem__(self, index: int) -> tuple[Pixels, Pixels]:
        """(source, target)."""
        if index in self.known:
            return self.known[index]
        source, target = (resize(half, self.load_size) for half in read_pair(self.paths[index], self.direction))
        if self.bytes + source.nbytes + target.nbytes <= CACHE_BYTES:
            self.known[index] = (source, target)
            self.bytes += source.nbytes + target.nbytes
        return source, target


class PairBatches:
    """Training batches. A batch depends only on the seed and its index, so training can resume anywhere."""

    def __init__(
        self, pairs: Pairs, crop: int, flip: bool, batch: int, seed: int | Sequence[int], ranks: Ranks = ALONE
    ):
        """crop: side of the random square crop; flip: mirror half of them. This process gets its part of each batch."""
        self.pairs, self.crop, self.flip, self.batch, self.part = pairs, crop, flip, batch, ranks.part(batch)
        self.seed = [seed] if isinstance(seed, int) else [*seed]

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """(source, target), each (b, 3, crop, crop) in 0..1."""
        rng = np.random.default_rng([*self.seed, index])
        sources: list[Pixels] = []
        targets: list[Pixels] = []
        for position, number in enumerate(rng.integers(len(self.pairs), size=self.batch)):
            top, left = (int(rng.integers(side - self.crop + 1)) for side in self.pairs.size)
            mirrored = self.flip and bool(rng.integers(2))
            if position not in self.part:
                continue
            for pixels, into in zip(self.pairs[int(number)], (sources, targets), strict=True):
                cut = pixels[top : top + self.crop, left : left + self.crop]
                into.append(cut[:, ::-1] if mirrored else cut)
        return to_tensor(np.stack(sources)), to_tensor(np.stack(targets))


def in_batches(pairs: Pairs, n: int) -> list[tuple[Tensor, Tensor]]:
    """All pairs in order, n at a time, as (source, target) in 0..1."""
    groups = [[pairs[i] for i in range(start, min(start + n, len(pairs)))] for start in range(0, len(pairs), n)]
    return [
        (to_tensor(np.stack([source for source, _ in group])), to_tensor(np.stack([target for _, target in group])))
        for group in groups
    ]


class PairSettings(Protocol):
    """The part of a recipe that selects the pairs and their use."""

    @property
    def folder(self) -> str | None: ...
    @property
    def direction(self) -> Direction: ...
    @property
    def load_size(self) -> int | None: ...
    @property
    def crop(self) -> int: ...
    @property
    def flip(self) -> bool: ...
    @property
    def batch(self) -> int: ...
    @property
    def validation_images(self) -> int: ...


@dataclass
class PairData:
    """A job's pairs, read on first use."""

    settings: PairSettings
    seed: int
    on_render: Callable[[int, int], None] = lambda done, total: None  # while OpenMoji is rendered
    warn: Callable[[str], None] = lambda sentence: None
    known: Record | None = None  # of the run that is taken up

    @cached_property
    def splits(self) -> dict[str, list[Path]]:
        """The files to train on, to search on (`search`) and to judge final fronts on (`full`).

        They are the ones that the run started with. InputError if the folder is not usable.
        """
        settings = self.settings
        if settings.folder is None:
            raise InputError("this recipe comes without images; give an aligned folder (train/, val/) with --data DIR")
        if settings.folder == "openmoji":
            root = openmoji.cached(settings.load_size or settings.crop, self.on_render)
        else:
            root = SOURCES[settings.folder]() if settings.folder in SOURCES else Path(settings.folder)
        names = dict(zip(("train", "search", "full"), ("train", *held_out(root)), strict=True))
        found = {use: split_files(root, split) for use, split in names.items()}
        everything = list(dict.fromkeys(path for paths in found.values() for path in paths))
        for folder in dict.fromkeys(path.parent for path in everything):
            tell_others(folder, self.warn)
        if self.known:
            held = [(place_of(p), content_hash(p), p) for p in everything]
            found = as_before(self.known, held, str(root), self.warn)
            everything = list(dict.fromkeys(path for paths in found.values() for path in paths))
        size = check_sizes(everything, self.warn)
        least = settings.load_size or min(size)
        if least < settings.crop:
            raise InputError(
                f"data.crop is {settings.crop}, more than the {least} pixels of the images' sides; set a smaller one"
            )
        if not self.known:
            found["search"] = sorted(by_hash(found["search"], self.seed)[: settings.validation_images])
        return found

    def record(self) -> Record:
        """The run's record of its pairs. InputError if one can't be decoded: now, not after hours of training."""
        rows = dict[Path, list[str]]()
        uses = {NOT_USED: pictures_in(self.splits["search"][0].parent), **self.splits}  # the others of val/
        for path in dict.fromkeys(path for paths in uses.values() for path in paths):
            read_pair(path, self.settings.direction)
            rows[path] = [place_of(path), content_hash(path)]
        return {use: [rows[path] for path in paths] for use, paths in uses.items()}

    @cached_property
    def pairs(self) -> "Pairs":
        """The training pairs, cached once decoded, since a study trains hundreds of networks on them."""
        return Pairs(self.splits["train"], self.settings.direction, self.settings.load_size)

    @property
    def judged_size(self) -> int | None:
        """If training images are resized and cropped, images to judge on are resized to the crop, as in pix2pix."""
        return self.settings.crop if self.settings.load_size else None

    def judged(self, use: str) -> list[tuple[Tensor, Tensor]]:
        return in_batches(Pairs(self.splits[use], self.settings.direction, self.judged_size), EVALUATION_BATCH)

    @property
    def side(self) -> int:
        """The side of training targets."""
        return self.settings.crop

    @property
    def largest_side(self) -> int:
        """The largest possible crop: the side of the images."""
        return self.settings.load_size or min(read_pair(self.splits["train"][0], "AtoB")[0].shape[:2])

    @property
    def side_setting(self) -> str:
        return "data.crop" if self.judged_size else ""

    @cached_property
    def fingerprint(self) -> str:
        """A short hash of the held-out images and of their use."""
        files = self.splits["search"] + self.splits["full"]
        return fingerprint(files, self.settings.direction, self.judged_size, len(self.splits["search"]))

    def counts(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """(number, smallest side) of the images for the search, and of those for its final front."""
        side = self.judged_size or min(read_pair(self.splits["full"][0], "AtoB")[0].shape[:2])
        return (len(self.splits["search"]), side), (len(self.splits["full"]), side)

    def training(
        self, seed: Sequence[int], side: int | None = None, batch: int | None = None, ranks: Ranks = ALONE
    ) -> PairBatches:
        """Batches to train on; side and batch: None for the recipe's values."""
        settings = self.settings
        return PairBatches(self.pairs, side or settings.crop, settings.flip, batch or settings.batch, seed, ranks)

    def search(self) -> list[tuple[Tensor, Tensor]]:
        """The images that all candidates are compared on."""
        return self.judged("search")

    def full(self) -> list[tuple[Tensor, Tensor]]:
        """The images that a final front is scored on."""
        return self.judged("full")


def content_hash(path: Path) -> str:
    """The hash of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]


def fingerprint(paths: Sequence[Path], *protocol: object) -> str:
    """A short hash of the files' bytes and of their use."""
    digest = hashlib.sha256(repr(protocol).encode())
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
