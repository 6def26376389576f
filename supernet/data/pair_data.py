"""A translation job's images: the pairs of an aligned folder, and the use of each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from evo_c2f.errors import InputError
from supernet.batches.ahead import CPU, Ahead
from supernet.batches.on_device import OnDevice, Places
from supernet.batches.patches import PairBatches
from supernet.data import openmoji
from supernet.data.aligned import (
    EVALUATION_BATCH,
    Pairs,
    by_hash,
    check_sizes,
    held_out,
    in_batches,
    read_pair,
    split_files,
)
from supernet.data.picture_files import pictures_in, place_of, tell_others
from supernet.data.record import NOT_USED, Record, as_before
from supernet.ranks import ALONE, Ranks

if TYPE_CHECKING:
    from evo_c2f.runs.sections import PairsSection

SOURCES: dict[str, Callable[[], Path]] = {}  # aligned folders that plugins add, by name


@dataclass
class PairData:
    """A job's pairs, read on first use."""

    settings: PairsSection
    seed: int
    on_render: Callable[[int, int], None] = lambda done, total: None  # while OpenMoji is rendered
    warn: Callable[[str], None] = lambda sentence: None
    known: Record | None = None  # the record of a resumed run

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
        """The run's record of its pairs. NOT_USED lists the pictures of the search's folder whose content has no use.

        InputError if one can't be decoded: now, not after hours of training.
        """
        rows = dict[Path, list[str]]()
        beside = pictures_in(self.splits["search"][0].parent)
        for path in dict.fromkeys(path for paths in (beside, *self.splits.values()) for path in paths):
            read_pair(path, self.settings.direction)
            rows[path] = [place_of(path), content_hash(path)]
        uses = {use: [rows[path] for path in paths] for use, paths in self.splits.items()}
        used = {digest for of_use in uses.values() for _, digest in of_use}
        return {NOT_USED: [rows[path] for path in beside if rows[path][1] not in used], **uses}

    @cached_property
    def places(self) -> Places:
        """The training pairs, for all trainings: a study trains hundreds of networks on them."""
        return Places(Pairs(self.splits["train"], self.settings.direction, self.settings.load_size))

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
        self,
        seed: Sequence[int],
        side: int | None = None,
        batch: int | None = None,
        ranks: Ranks = ALONE,
        device: torch.device = CPU,
    ) -> Ahead | OnDevice:
        """Batches to train on; side and batch: None for the recipe's values."""
        settings, pairs = self.settings, self.places.pairs
        crop, batch = side or settings.crop, batch or settings.batch
        return self.places.batches(PairBatches(pairs, crop, settings.flip, batch, seed, ranks), device)

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
