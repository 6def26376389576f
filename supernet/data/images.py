"""Images as arrays and tensors: reading them, resizing, and 8-bit rounding."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from evo_c2f.errors import InputError
from supernet.batches.fixed import Batch, Fixed
from supernet.batches.kept import Kept
from supernet.batches.patches import as_floats
from supernet.pictures.decoding import RGB, WHITE, Levels, Reading, read

if TYPE_CHECKING:
    from supernet.batches.degradation import Degradation
    from supernet.data.photographs import Photograph

Pixels = Levels  # (height, width, channels): 8-bit RGB, or what a recipe says
KEPT_LOW_BYTES = 128 << 20  # of photographs' low-resolution versions


class Taught(Protocol):
    """Puts a teacher's outputs beside the targets of pairs (source, target), or, if `alone`, in their place.

    key: of the teacher, and of how it is called. Targets are then cut like arrays (h, w, 6 or 3).
    """

    @property
    def alone(self) -> bool: ...
    @property
    def key(self) -> str: ...
    def __call__(self, pairs: Any, /) -> Any: ...


def read_rgb(path: Path) -> Pixels:
    """The image as 8-bit RGB, upright: grey is repeated, alpha is laid on white, 16 bits are scaled to 8.

    ValueError, in a few words, if the file is not a readable image.
    """
    return read(path, RGB)[0]


def digest_of(pixels: Pixels) -> str:
    return hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest()


def first_read(path: Path, reading: Reading = RGB) -> tuple[Pixels, str, tuple[str, ...]] | ValueError:
    """The pixels of a file, their hash and the losses; or why it can't be read."""
    try:
        pixels, losses = read(path, reading)
    except ValueError as error:
        return error
    return pixels, digest_of(pixels), losses


def read_again(path: Path, digest: str, kept: Kept, reading: Reading = RGB) -> Pixels:
    """The pixels of a file that was read before. InputError if it has changed."""

    def again() -> tuple[Pixels]:
        try:
            pixels, _ = read(path, reading)
        except ValueError as error:
            raise InputError(f"{path} can't be read any more: {error}; put it back, and run this again") from None
        if digest_of(pixels) != digest:
            raise InputError(f"{path} is another picture than before; put the first one back, and run this again")
        return (pixels,)

    return kept.get(path, again)[0]


def to_tensor(pixels: Pixels) -> Tensor:
    """(..., h, w, c) -> float (..., c, h, w) in 0..1."""
    return as_floats(torch.from_numpy(np.array(pixels)))


def to_pixels(tensor: Tensor, dtype: Any = np.uint8) -> Pixels:
    """Float (..., c, h, w) in 0..1 -> (..., h, w, c) of that dtype, clamped and rounded."""
    if dtype == np.uint8:
        pixels: Pixels = round_to_8_bits(tensor).movedim(-3, -1).mul(255).round().to(torch.uint8).cpu().numpy()
        return pixels
    floats = tensor.clamp(0, 1).movedim(-3, -1).cpu().numpy()
    return floats if dtype == np.float32 else (floats * WHITE[np.dtype(dtype)]).round().astype(dtype)


def shown(tensor: Tensor) -> Image.Image:
    """Float (1 or 3, h, w) in 0..1 as a picture."""
    pixels = to_pixels(tensor)
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def round_to_8_bits(tensor: Tensor) -> Tensor:
    """The values, 0..1, that an 8-bit file would hold."""
    return (tensor.clamp(0, 1) * 255).round() / 255


def resize_bicubic(images: Tensor, scale: float) -> Tensor:
    """Antialiased bicubic (a = -0.5), the usual degradation and baseline; (b, c, h, w)."""
    return F.interpolate(images, scale_factor=scale, mode="bicubic", antialias=True)


def resized(pixels: Pixels, side: int) -> Pixels:
    """Bicubic to a square of `side`, each channel for itself."""
    if pixels.dtype == np.uint8 and pixels.shape[2] == 3:
        return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC))
    numbers = pixels if pixels.dtype == np.uint8 else pixels.astype(np.float32)
    planes = [Image.fromarray(np.ascontiguousarray(plane)) for plane in np.moveaxis(numbers, -1, 0)]
    found = np.dstack([np.asarray(plane.resize((side, side), Image.Resampling.BICUBIC)) for plane in planes])
    if pixels.dtype == np.uint8:
        return found
    clipped = found.clip(0, WHITE[pixels.dtype])
    return (clipped.round() if pixels.dtype.kind == "u" else clipped).astype(pixels.dtype)


def low_and_high(pixels: Pixels, scale: int, degradation: Degradation | None = None) -> tuple[Pixels, Pixels]:
    """(low-resolution, high-resolution), the latter cropped to a multiple of the scale.

    degradation: makes the first one; its draws depend on the content alone. None: a bicubic reduction.
    """
    height, width = (side - side % scale for side in pixels.shape[:2])
    high = pixels[:height, :width]
    if degradation:
        return degradation(high, scale, np.random.default_rng(int(digest_of(high), 16))), high
    return to_pixels(resize_bicubic(to_tensor(high)[None], 1 / scale)[0], high.dtype), high


class LowAndHigh:
    """(low, high) of each photograph, as its numbers; both are made when they are needed."""

    def __init__(
        self, photographs: Sequence[Photograph], scale: int, highs: Kept, degradation: Degradation | None = None
    ):
        """highs: where photographs are kept. The low ones, each made of a whole photograph, are kept here.

        degradation: as `low_and_high` has it.
        """
        self.photographs, self.scale, self.highs, self.lows = photographs, scale, highs, Kept(KEPT_LOW_BYTES)
        self.degradation = degradation
        self.sizes = [(height // scale, width // scale) for height, width in (p.size for p in photographs)]

    def __len__(self) -> int:
        return len(self.photographs)

    def __getitem__(self, number: int) -> tuple[Pixels, Pixels]:
        pixels, (height, width) = self.photographs[number].pixels, self.sizes[number]
        (low,) = self.lows.get(number, lambda: low_and_high(pixels, self.scale, self.degradation)[:1])
        return low, pixels[: height * self.scale, : width * self.scale]

    def __iter__(self) -> Iterator[tuple[Pixels, Pixels]]:
        return (self[number] for number in range(len(self)))

    @property
    def at_hand(self) -> bool:
        """Whether all are in memory."""
        return len(self.lows) == len(self) and self.highs.complete

    def forget(self) -> None:
        """Keep none in memory so far."""
        self.highs.clear()
        self.lows.clear()


class Inputs(LowAndHigh):
    """Each photograph as the low-resolution one, twice: a teacher's output takes the place of the second."""

    def __init__(self, photographs: Sequence[Photograph], scale: int, kept: Kept):
        super().__init__(photographs, scale, kept)
        self.sizes = [p.size for p in photographs]

    def __getitem__(self, number: int) -> tuple[Pixels, Pixels]:
        pixels = self.photographs[number].pixels
        return pixels, pixels

    @property
    def at_hand(self) -> bool:
        return self.highs.complete


def most_detailed(pictures: Iterable[Pixels], side: int, n: int) -> list[tuple[int, slice, slice]]:
    """n fixed square crops: each picture's number, and its rows and columns.

    They are spread evenly over the pictures, at the most detailed places that don't overlap, since flat sky does not
    distinguish generators.
    """
    candidates: list[tuple[int, int, slice, slice]] = []
    for number, pixels in enumerate(pictures):
        rows, columns = ([slice(at, at + side) for at in range(0, most - side + 1, side)] for most in pixels.shape[:2])
        places = [
            (-float(pixels[down, across].mean(axis=2).var()), down, across) for down in rows for across in columns
        ]
        places.sort(key=lambda place: place[0])
        candidates += [(rank, number, down, across) for rank, (_, down, across) in enumerate(places[:n])]
    candidates.sort(key=lambda candidate: candidate[0])
    return [(number, down, across) for _, number, down, across in candidates[:n]]


def validation_crops(
    photographs: Sequence[Photograph], scale: int, side: int, n: int, degradation: Degradation | None = None
) -> tuple[Tensor, Tensor]:
    """(low, high) at the `most_detailed` places, in one batch each; `side` in high-resolution pixels."""
    places = most_detailed((image.pixels for image in photographs), side, n)
    crops = [photographs[number].pixels[down, across] for number, down, across in places]
    chosen = [low_and_high(crop, scale, degradation) for crop in crops]
    return to_tensor(np.stack([low for low, _ in chosen])), to_tensor(np.stack([high for _, high in chosen]))


def crops_of_pairs(pairs: LowAndHigh, side: int, n: int) -> tuple[Tensor, Tensor]:
    """(low, high) at the most detailed places of the low ones, in one batch each; `side` in high-resolution pixels."""
    scale = pairs.scale
    chosen = list[tuple[Pixels, Pixels]]()
    for number, down, across in most_detailed((low for low, _ in pairs), side // scale, n):
        low, high = pairs[number]
        in_high = (slice(scale * cut.start, scale * cut.stop) for cut in (down, across))
        chosen.append((low[down, across], high[tuple(in_high)]))
    return to_tensor(np.stack([low for low, _ in chosen])), to_tensor(np.stack([high for _, high in chosen]))


def whole_images(pairs: LowAndHigh, channels: int) -> Fixed:
    """Each pair as a batch of one, (low, high)."""
    sides = [[(1, channels, unit * height, unit * width) for unit in (1, pairs.scale)] for height, width in pairs.sizes]
    return Fixed([(low, high) for low, high in sides], partial(whole_image, pairs))


def whole_image(pairs: LowAndHigh, number: int) -> Batch:
    low, high = pairs[number]
    return to_tensor(low)[None], to_tensor(np.asarray(high))[None]
