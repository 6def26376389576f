"""Photographs for super-resolution: reading, splitting, patches and validation crops."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from evo_c2f.errors import InputError
from supernet.data.images import Pixels, read_with_losses, resize_bicubic, to_pixels, to_tensor
from supernet.data.picture_files import SUFFIXES, is_picture, pictures_in, tell_losses, tell_others
from supernet.data.record import Record, as_before
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


@dataclass(frozen=True)
class Photograph:
    """One image: its name, its pixels (h, w, 3), and the hash of these pixels."""

    name: str
    pixels: Pixels
    digest: str


# Sources that plugins add, by name: (name, pixels) of every photograph.
SOURCES: dict[str, Callable[[], Iterable[tuple[str, Pixels]]]] = {}


def embedded() -> list[Path]:
    """The files of EMBEDDED."""
    return [Path(str(files(package) / name)) for package, names in EMBEDDED.items() for name in names]


def listed(folder: Path) -> list[Path]:
    """The image files of a folder, by name. InputError if it is not a folder, or holds no images."""
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; --data takes a folder of photographs")
    paths = pictures_in(folder)
    if not paths:
        deeper = next((p.parent for p in sorted(folder.glob("*/*")) if is_picture(p)), None)
        hint = f"; folders within it are not looked into, name one, such as {deeper}" if deeper else ""
        raise InputError(f"{folder} holds no image ({', '.join(sorted(SUFFIXES))}){hint}")
    return paths


def load(paths: Sequence[Path], least_side: int, warn: Callable[[str], None]) -> list[Photograph]:
    """The photographs in the files. `warn` names those that can't be read (they are left out) and all losses.

    InputError if none remains, or if one is smaller than `least_side`.
    """
    photographs, losses = list[Photograph](), dict[str, tuple[str, ...]]()
    for path in paths:
        try:
            pixels, losses[path.name] = read_with_losses(path)
        except ValueError as error:
            warn(f"{path.name} is left out: {error}")
            continue
        photographs.append(photograph(path.name, pixels, least_side))
    tell_losses(losses, warn)
    if not photographs:
        raise InputError(f"none of the {len(paths)} images in {paths[0].parent} can be read")
    return photographs


def photograph(name: str, pixels: Pixels, least_side: int) -> Photograph:
    """A photograph of these pixels. InputError if it is smaller than `least_side`."""
    height, width = pixels.shape[:2]
    if min(height, width) < least_side:
        raise InputError(
            f"{name} is {width}x{height} pixels, less than the {least_side} that a patch or a crop needs; "
            "remove it, or set a smaller data.patch and data.crop"
        )
    return Photograph(name, pixels, hashlib.sha256(pixels.tobytes()).hexdigest())


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


def low_and_high(pixels: Pixels, scale: int) -> tuple[Pixels, Pixels]:
    """(low-resolution, high-resolution), the latter cropped to a multiple of the scale."""
    height, width = (side - side % scale for side in pixels.shape[:2])
    high = pixels[:height, :width]
    return to_pixels(resize_bicubic(to_tensor(high)[None], 1 / scale)[0]), high


def pairs(photographs: Iterable[Photograph], scale: int) -> list[tuple[Pixels, Pixels]]:
    """(low, high) of each photograph, as 8-bit numbers."""
    return [low_and_high(image.pixels, scale) for image in photographs]


class PatchPairs:
    """Training batches of patches from whole images.

    A batch depends only on the seed and its index, so training can resume anywhere.
    """

    def __init__(
        self,
        pairs: Sequence[tuple[Pixels, Pixels]],
        scale: int,
        patch: int,
        batch: int,
        seed: int | Sequence[int],
        ranks: Ranks = ALONE,
    ):
        """patch: side of the low-resolution patches in pixels. This process gets its part of each batch."""
        self.pairs, self.scale, self.patch, self.batch, self.part = pairs, scale, patch, batch, ranks.part(batch)
        self.seed = [seed] if isinstance(seed, int) else [*seed]
        areas = np.array([low.shape[0] * low.shape[1] for low, _ in self.pairs], dtype=float)
        self.chances = areas / areas.sum()

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """(low (b, 3, p, p), high (b, 3, s * p, s * p)), flipped and turned at random."""
        rng = np.random.default_rng([*self.seed, index])
        lows: list[Pixels] = []
        highs: list[Pixels] = []
        for position, image in enumerate(rng.choice(len(self.pairs), size=self.batch, p=self.chances)):
            low, high = self.pairs[image]
            top, left = (int(rng.integers(side - self.patch + 1)) for side in low.shape[:2])
            turns, mirrored = int(rng.integers(4)), bool(rng.integers(2))
            if position not in self.part:
                continue
            for pixels, unit, into in ((low, 1, lows), (high, self.scale, highs)):
                cut = pixels[unit * top : unit * (top + self.patch), unit * left : unit * (left + self.patch)]
                cut = np.rot90(cut, turns)
                into.append(cut[:, ::-1] if mirrored else cut)
        return to_tensor(np.stack(lows)), to_tensor(np.stack(highs))


def validation_crops(photographs: Sequence[Photograph], scale: int, side: int, n: int) -> tuple[Tensor, Tensor]:
    """n fixed square crops in one batch, (low, high); `side` in high-resolution pixels.

    They are spread evenly over the photographs, at the most detailed places that don't overlap, since flat sky does not
    distinguish generators.
    """
    candidates: list[tuple[int, Pixels]] = []
    for image in photographs:
        height, width = image.pixels.shape[:2]
        crops = [
            image.pixels[top : top + side, left : left + side]
            for top in range(0, height - side + 1, side)
            for left in range(0, width - side + 1, side)
        ]
        crops.sort(key=lambda crop: -float(crop.mean(axis=2).var()))
        candidates += enumerate(crops)
    candidates.sort(key=lambda item: item[0])
    chosen = [low_and_high(crop, scale) for _, crop in candidates[:n]]
    return to_tensor(np.stack([low for low, _ in chosen])), to_tensor(np.stack([high for _, high in chosen]))


def fingerprint(photographs: Iterable[Photograph], *protocol: object) -> str:
    """A short hash of the images and of their use."""
    text = "\n".join([*sorted(p.digest for p in photographs), *map(repr, protocol)])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def whole_images(photographs: Sequence[Photograph], scale: int) -> list[tuple[Tensor, Tensor]]:
    """Each photograph as a batch of one, (low, high)."""
    return [(to_tensor(low)[None], to_tensor(high)[None]) for low, high in pairs(photographs, scale)]


@dataclass
class PhotographData:
    """A job's photographs, read on first use."""

    settings: DataSection
    scale: int
    seed: int
    warn: Callable[[str], None]
    known: Record | None = None  # the record of a resumed run

    @cached_property
    def images(self) -> tuple[list[Photograph], list[Photograph]]:
        """(training, validation), the ones that the run started with. InputError if the folder is not usable."""
        settings = self.settings
        if settings.folder is None:
            raise InputError("this recipe comes without photographs; give a folder of them with --data DIR")
        least = max(self.side, settings.crop)
        if settings.folder in SOURCES:
            found = [photograph(name, pixels, least) for name, pixels in SOURCES[settings.folder]()]
        else:
            paths = embedded() if settings.folder == "embedded" else listed(Path(settings.folder))
            if settings.folder != "embedded":
                tell_others(Path(settings.folder), self.warn)
            found = load(paths, least, self.warn)
        if self.known:
            known = as_before(self.known, [(p.name, p.digest, p) for p in found], settings.folder, self.warn)
            return known["training"], known["held out"]
        for benchmark in settings.benchmarks:
            refuse_benchmark_images(found, load(benchmark_highs(Path(benchmark)), 1, self.warn))
        return split(found, settings.validation_images, self.seed)

    def record(self) -> Record:
        """The run's record of its photographs."""
        uses = zip(("training", "held out"), self.images, strict=True)
        return {use: [[p.name, p.digest] for p in photographs] for use, photographs in uses}

    @cached_property
    def pairs(self) -> list[tuple[Pixels, Pixels]]:
        """The training pairs, cached, since a study trains hundreds of networks on them."""
        return pairs(self.images[0], self.scale)

    @property
    def side(self) -> int:
        """The side of training targets."""
        return self.settings.patch * self.scale

    @property
    def largest_side(self) -> int:
        """The largest possible patch, in low-resolution pixels: the side of the smallest training image."""
        return int(min(min(image.pixels.shape[:2]) for image in self.images[0])) // self.scale

    side_setting = "data.crop"

    @cached_property
    def fingerprint(self) -> str:
        """A short hash of the validation images and of their crops."""
        return fingerprint(self.images[1], self.settings.crop, self.settings.validation_crops)

    def counts(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """(number, smallest side) of the images for the search, and of those for its final front."""
        sizes, crop = [image.pixels.shape[:2] for image in self.images[1]], self.settings.crop
        fit = sum((height // crop) * (width // crop) for height, width in sizes)
        side, least = (side - side % self.scale for side in (crop, min(map(min, sizes))))
        return (min(self.settings.validation_crops, fit), side), (len(sizes), least)

    def training(
        self, seed: Sequence[int], side: int | None = None, batch: int | None = None, ranks: Ranks = ALONE
    ) -> PatchPairs:
        """Batches to train on; side (of the low-resolution patches) and batch: None for the recipe's values."""
        patch, batch = side or self.settings.patch, batch or self.settings.batch
        return PatchPairs(self.pairs, self.scale, patch, batch, seed, ranks)

    def search(self) -> list[tuple[Tensor, Tensor]]:
        """The images that all candidates are compared on: the validation crops."""
        settings = self.settings
        return [validation_crops(self.images[1], self.scale, settings.crop, settings.validation_crops)]

    def full(self) -> list[tuple[Tensor, Tensor]]:
        """The images that a final front is scored on: the whole validation images."""
        return whole_images(self.images[1], self.scale)


def benchmark_highs(folder: Path) -> list[Path]:
    """The high-resolution files of a benchmark folder in either layout. InputError if there are none."""
    if (folder / "HR").is_dir():
        return listed(folder / "HR")
    highs = [path for path in listed(folder) if path.stem.endswith("_HR")]
    if not highs:
        raise InputError(f"{folder} is no benchmark: neither HR/ nor *_HR.png")
    return highs
