"""Photographs for super-resolution: reading, splitting, patches and validation crops."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from evo_c2f.errors import InputError
from supernet.batches.ahead import CPU, Ahead, in_order
from supernet.batches.degradation import degradation_of
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
    first_read,
    read_again,
    validation_crops,
    whole_images,
    whole_pairs,
)
from supernet.data.picture_files import listed, tell_losses, tell_others
from supernet.data.record import Record, as_before
from supernet.pictures.decoding import RGB, Reading, as_read, of_array
from supernet.ranks import ALONE, Ranks

if TYPE_CHECKING:
    from evo_c2f.runs.sections import DataSection

# The photographs that scikit-image and scikit-learn carry: scenes, things and textures. Drawings, scans
# of text, microscopy, and the second of a stereo pair (it would leak across the split) are left out.
EMBEDDED = {
    "skimage.data": (
        "astronaut.png", "brick.png", "camera.png", "chelsea.png", "coffee.png", "coins.png", "grass.png",
        "gravel.png", "hubble_deep_field.jpg", "moon.png", "motorcycle_left.png", "rocket.jpg",
    ),
    "sklearn.datasets.images": ("china.jpg", "flower.jpg"),
}  # fmt: skip

KEPT_BYTES = 512 << 20  # of decoded photographs, if all fit


@dataclass(frozen=True)
class Photograph:
    """One image: its name, its (height, width), the hash of its pixels, and a function that reads these."""

    name: str
    size: tuple[int, int]
    digest: str
    read: Callable[[], Pixels]

    @property
    def pixels(self) -> Pixels:
        """The pixels (h, w, c), read anew each time. InputError if they can't be, or are no longer the same."""
        return self.read()


# Sources that plugins add, by name: (name, pixels) of every photograph.
SOURCES: dict[str, Callable[[], Iterable[tuple[str, Pixels]]]] = {}


def embedded() -> list[Path]:
    """The files of EMBEDDED."""
    return [Path(str(files(package) / name)) for package, names in EMBEDDED.items() for name in names]


def load(
    paths: Sequence[Path],
    least_side: int,
    warn: Callable[[str], None],
    kept: Kept | None = None,
    reading: Reading = RGB,
) -> list[Photograph]:
    """The photographs in the files. `warn` names those that can't be read (they are left out) and all losses.

    kept: keeps the pixels that fit; the others are read from the files again. None: all are.
    InputError if none remains, or if one is smaller than `least_side`.
    """
    kept = Kept(0) if kept is None else kept
    photographs, losses = list[Photograph](), dict[str, tuple[str, ...]]()
    for path, found in zip(
        paths, in_order(partial(first_read, reading=reading), paths, torch.get_num_threads()), strict=True
    ):
        if isinstance(found, ValueError):
            warn(f"{path.name} is left out: {found}")
            continue
        pixels, digest, losses[path.name] = found
        kept.put(path, (pixels,))
        read = partial(read_again, path, digest, kept, reading)
        photographs.append(photograph(path.name, pixels, digest, read, least_side))
    tell_losses(losses, warn)
    if not photographs:
        raise InputError(f"none of the {len(paths)} images in {paths[0].parent} can be read")
    return photographs


def photograph(name: str, pixels: Pixels, digest: str, read: Callable[[], Pixels], least_side: int) -> Photograph:
    """A photograph of these pixels. InputError if it is smaller than `least_side`."""
    height, width = pixels.shape[:2]
    if min(height, width) < least_side:
        raise InputError(
            f"{name} is {width}x{height} pixels, less than the {least_side} that a patch or a crop needs; "
            "remove it, or set a smaller data.patch and data.crop"
        )
    return Photograph(name, (height, width), digest, read)


def refuse_benchmark_images(photographs: Iterable[Photograph], benchmark: Iterable[Photograph]) -> None:
    """InputError if a photograph is also in a benchmark, whose figures would then be worthless."""
    known = {image.digest: image.name for image in benchmark}
    for image in photographs:
        if image.digest in known:
            raise InputError(f"{image.name} is the benchmark image {known[image.digest]}; remove it from the data")


def split(photographs: Sequence[Photograph], n_validation: int, seed: int) -> tuple[list[Photograph], list[Photograph]]:
    """(training, validation), decided by each image's hash and the seed, not by names or order.

    Copies of one image stay in the same split. InputError if no image would remain for training.
    """
    order = sorted({p.digest for p in photographs}, key=lambda d: hashlib.sha256(f"{seed}:{d}".encode()).digest())
    if len(order) <= n_validation:
        raise InputError(
            f"{len(order)} different images can't give {n_validation} for validation; add more, or set a smaller "
            "data.validation_images"
        )
    held_out = set(order[:n_validation])
    return (
        [p for p in photographs if p.digest not in held_out],
        [p for p in photographs if p.digest in held_out],
    )


def fingerprint(photographs: Iterable[Photograph], *protocol: object) -> str:
    """A short hash of the images and of their use."""
    text = "\n".join([*sorted(p.digest for p in photographs), *map(repr, protocol)])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


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
    channels: int = 3

    def __post_init__(self) -> None:
        self.reading = Reading(self.channels, self.settings.depth)
        self.degradation = degradation_of(self.settings.degradation) if self.settings.degradation else None

    @property
    def enlarged(self) -> int:
        """How many times as large as the photographs the targets are."""
        return self.scale if self.settings.target == "teacher" else 1

    def pairs_of(self, photographs: Sequence[Photograph]) -> LowAndHigh:
        """Their pairs, without a teacher's outputs."""
        return (Inputs if self.enlarged > 1 else LowAndHigh)(photographs, self.scale, self.kept)

    def samples(self, n: int) -> list[tuple[Pixels, Pixels]]:
        """The first training pairs, for a teacher. InputError if inputs are degraded: its outputs are kept."""
        if self.degradation:
            raise InputError("a teacher's outputs are kept, but data.degradation makes ever new inputs; leave out one")
        return [*self.pairs_of(self.images[0][:n])]

    @cached_property
    def judged(self) -> LowAndHigh:
        """The held-out photographs, with a teacher's outputs if these are the targets."""
        pairs, taught = self.pairs_of(self.images[1]), self.taught
        return taught(pairs) if taught and taught.alone else pairs

    @cached_property
    def images(self) -> tuple[list[Photograph], list[Photograph]]:
        """(training, validation), the ones that the run started with. InputError if the folder is not usable."""
        settings = self.settings
        if settings.folder is None:
            raise InputError("this recipe comes without photographs; give a folder of them with --data DIR")
        least = max(self.side, settings.crop) // self.enlarged
        if settings.folder in SOURCES:
            try:
                given = [
                    (name, as_read(of_array(np.atleast_3d(p)), self.reading)[0])
                    for name, p in SOURCES[settings.folder]()
                ]
            except ValueError as error:
                raise InputError(f"the pictures of {settings.folder} can't be used: {error}") from None
            found = [photograph(name, p, digest_of(p), partial(np.asarray, p), least) for name, p in given]
        else:
            paths = embedded() if settings.folder == "embedded" else listed(Path(settings.folder))
            if settings.folder != "embedded":
                tell_others(Path(settings.folder), self.warn)
            found = load(paths, least, self.warn, self.kept, self.reading)
        if self.known:
            known = as_before(self.known, [(p.name, p.digest, p) for p in found], settings.folder, self.warn)
            return known["training"], known["held out"]
        for benchmark in settings.benchmarks:
            refuse_benchmark_images(found, load(benchmark_highs(Path(benchmark)), 1, self.warn, None, self.reading))
        return split(found, settings.validation_images, self.seed)

    def record(self) -> Record:
        """The run's record of its photographs."""
        uses = zip(("training", "held out"), self.images, strict=True)
        return {use: [[p.name, p.digest] for p in photographs] for use, photographs in uses}

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
        if self.enlarged > 1:
            return crops_of_pairs(self.judged, self.settings.crop, self.settings.validation_crops)
        settings = self.settings
        return validation_crops(self.images[1], self.scale, settings.crop, settings.validation_crops, self.degradation)

    def search(self) -> list[tuple[Tensor, Tensor]]:
        """The images that all candidates are compared on: the validation crops."""
        return [self.crops]

    def full(self) -> list[tuple[Tensor, Tensor]]:
        """The images that a final front is scored on: the whole validation images."""
        return (
            whole_pairs(self.judged)
            if self.enlarged > 1
            else whole_images(self.images[1], self.scale, self.degradation)
        )
