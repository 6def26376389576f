"""A super-resolution job's photographs, and the use of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from evo_c2f.errors import InputError
from supernet.batches.ahead import CPU, Ahead
from supernet.batches.degradation import degradation_of
from supernet.batches.fixed import Batch, Fixed
from supernet.batches.kept import Kept
from supernet.batches.on_device import OnDevice, Places
from supernet.batches.patches import DegradedPatches, PatchPairs
from supernet.data.benchmarks import benchmark_highs
from supernet.data.images import (
    Inputs,
    LowAndHigh,
    Pixels,
    Taught,
    crops_of_pairs,
    digest_of,
    validation_crops,
    whole_images,
)
from supernet.data.photographs import (
    SOURCES,
    OwnInputs,
    Photograph,
    Reader,
    by_content,
    embedded,
    fingerprint,
    load,
    read_sets,
    refuse_benchmark_images,
    refuse_small,
    split,
)
from supernet.data.picture_files import is_picture, tell_losses, tell_others, tell_unused
from supernet.layouts.folders import Folders, inputs_of, names_of, of_photographs
from supernet.layouts.index import Index, unseen
from supernet.layouts.record import NOT_USED, Record, as_before
from supernet.pictures.decoding import Reading, as_read, of_array
from supernet.ranks import ALONE, Ranks

if TYPE_CHECKING:
    from evo_c2f.sections.data import DataSection

KEPT_BYTES = 512 << 20  # of decoded photographs, if all fit


def unheard(sentence: str) -> None:
    """For pictures that may be of no use."""


@dataclass
class PhotographData:
    """A job's photographs, read on first use."""

    settings: DataSection
    scale: int
    seed: int
    warn: Callable[[str], None]
    known: Record | None = None  # the record of a resumed run
    kept: Kept = field(default_factory=lambda: Kept(KEPT_BYTES, partly=False))
    taught: Taught | None = None  # a teacher's outputs; if they are the targets, photographs are the inputs
    index: Index = field(default_factory=Index)
    on_read: Callable[[int, int], None] = unseen
    channels: int = 3

    def __post_init__(self) -> None:
        self.reading = Reading(self.channels, self.settings.depth)
        self.degradation = degradation_of(self.settings.degradation) if self.settings.degradation else None

    @property
    def alone(self) -> bool:
        """Whether the photographs are inputs alone, whose targets a teacher gives."""
        return self.settings.target == "teacher"

    @property
    def enlarged(self) -> int:
        """How many times as large as the photographs the targets are."""
        return self.scale if self.alone else 1

    @property
    def of_pairs(self) -> bool:
        """Whether the validation images are cut from pairs, not made of photographs."""
        return self.alone or self.images[0][0].input is not None

    def pairs_of(self, photographs: Sequence[Photograph]) -> LowAndHigh:
        """Their pairs, without a teacher's outputs."""
        if self.alone or photographs[0].input:
            return (Inputs if self.alone else OwnInputs)(photographs, self.scale, self.kept)
        return LowAndHigh(photographs, self.scale, self.kept, self.degradation)

    def samples(self, n: int) -> list[tuple[Pixels, Pixels]]:
        """The first training pairs, for a teacher. InputError if inputs are degraded: its outputs are kept."""
        if self.degradation:
            raise InputError("a teacher's outputs are kept, but data.degradation makes ever new inputs; leave out one")
        return [*self.pairs_of(self.images[0][:n])]

    @cached_property
    def judged(self) -> LowAndHigh:
        """The held-out photographs, with a teacher's outputs if these are the targets."""
        pairs, taught = self.pairs_of(self.images[1]), self.taught
        return taught(pairs).make() if taught and taught.alone else pairs

    @cached_property
    def found(self) -> dict[str, list[Photograph]]:
        """All photographs by split; '' if the content decides. InputError if the folder is not usable."""
        settings = self.settings
        if settings.folder is None:
            raise InputError("this recipe comes without photographs; give a folder of them with --data DIR")
        least = max(self.side, settings.crop) // self.enlarged
        if settings.folder in SOURCES or settings.folder == "embedded":
            self.refuse_inputs(False)
        if settings.folder in SOURCES:
            made = self.made(settings.folder)
            refuse_small(made, least)
            return {"": made}
        if settings.folder == "embedded":
            return {"": load(embedded(), least, self.warn, self.kept, self.reading)}
        folders, root = self.folders, Path(settings.folder)
        self.refuse_inputs(any(both.inputs for both in folders.values()))
        reader = Reader(least, self.warn, self.kept, self.index, self.on_read, self.reading)
        found = read_sets(folders, self.scale, reader)
        used = dict.fromkeys(side for both in folders.values() for side in both if side)
        for folder in used:
            tell_others(folder, self.warn)
        tell_unused(root, used, self.warn)
        there = {p.key for photographs in found.values() for p in photographs}
        if self.known and root not in used and any(d not in there for rows in self.known.values() for _, d in rows):
            # Older versions took what lies beside the folders.
            beside = [path for path in sorted(root.iterdir()) if is_picture(path)]
            names = {path: path.name for path in beside}
            found["beside"] = [*replace(reader, warn=unheard).readable(names).values()]
        return found

    def made(self, source: str) -> list[Photograph]:
        """The pictures of a plugin's source. InputError if they are not of these channels."""
        found, losses = list[Photograph](), dict[str, tuple[str, ...]]()
        try:
            for name, numbers in SOURCES[source]():
                levels = np.atleast_3d(numbers)
                levels = levels.astype(np.float32) if levels.dtype.kind == "f" else levels
                pixels, losses[name] = as_read(of_array(levels), self.reading)
                found.append(Photograph(name, pixels.shape[:2], digest_of(pixels), partial(np.asarray, pixels)))
        except ValueError as error:
            raise InputError(f"the pictures of {source} can't be used: {error}") from None
        tell_losses(losses, self.warn)
        return found

    @cached_property
    def folders(self) -> dict[str, Folders]:
        """The folders of the photographs by split; '' for those of one set."""
        root = Path(str(self.settings.folder))
        found = of_photographs(root, inputs_of(root, self.settings.inputs), self.scale)
        if found.keys() <= {"val", "test"} and not self.known:
            raise InputError(f"{root} holds {' and '.join(found)}, but no train; name the folder to train on by --data")
        if self.alone:
            return {split: Folders(both.inputs or both.pictures) for split, both in found.items()}
        used = [found[split] for split in ("train", "val" if "val" in found else "test") if split in found]
        if not self.known and len({both.inputs is None for both in used}) > 1:
            lacking = next(both.pictures for both in used if both.inputs is None)
            raise InputError(
                f"{lacking} lies without inputs, and those of another split are there; add its own, or name the "
                "folder of the targets alone by --data"
            )
        return found

    @cached_property
    def images(self) -> tuple[list[Photograph], list[Photograph]]:
        """(training, validation), the ones that the run started with. InputError if the folder is not usable."""
        found, settings = self.found, self.settings
        every = [image for of_split in found.values() for image in of_split]
        if self.known:
            known = as_before(self.known, [(p.name, p.key, p) for p in every], str(settings.folder), self.warn)
            return known["training"], known["held out"]
        for benchmark in settings.benchmarks:
            refuse_benchmark_images(every, load(benchmark_highs(Path(benchmark)), 1, self.warn, None, self.reading))
        apart = found.get("val") or found.get("test")
        if not apart:
            return split(every, settings.validation_images, self.seed)
        chosen = set(by_content(apart, self.seed)[: settings.validation_images])
        copies = [p.name for p in found["train"] if p.digest in chosen]
        if copies:
            self.warn(f"not trained on, as they are held out too ({len(copies)}): {names_of(copies)}")
        training = [p for p in found["train"] if p.digest not in chosen]
        if not training:
            raise InputError(f"{self.folders['train'].pictures} leaves no photograph to train on; add others")
        return training, [p for p in apart if p.digest in chosen]

    def refuse_inputs(self, own: bool) -> None:
        """InputError if inputs are made and brought, or neither. own: whether they are brought."""
        if own and self.degradation:
            raise InputError(
                f"{self.settings.folder} holds inputs, and data.degradation makes others; set data.degradation=null, "
                "or name the folder of the targets alone"
            )
        how = self.settings.degradation
        if self.scale == 1 and not (own or self.alone or (how and how.model_dump(exclude_defaults=True))):
            raise InputError(
                "task.scale is 1, so networks restore what data.degradation degrades; name its steps, or a folder that "
                "holds inputs too"
            )

    def record(self) -> Record:
        """The run's record of its photographs; NOT_USED lists those of the held-out ones' folder that are too many."""
        uses = dict(zip(("training", "held out"), self.images, strict=True))
        used = {p.key for photographs in self.images for p in photographs}
        uses[NOT_USED] = [p for photographs in self.found.values() for p in photographs if p.key not in used]
        return {use: [[p.name, p.key] for p in photographs] for use, photographs in uses.items() if photographs}

    @cached_property
    def places(self) -> Places:
        """The training pairs, for all trainings: a study trains hundreds of networks on them."""
        pairs = self.pairs_of(self.images[0])
        return Places(self.taught(pairs) if self.taught else pairs)

    @property
    def side(self) -> int:
        """The side of training targets."""
        return self.settings.patch * self.scale

    @property
    def largest_side(self) -> int:
        """The largest possible patch, in low-resolution pixels: the side of the smallest training image."""
        return min(min(image.size) for image in self.images[0]) * self.enlarged // self.scale

    side_setting = "data.crop"
    unpaired = False

    def reals(self, use: str) -> list[Tensor]:
        """None: the targets themselves are real, or there are no others."""
        return []

    @cached_property
    def fingerprint(self) -> str:
        """A short hash of the validation images and of their crops."""
        how, taught = self.settings.degradation, self.taught
        others: list[object] = [how.model_dump(exclude_defaults=True)] if how else []
        others += [taught.key] if taught and taught.alone else []
        return fingerprint(self.images[1], self.settings.crop, self.settings.validation_crops, *others)

    def counts(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """(number, smallest side) of the images for the search, and of those for its final front."""
        sizes = [[self.enlarged * side for side in image.size] for image in self.images[1]]
        crop = self.settings.crop
        fit = sum((height // crop) * (width // crop) for height, width in sizes)
        side, least = (side - side % self.scale for side in (crop, min(map(min, sizes))))
        return (min(self.settings.validation_crops, fit), side), (len(sizes), least)

    def training(
        self,
        seed: Sequence[int],
        side: int | None = None,
        batch: int | None = None,
        ranks: Ranks = ALONE,
        device: torch.device = CPU,
    ) -> Ahead | OnDevice:
        """Batches to train on; side (of the low-resolution patches) and batch: None for the recipe's values."""
        patch, batch = side or self.settings.patch, batch or self.settings.batch
        if self.degradation:
            if device.type != "cpu":
                self.warn("data.degradation runs on the CPU, ahead of the rounds; the GPU may wait for it")
            pairs = self.pairs_of(self.images[0])
            return Ahead(DegradedPatches(pairs, self.degradation, patch, batch, seed, ranks), device)
        return self.places.batches(PatchPairs(self.places.pairs, patch, batch, seed, ranks), device)

    @cached_property
    def crops(self) -> tuple[Tensor, Tensor]:
        """The validation crops."""
        if self.of_pairs:
            return crops_of_pairs(self.judged, self.settings.crop, self.settings.validation_crops)
        settings = self.settings
        return validation_crops(self.images[1], self.scale, settings.crop, settings.validation_crops, self.degradation)

    def search(self) -> list[Batch]:
        """The images that all candidates are compared on: the validation crops."""
        return [self.crops]

    def full(self) -> Fixed:
        """The images that a final front is scored on: the whole validation images."""
        return whole_images(self.judged, self.channels)
