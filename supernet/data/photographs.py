"""Photographs for super-resolution: reading them, with inputs that lie beside them, and splitting them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.resources import files
from pathlib import Path

import torch

from evo_c2f.errors import InputError
from supernet.batches.ahead import in_order
from supernet.batches.kept import Kept
from supernet.data.aligned import items_in
from supernet.data.images import LowAndHigh, Pixels, first_read, read_again
from supernet.data.picture_files import place_of, tell_losses
from supernet.layouts.folders import Folders, names_of
from supernet.layouts.index import Facts, Index, about_file, unseen
from supernet.layouts.partners import Partners, common_folder, named, relative_names
from supernet.layouts.record import seeded_order
from supernet.pictures.decoding import RGB, Reading

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
    """One image: its name, its (height, width), the hash of its pixels, a function that reads these, and its input, if
    that isn't made of it.
    """

    name: str
    size: tuple[int, int]
    digest: str
    read: Callable[[], Pixels]
    input: Photograph | None = None

    @property
    def key(self) -> str:
        """The hash of its content, and of its input's."""
        return hashlib.sha256(f"{self.digest}{self.input.digest}".encode()).hexdigest() if self.input else self.digest

    @property
    def pixels(self) -> Pixels:
        """The pixels (h, w, c), read anew each time. InputError if they can't be, or are no longer the same."""
        return self.read()


# Sources that plugins add, by name: (name, pixels) of every photograph.
SOURCES: dict[str, Callable[[], Iterable[tuple[str, Pixels]]]] = {}


def embedded() -> list[Path]:
    """The files of EMBEDDED."""
    return [Path(str(files(package) / name)) for package, names in EMBEDDED.items() for name in names]


@dataclass(frozen=True)
class Reader:
    """Reads photographs.

    warn: gets the names of unreadable ones, which are left out, and all losses. kept: keeps the pixels that fit; the
    others are read from the files again. If not all fit, files that the index knows are not decoded at first.
    """

    least_side: int
    warn: Callable[[str], None]
    kept: Kept = field(default_factory=lambda: Kept(0))
    index: Index = field(default_factory=Index)
    on_read: Callable[[int, int], None] = unseen
    reading: Reading = RGB

    def photographs(self, names: Mapping[Path, str]) -> dict[Path, Photograph]:
        """The photographs in the files, by these names. InputError if none remains, or if some are too small."""
        found = self.readable(names)
        if not found:
            raise InputError(f"none of the {len(names)} images in {common_folder(list(names))} can be read")
        refuse_small(found.values(), self.least_side)
        return found

    def readable(self, names: Mapping[Path, str]) -> dict[Path, Photograph]:
        """The same, of any size, and perhaps none."""
        found, losses = dict[Path, Photograph](), dict[str, tuple[str, ...]]()
        for path, facts in self.facts(list(names)).items():
            if facts.fault:
                self.warn(f"{names[path]} is left out: {facts.fault}")
                continue
            losses[names[path]] = facts.losses
            read = partial(read_again, path, facts.digest, self.kept, self.reading)
            found[path] = Photograph(names[path], facts.size, facts.digest, read)
        tell_losses(losses, self.warn)
        return found

    def facts(self, paths: Sequence[Path]) -> dict[Path, Facts]:
        """What is known of the files; the pixels that were read for it are kept."""
        known = {path: facts for path in paths if (facts := self.index.known(path))}
        if (
            sum(self.reading.bytes_a_pixel * facts.size[0] * facts.size[1] for facts in known.values())
            > self.kept.most_bytes
        ):
            self.kept.clear()
        lacking = [path for path in paths if self.kept.complete or path not in known]
        abouts, first = [about_file(path) for path in lacking], partial(first_read, reading=self.reading)
        found = in_order(first, lacking, torch.get_num_threads())
        for done, (path, about, read) in enumerate(zip(lacking, abouts, found, strict=True), 1):
            self.on_read(done, len(lacking))
            if isinstance(read, ValueError):
                facts = Facts((0, 0), "", fault=str(read))
            else:
                pixels, digest, losses = read
                self.kept.put(path, (pixels,))
                facts = Facts((pixels.shape[0], pixels.shape[1]), digest, losses)
            known[path] = self.index.keep(path, about, facts)
        return {path: known[path] for path in paths}


def load(
    paths: Sequence[Path],
    least_side: int,
    warn: Callable[[str], None],
    kept: Kept | None = None,
    reading: Reading = RGB,
) -> list[Photograph]:
    """The photographs in the files, by the files' names, as `Reader` gives them."""
    reader = Reader(least_side, warn, Kept(0) if kept is None else kept, reading=reading)
    return [*reader.photographs({path: path.name for path in paths}).values()]


def refuse_small(photographs: Iterable[Photograph], least_side: int) -> None:
    """InputError that counts and names those with a side below `least_side`."""
    small = [p for p in photographs if min(p.size) < least_side]
    if small:
        first, *rest = small
        more = f" (and so small are {len(rest)} others: {names_of(p.name for p in rest)})" if rest else ""
        height, width = first.size
        raise InputError(
            f"{first.name} is {width}x{height} pixels, less than the {least_side} that a patch or a crop needs{more}; "
            f"remove {'them' if rest else 'it'}, or set a smaller data.patch and data.crop"
        )


class OwnInputs(LowAndHigh):
    """Photographs, each with the input that lies beside it."""

    def __init__(self, photographs: Sequence[Photograph], scale: int, kept: Kept):
        super().__init__(photographs, scale, kept)
        self.inputs = [p.input for p in photographs if p.input]
        self.sizes = [image.size for image in self.inputs]

    def __getitem__(self, number: int) -> tuple[Pixels, Pixels]:
        height, width = self.sizes[number]
        pixels = self.photographs[number].pixels
        return self.inputs[number].pixels, pixels[: height * self.scale, : width * self.scale]

    @property
    def at_hand(self) -> bool:
        return self.highs.complete


def read_sets(folders: Mapping[str, Folders], scale: int, how: Reader) -> dict[str, list[Photograph]]:
    """The photographs in the folders, under the same names, with their inputs where these lie apart.

    A photograph is left out if it or its input can't be read. InputError if a partner is absent, or of a wrong size.
    """
    items = {split: items_in(both, scale) for split, both in folders.items()}
    names = relative_names([item for of_split in items.values() for item in of_split])
    inputs = {item.input: place_of(item.input) for item in names if isinstance(item, Partners)}
    highs = how.photographs({named(item): name for item, name in names.items()})
    lows = replace(how, least_side=1).photographs(inputs) if inputs else {}
    found = dict[str, list[Photograph]]()
    for split, of_split in items.items():
        found[split] = []
        for item in of_split:
            high = highs.get(named(item))
            if high and isinstance(item, Partners):
                high = with_input(high, lows[item.input], item, scale) if item.input in lows else None
            found[split] += [high] if high else []
    return found


def with_input(high: Photograph, low: Photograph, item: Partners, scale: int) -> Photograph:
    """The photograph with its input. InputError if their sizes don't fit the scale."""
    (height, width), (low_height, low_width) = high.size, low.size
    if not (0 <= height - scale * low_height < scale and 0 <= width - scale * low_width < scale):
        raise InputError(
            f"{item.target} is {width}x{height}, and its input {item.input} {low_width}x{low_height}; task.scale is "
            f"{scale}, so make it {width // scale}x{height // scale}"
        )
    return replace(high, input=low)


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
    order = by_content(photographs, seed)
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


def by_content(photographs: Iterable[Photograph], seed: int) -> list[str]:
    """The hashes of the different images, in an order that the seed decides."""
    return sorted({p.digest for p in photographs}, key=seeded_order(seed))


def fingerprint(photographs: Iterable[Photograph], *protocol: object) -> str:
    """A short hash of the images and of their use."""
    text = "\n".join([*sorted(p.key for p in photographs), *map(repr, protocol)])
    return hashlib.sha256(text.encode()).hexdigest()[:12]
