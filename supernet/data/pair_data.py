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
from supernet.batches.beside import Beside
from supernet.batches.on_device import OnDevice, Places
from supernet.batches.patches import PairBatches
from supernet.data import openmoji
from supernet.data.aligned import (
    EVALUATION_BATCH,
    Layout,
    Pairs,
    by_hash,
    check_alone,
    check_sizes,
    held_out,
    in_batches,
    is_unpaired,
    read_pair,
    split_files,
    unpaired_files,
)
from supernet.data.images import Pixels, Taught
from supernet.data.picture_files import pictures_in, place_of, tell_others
from supernet.data.record import NOT_USED, Record, as_before
from supernet.pictures.decoding import RGB, Reading, wider
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
    taught: Taught | None = None  # a teacher's outputs; if they are the targets, the pictures are inputs alone
    channels: tuple[int, int] = (3, 3)  # of inputs and of targets

    @property
    def readings(self) -> tuple[Reading, Reading]:
        """What inputs and targets are read as."""
        inputs, targets = (Reading(n, self.settings.depth) for n in self.channels)
        return inputs, targets

    @property
    def alone(self) -> bool:
        """Whether the pictures are inputs alone."""
        return self.settings.target == "teacher"

    @property
    def unpaired(self) -> bool:
        """Whether the folder holds pictures of both domains, without pairs."""
        return "real train" in self.splits

    @property
    def layout(self) -> Layout:
        return "alone" if self.alone or self.unpaired else self.settings.direction

    @cached_property
    def splits(self) -> dict[str, list[Path]]:
        """The files to train on, to search on (`search`) and to judge final fronts on (`full`).

        Of an unpaired folder these are the inputs; 'real train', 'real search' and 'real full' are of the other domain.
        They are the ones that the run started with. InputError if the folder is not usable.
        """
        settings = self.settings
        if settings.folder is None:
            raise InputError("this recipe comes without images; give an aligned folder (train/, val/) with --data DIR")
        if settings.folder == "openmoji":
            root = openmoji.cached(settings.load_size or settings.crop, self.on_render)
        else:
            root = SOURCES[settings.folder]() if settings.folder in SOURCES else Path(settings.folder)
        if is_unpaired(root):
            found = unpaired_files(root, settings.direction)
        elif self.alone and root.is_dir() and not (root / "train").is_dir() and pictures_in(root):
            found = split_by_content(pictures_in(root), settings.validation_images, self.seed)
        else:
            names = dict(zip(("train", "search", "full"), ("train", *held_out(root)), strict=True))
            found = {use: split_files(root, split) for use, split in names.items()}
        everything = list(dict.fromkeys(path for paths in found.values() for path in paths))
        for folder in dict.fromkeys(path.parent for path in everything):
            tell_others(folder, self.warn)
        if self.known:
            held = [(place_of(p), content_hash(p), p) for p in everything]
            found = as_before(self.known, held, str(root), self.warn)
            everything = list(dict.fromkeys(path for paths in found.values() for path in paths))
        if self.alone or "real train" in found:
            size = check_alone(everything, settings.load_size, self.warn, self.readings[0])
        else:
            size = check_sizes(everything, self.warn, wider(*self.readings))
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
            read_pair(path, self.layout, *self.readings)
            rows[path] = [place_of(path), content_hash(path)]
        uses = {use: [rows[path] for path in paths] for use, paths in self.splits.items()}
        used = {digest for of_use in uses.values() for _, digest in of_use}
        return {NOT_USED: [rows[path] for path in beside if rows[path][1] not in used], **uses}

    @cached_property
    def places(self) -> Places:
        """The training pairs, for all trainings: a study trains hundreds of networks on them."""
        pairs = Pairs(self.splits["train"], self.layout, self.settings.load_size, *self.readings)
        return Places(self.taught(pairs) if self.taught else pairs)

    @cached_property
    def real_places(self) -> Places:
        """The training pictures of the target's domain, if the images are unpaired."""
        return Places(Pairs(self.splits["real train"], "alone", self.settings.load_size, self.readings[1]))

    def samples(self, n: int) -> list[tuple[Pixels, Pixels]]:
        """The first training pairs, without a teacher's outputs."""
        pairs = Pairs(self.splits["train"][:n], self.layout, self.settings.load_size, *self.readings)
        return [pairs[number] for number in range(len(pairs))]

    @property
    def judged_size(self) -> int | None:
        """If training images are resized and cropped, images to judge on are resized to the crop, as in pix2pix."""
        return self.settings.crop if self.settings.load_size else None

    def judged(self, use: str) -> list[tuple[Tensor, Tensor]]:
        pairs = Pairs(self.splits[use], self.layout, self.judged_size, *self.readings)
        return in_batches(self.taught(pairs) if self.taught and self.alone else pairs, EVALUATION_BATCH)

    def reals(self, use: str) -> list[Tensor]:
        """Batches of the held-out pictures of the target's domain, for `search` or `full`; none if targets are real."""
        if not self.unpaired:
            return []
        pictures = Pairs(self.splits[f"real {use}"], "alone", self.judged_size, self.readings[1])
        return [picture for picture, _ in in_batches(pictures, EVALUATION_BATCH)]

    @property
    def side(self) -> int:
        """The side of training targets."""
        return self.settings.crop

    @property
    def largest_side(self) -> int:
        """The largest possible crop: the side of the images."""
        first = self.splits["train"][0]
        return self.settings.load_size or min(read_pair(first, self.layout, *self.readings)[0].shape[:2])

    @property
    def side_setting(self) -> str:
        return "data.crop" if self.judged_size else ""

    @cached_property
    def fingerprint(self) -> str:
        """A short hash of the held-out images and of their use."""
        files = self.splits["search"] + self.splits["full"]
        if self.unpaired:
            files = files + self.splits["real search"] + self.splits["real full"]
        others: list[object] = [self.taught.key] if self.taught and self.alone else []
        others += [] if self.readings == (RGB, RGB) else [self.readings]
        return fingerprint(files, self.layout, self.judged_size, len(self.splits["search"]), *others)

    def counts(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """(number, smallest side) of the images for the search, and of those for its final front.

        Of unpaired images, the number of the domain that has fewer: a Frechet distance is as good as its smaller set.
        """
        side = self.judged_size or min(read_pair(self.splits["full"][0], self.layout, *self.readings)[0].shape[:2])
        both = {use: [len(files) for name, files in self.splits.items() if use in name] for use in ("search", "full")}
        return (min(both["search"]), side), (min(both["full"]), side)

    def training(
        self,
        seed: Sequence[int],
        side: int | None = None,
        batch: int | None = None,
        ranks: Ranks = ALONE,
        device: torch.device = CPU,
    ) -> Ahead | OnDevice | Beside:
        """Batches to train on; side and batch: None for the recipe's values.

        Of unpaired images, pictures of the target's domain are beside the targets, cut from places of their own.
        """

        def of(places: Places, *more: int) -> Ahead | OnDevice:
            settings = self.settings
            crop, n = side or settings.crop, batch or settings.batch
            return places.batches(PairBatches(places.pairs, crop, settings.flip, n, [*seed, *more], ranks), device)

        return Beside(of(self.places), of(self.real_places, 1)) if self.unpaired else of(self.places)

    def search(self) -> list[tuple[Tensor, Tensor]]:
        """The images that all candidates are compared on."""
        return self.judged("search")

    def full(self) -> list[tuple[Tensor, Tensor]]:
        """The images that a final front is scored on."""
        return self.judged("full")


def split_by_content(files: Sequence[Path], n_held_out: int, seed: int) -> dict[str, list[Path]]:
    """Inputs of one folder, by use: as many are held out, for the search and for the final front.

    The hash of the seed and the content decides, so copies of a picture get one use. InputError if none would remain.
    """
    digests = {path: content_hash(path) for path in files}
    order = sorted(set(digests.values()), key=lambda d: hashlib.sha256(f"{seed}:{d}".encode()).digest())
    if len(order) <= n_held_out:
        raise InputError(
            f"{files[0].parent} holds {len(order)} different images, which leaves none to train on beside "
            f"{n_held_out}; add more, or set a smaller data.validation_images"
        )
    apart = set(order[:n_held_out])
    held = [path for path, digest in digests.items() if digest in apart]
    return {"train": [p for p, digest in digests.items() if digest not in apart], "search": held, "full": held}


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
