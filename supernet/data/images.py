"""Images as arrays and tensors: reading any mode, resizing, and 8-bit rounding."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from evo_c2f.errors import InputError
from supernet.batches.kept import Kept
from supernet.batches.patches import as_floats
from supernet.data.picture_files import EIGHT_BITS, ON_WHITE, opening

if TYPE_CHECKING:
    from supernet.batches.degradation import Degradation
    from supernet.data.photographs import Photograph

Pixels = NDArray[np.uint8]  # (height, width, 3), RGB
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
    return read_with_losses(path)[0]


def read_with_losses(path: Path) -> tuple[Pixels, tuple[str, ...]]:
    """The result of `read_rgb`, and in words the parts of the file that it lacks."""
    with opening(path) as opened:
        image, losses = opened.upright(), opened.losses
        if image.mode.startswith("I"):
            # 16-bit grey: Pillow's own conversion would clip, not scale.
            grey = (np.asarray(image).astype(np.float64) / 257 + 0.5).clip(0, 255).astype(np.uint8)
            image, losses = Image.fromarray(grey), (*losses, EIGHT_BITS)
        if image.has_transparency_data:
            image, losses = image.convert("RGBA"), (*losses, ON_WHITE)
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        return np.asarray(image.convert("RGB")), losses


def digest_of(pixels: Pixels) -> str:
    return hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest()


def first_read(path: Path) -> tuple[Pixels, str, tuple[str, ...]] | ValueError:
    """The pixels of a file, their hash and the losses; or why it can't be read."""
    try:
        pixels, losses = read_with_losses(path)
    except ValueError as error:
        return error
    return pixels, digest_of(pixels), losses


def read_again(path: Path, digest: str, kept: Kept) -> Pixels:
    """The pixels of a file that was read before. InputError if it has changed."""

    def read() -> tuple[Pixels]:
        try:
            pixels = read_rgb(path)
        except ValueError as error:
            raise InputError(f"{path} can't be read any more: {error}; put it back, and run this again") from None
        if digest_of(pixels) != digest:
            raise InputError(f"{path} is another picture than before; put the first one back, and run this again")
        return (pixels,)

    return kept.get(path, read)[0]


def to_tensor(pixels: Pixels) -> Tensor:
    """uint8 (..., h, w, 3) -> float (..., 3, h, w) in 0..1."""
    return as_floats(torch.from_numpy(np.array(pixels)))


def to_pixels(tensor: Tensor) -> Pixels:
    """Float (..., 3, h, w) in 0..1 -> uint8 (..., h, w, 3), clamped and rounded."""
    pixels: Pixels = round_to_8_bits(tensor).movedim(-3, -1).mul(255).round().to(torch.uint8).cpu().numpy()
    return pixels


def round_to_8_bits(tensor: Tensor) -> Tensor:
    """The values, 0..1, that an 8-bit file would hold."""
    return (tensor.clamp(0, 1) * 255).round() / 255


def resize_bicubic(images: Tensor, scale: float) -> Tensor:
    """Antialiased bicubic (a = -0.5), the usual degradation and baseline; (b, c, h, w)."""
    return F.interpolate(images, scale_factor=scale, mode="bicubic", antialias=True)


def low_and_high(pixels: Pixels, scale: int, degradation: Degradation | None = None) -> tuple[Pixels, Pixels]:
    """(low-resolution, high-resolution), the latter cropped to a multiple of the scale.

    degradation: makes the first one; its draws depend on the content alone. None: a bicubic reduction.
    """
    height, width = (side - side % scale for side in pixels.shape[:2])
    high = pixels[:height, :width]
    if degradation:
        return degradation(high, scale, np.random.default_rng(int(digest_of(high), 16))), high
    return to_pixels(resize_bicubic(to_tensor(high)[None], 1 / scale)[0]), high


class LowAndHigh:
    """(low, high) of each photograph, as 8-bit numbers; both are made when they are needed."""

    def __init__(self, photographs: Sequence[Photograph], scale: int, highs: Kept):
        """highs: where photographs are kept. The low ones, each made of a whole photograph, are kept here."""
        self.photographs, self.scale, self.highs, self.lows = photographs, scale, highs, Kept(KEPT_LOW_BYTES)
        self.sizes = [(height // scale, width // scale) for height, width in (p.size for p in photographs)]

    def __len__(self) -> int:
        return len(self.photographs)

    def __getitem__(self, number: int) -> tuple[Pixels, Pixels]:
        pixels, (height, width) = self.photographs[number].pixels, self.sizes[number]
        (low,) = self.lows.get(number, lambda: low_and_high(pixels, self.scale)[:1])
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


def whole_pairs(pairs: Iterable[tuple[Pixels, Pixels]]) -> list[tuple[Tensor, Tensor]]:
    """Each pair as a batch of one, (source, target)."""
    return [(to_tensor(low)[None], to_tensor(np.asarray(high))[None]) for low, high in pairs]


def whole_images(
    photographs: Sequence[Photograph], scale: int, degradation: Degradation | None = None
) -> list[tuple[Tensor, Tensor]]:
    """Each photograph as a batch of one, (low, high)."""
    return whole_pairs(low_and_high(image.pixels, scale, degradation) for image in photographs)
