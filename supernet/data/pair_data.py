"""A translation job's images: the pairs of a folder, and the use of each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from evo_c2f.errors import InputError
from supernet.batches.ahead import CPU, Ahead
from supernet.batches.beside import Beside
from supernet.batches.fixed import Fixed, Side
from supernet.batches.on_device import OnDevice, Places
from supernet.batches.patches import PairBatches
from supernet.data import openmoji
from supernet.data.aligned import (
    EVALUATION_BATCH,
    Pairs,
    by_hash,
    check_sizes,
    fingerprint,
    held_out,
    in_batches,
    is_unpaired,
    items_in,
    split_folders,
    tell_pixel_losses,
    unique,
    unpaired_folders,
)
from supernet.data.images import Pixels, Taught
from supernet.data.picture_files import tell_others, tell_unused
from supernet.layouts.folders import Folders, inputs_of, names_of, splits_of
from supernet.layouts.index import Index, unseen
from supernet.layouts.partners import Item, common_folder, named
from supernet.layouts.partners import places as places_of
from supernet.layouts.record import NOT_USED, Record, as_before, seeded_order
from supernet.pictures.decoding import RGB, Reading
from supernet.pictures.pairs import Layout, facts_of
from supernet.ranks import ALONE, Ranks

if TYPE_CHECKING:
    from evo_c2f.sections.data import PairsSection

USES = ("train", "search", "full")
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
    index: Index = field(default_factory=Index)
    on_read: Callable[[int, int], None] = unseen  # while all are decoded
    channels: tuple[int, int] = (3, 3)  # of inputs and of targets

    @property
    def readings(self) -> tuple[Reading, Reading]:
        """What inputs and targets are read as."""
        return Reading(self.channels[0], self.settings.depth), Reading(self.channels[1], self.settings.depth)

    @property
    def alone(self) -> bool:
        """Whether the pictures are inputs alone."""
        return self.settings.target == "teacher"

    @property
    def unpaired(self) -> bool:
        """Whether the folder holds pictures of both domains, without pairs."""
        return "real train" in self.folders

    @property
    def layout(self) -> Layout:
        return "alone" if self.alone or self.unpaired else self.settings.direction

    @cached_property
    def root(self) -> Path:
        """The folder of all pictures. InputError if there is none."""
        settings = self.settings
        if settings.folder is None:
            raise InputError("this recipe comes without images; give an aligned folder (train/, val/) with --data DIR")
        if settings.folder == "openmoji":
            return openmoji.cached(settings.load_size or settings.crop, self.on_render)
        return SOURCES[settings.folder]() if settings.folder in SOURCES else Path(settings.folder)

    @cached_property
    def folders(self) -> dict[str, Folders]:
        """The folders of each use, as in `splits`; '' if the content decides over the use.

        InputError if the data's folder is not usable.
        """
        root, settings = self.root, self.settings
        inputs = inputs_of(root, settings.inputs)
        if is_unpaired(root) and inputs is None:
            return unpaired_folders(root, settings.direction)
        whole = splits_of(root, inputs).get("")
        if whole and (whole.inputs or self.alone):
            found = {"": whole}
        else:
            splits = ("train", *held_out(root, inputs=inputs))
            found = {use: split_folders(root, split, inputs) for use, split in zip(USES, splits, strict=True)}
        if not self.alone:
            return found
        first = settings.direction == "AtoB"
        return {use: Folders((first and both.inputs) or both.pictures) for use, both in found.items()}

    @cached_property
    def found(self) -> dict[str, list[Item]]:
        """All files by use, with those of the search's folder that are too many."""
        found = {use: items_in(folders) for use, folders in self.folders.items()}
        used = dict.fromkeys(side for folders in self.folders.values() for side in folders if side)
        for folder in used:
            tell_others(folder, self.warn)
        tell_unused(self.root, used, self.warn)
        return self.split_by_content(found[""]) if "" in found else found

    @cached_property
    def chosen(self) -> dict[str, list[Item]]:
        """The files that the run started with, or starts with now, by use."""
        if self.known:
            held = [(name, self.digest(item), item) for item, name in places_of(unique(self.found)).items()]
            return as_before(self.known, held, str(self.settings.folder), self.warn)
        found = {use: self.without_copies(use) if use.endswith("train") else items for use, items in self.found.items()}
        first = by_hash(found["search"], self.seed)[: self.settings.validation_images]
        return {**found, "search": sorted(first, key=named)}

    def without_copies(self, use: str) -> list[Item]:
        """The training files that are no copies of held-out ones. InputError if none remains."""
        held = {self.digest(i) for other in ("search", "full") for i in self.found[use.replace("train", other)]}
        names = {item: name for item, name in places_of(self.found[use]).items() if self.digest(item) in held}
        if len(names) == len(self.found[use]):
            raise InputError(f"all pictures of {self.folders[use].pictures} are held out too; add others")
        if names:
            self.warn(f"not trained on, as they are held out too ({len(names)}): {names_of(names.values())}")
        return [item for item in self.found[use] if item not in names]

    @cached_property
    def sizes(self) -> dict[Item, tuple[int, int]]:
        """(height, width) of each pair's pictures, or of the square that they are resized to."""
        items = unique(self.chosen if self.known else self.found)
        return check_sizes(items, self.warn, self.layout, self.settings.load_size, self.index, self.readings)

    @cached_property
    def splits(self) -> dict[str, list[Item]]:
        """The files to train on, to search on (`search`) and to judge final fronts on (`full`).

        Of an unpaired folder these are the inputs; 'real train', 'real search' and 'real full' are of the other domain.
        They are the ones that the run started with. InputError if the folder is not usable.
        """
        least = min(self.sizes, key=lambda item: min(self.sizes[item]))
        height, width = self.sizes[least]
        if min(height, width) < self.settings.crop:
            raise InputError(
                f"data.crop is {self.settings.crop}, and the images of {named(least)} are {width}x{height}; set a "
                "smaller crop, or a larger data.load_size"
            )
        return self.chosen

    def digest(self, item: Item) -> str:
        """The hash of a pair's content."""
        digests = [facts.digest for facts in facts_of(item, self.layout, self.index, *self.readings)]
        return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()[:32]

    def split_by_content(self, items: Sequence[Item]) -> dict[str, list[Item]]:
        """By use, with as many held out, for the search and for the final front.

        The hash of the seed and the content decides, so copies of a pair get one use. InputError if none would remain.
        """
        digests, n = {item: self.digest(item) for item in items}, self.settings.validation_images
        order = sorted(set(digests.values()), key=seeded_order(self.seed))
        if len(order) <= n:
            raise InputError(
                f"{common_folder(items)} holds {len(order)} different images, which leaves none to train on beside "
                f"{n}; add more, or set a smaller data.validation_images"
            )
        apart = set(order[:n])
        held = [item for item, digest in digests.items() if digest in apart]
        return {"train": [i for i, digest in digests.items() if digest not in apart], "search": held, "full": held}

    def record(self) -> Record:
        """The run's record of its pairs. NOT_USED lists the pictures of the search's folder whose content has no use.

        InputError if one can't be decoded: now, not after hours of training.
        """
        splits, names = self.splits, places_of(unique(self.found))
        tell_pixel_losses(names, self.warn, self.layout, self.index, self.readings, self.on_read)
        uses = {use: [[names[item], self.digest(item)] for item in items] for use, items in splits.items()}
        used = {digest for of_use in uses.values() for _, digest in of_use}
        beside = [[names[item], self.digest(item)] for item in self.found["search"]]
        return {NOT_USED: [row for row in beside if row[1] not in used], **uses}

    @cached_property
    def places(self) -> Places:
        """The training pairs, for all trainings: a study trains hundreds of networks on them."""
        pairs = Pairs(self.splits["train"], self.layout, self.settings.load_size, self.sizes, self.readings)
        return Places(self.taught(pairs) if self.taught else pairs)

    @cached_property
    def real_places(self) -> Places:
        """The training pictures of the target's domain, if the images are unpaired."""
        real, readings = self.splits["real train"], self.readings[::-1]
        return Places(Pairs(real, "alone", self.settings.load_size, self.sizes, readings))

    def samples(self, n: int) -> list[tuple[Pixels, Pixels]]:
        """The first training pairs, without a teacher's outputs."""
        pairs = Pairs(self.splits["train"][:n], self.layout, self.settings.load_size, readings=self.readings)
        return [pairs[number] for number in range(len(pairs))]

    @property
    def judged_size(self) -> int | None:
        """If training images are resized and cropped, images to judge on are resized to the crop, as in pix2pix."""
        return self.settings.crop if self.settings.load_size else None

    def judged(self, use: str) -> Fixed:
        """The pairs of `search` or `full`, with a teacher's outputs if these are the targets; or 'real' pictures."""
        items, side = self.splits[use], self.judged_size
        sizes = dict.fromkeys(items, (side, side)) if side else self.sizes
        if use.startswith("real"):
            return in_batches(Pairs(items, "alone", side, sizes, self.readings[::-1]), EVALUATION_BATCH)
        pairs = Pairs(items, self.layout, side, sizes, self.readings)
        return in_batches(self.taught(pairs).make() if self.taught and self.alone else pairs, EVALUATION_BATCH)

    def reals(self, use: str) -> Sequence[Tensor]:
        """Batches of the held-out pictures of the target's domain, for `search` or `full`; none if targets are real."""
        return Side(self.judged(f"real {use}"), 0) if self.unpaired else []

    @property
    def side(self) -> int:
        """The side of training targets."""
        return self.settings.crop

    @property
    def largest_side(self) -> int:
        """The largest possible crop: the smallest side of the images."""
        return min(min(self.sizes[item]) for item in self.splits["train"])

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
        found = []
        for use in ("search", "full"):
            sides = [self.judged_size or min(self.sizes[item]) for item in self.splits[use]]
            found.append((min(len(items) for name, items in self.splits.items() if use in name), min(sides)))
        return found[0], found[1]

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

    def search(self) -> Fixed:
        """The images that all candidates are compared on."""
        return self.judged("search")

    def full(self) -> Fixed:
        """The images that a final front is scored on."""
        return self.judged("full")
