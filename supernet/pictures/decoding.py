"""What a picture file holds: its channels as numbers, upright, and the parts of it that are not used."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from supernet.pictures.opening import (
    EIGHT_BITS,
    FIRST_PAGE,
    ON_WHITE,
    TO_RGB,
    deep_grey_with_alpha,
    in_few_words,
    low_bytes,
    opening,
)

Levels = NDArray[Any]  # (height, width, channels): uint8, uint16, or float32 in 0..1
Depth = Literal[8, 16, "float"]
Layout = Literal["flat", "pages", "samples"]
DTYPES: dict[Depth, Any] = {8: np.uint8, 16: np.uint16, "float": np.float32}
WHITE = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535, np.dtype(np.float32): 1}
LUMA = np.array([0.299, 0.587, 0.114])  # of BT.601
TIFF = {".tif", ".tiff"}
OWN_TAGS = 32768  # TIFF tags from here on are of others than the format

TO_GREY = "its colours are converted to grey"
AS_FLOAT32 = "its numbers are read as 32-bit floats"


@dataclass(frozen=True)
class Reading:
    """What files are read as. depth: bits of a channel, or floats in 0..1."""

    channels: int = 3
    depth: Depth = 8

    @property
    def bytes_a_pixel(self) -> int:
        return self.channels * int(np.dtype(DTYPES[self.depth]).itemsize)


RGB = Reading()


def wider(one: Reading, other: Reading) -> Reading:
    """The one of more channels: of a file that holds pictures of both."""
    return max(one, other, key=lambda reading: reading.channels)


@dataclass(frozen=True)
class Decoded:
    """A picture as its file has it. alpha: (h, w, 1) of the same numbers, or None; info: ICC profile and EXIF.

    layout: how the channels lie in an array or a TIFF that Pillow doesn't read: in one array (h, w), in pages, or (h,
    w, c); tags: whether a TIFF says more, such as a place on a map.
    """

    levels: Levels
    alpha: Levels | None = None
    info: dict[str, Any] = field(default_factory=dict)
    losses: tuple[str, ...] = ()
    layout: Layout | None = None
    tags: bool = False


@dataclass(frozen=True)
class Raw:
    """The header of an array, or of a TIFF that Pillow doesn't read. load: gives the numbers, shaped (h, w, c)."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    load: Callable[[], Levels]
    layout: Layout
    losses: tuple[str, ...] = ()
    tags: bool = False
    alpha: bool = False  # whether the last channel of a grey or RGB picture of 16 bits is its transparency


def read(path: Path, reading: Reading) -> tuple[Levels, tuple[str, ...]]:
    """The pixels (h, w, c), upright, and in words the parts of the file that they lack; alpha is laid on white.

    ValueError, in a few words, if the file can't be read, or not as these channels.
    """
    return as_read(decoded(path, reading.channels), reading)


def as_read(found: Decoded, reading: Reading) -> tuple[Levels, tuple[str, ...]]:
    """See `read`."""
    found = with_channels(with_depth(found, reading.depth), reading.channels)
    if found.alpha is None:
        return found.levels, found.losses
    return on_white(found.levels, found.alpha), (*found.losses, ON_WHITE)


def header(path: Path, reading: Reading) -> tuple[tuple[int, int], tuple[str, ...]]:
    """(height, width) of the upright picture, and the losses that its header shows. ValueError like `read`."""
    with in_few_words():
        raw = raw_header(path, reading.channels)
    if raw:
        deep = raw.dtype == np.uint16 and reading.depth == 8
        laid = raw.alpha and reading.channels in (1, 3)
        return (raw.shape[0], raw.shape[1]), raw.losses + (EIGHT_BITS,) * deep + (ON_WHITE,) * laid
    with opening(path) as opened:
        deep = reading.depth != 8
        return opened.size, tuple(loss for loss in opened.losses if not (deep and loss == EIGHT_BITS))


def decoded(path: Path, channels: int) -> Decoded:
    """The picture as it lies in the file. channels: wanted; a TIFF's pages are its channels unless these are 1 or 3.

    ValueError, in a few words, if it can't be read.
    """
    with in_few_words():
        raw = raw_header(path, channels)
        if raw:
            levels = np.ascontiguousarray(raw.load(), np.float32 if raw.dtype.kind == "f" else raw.dtype)
            if raw.alpha and channels in (1, 3):
                return Decoded(levels[..., :-1], levels[..., -1:], losses=raw.losses, tags=raw.tags)
            return replace(of_array(levels), losses=raw.losses, layout=raw.layout, tags=raw.tags)
    with opening(path) as opened:
        grey_with_alpha = deep_grey_with_alpha(path, opened)
        image, losses, low = opened.upright(), opened.losses, low_bytes(path, opened)
        profile = None if TO_RGB in losses else image.info.get("icc_profile")
        info = {name: it for name, it in {"icc_profile": profile, "exif": opened.exif}.items() if it}
        if image.mode.startswith("I"):
            grey = np.asarray(image).clip(0, 65535).astype(np.uint16)[..., None]
            return Decoded(grey, alpha_of(grey, image.info.get("transparency")), info, losses)
        if grey_with_alpha is not None or low is not None:
            losses = tuple(loss for loss in losses if loss != EIGHT_BITS)
        if grey_with_alpha is not None:
            return Decoded(grey_with_alpha[..., :1], grey_with_alpha[..., 1:], info, losses)
        if low is not None:
            whole = np.asarray(image).astype(np.uint16) * 256 + np.asarray(low)
            levels, alpha = whole[..., :3], whole[..., 3:] if image.mode == "RGBA" else None
            if alpha is None:
                alpha = alpha_of(levels, image.info.get("transparency"))
            return Decoded(levels, alpha, info, losses)
        alpha = np.asarray(image.convert("RGBA"))[..., 3:] if image.has_transparency_data else None
        if image.mode in ("1", "L", "LA", "La"):
            return Decoded(np.asarray(image.convert("L"))[..., None], alpha, info, losses)
        return Decoded(np.asarray(image.convert("RGB")), alpha, info, losses)


def alpha_of(levels: Levels, transparent: Any) -> Levels | None:
    """The alpha of 16 bits (h, w, 1) where one grey, or one colour, is transparent; None if none is."""
    if transparent is None:
        return None
    seen: Levels = (levels != np.asarray(transparent, np.uint16)).any(axis=2, keepdims=True)
    return np.where(seen, np.uint16(65535), np.uint16(0))


def raw_header(path: Path, channels: int) -> Raw | None:
    """The header of a file that Pillow doesn't read for so many channels; None if it does, or nothing can."""
    suffix = path.suffix.lower()
    if suffix == ".npy":
        raw = array_header(path)
    elif suffix in TIFF and (channels not in (1, 3) or is_unusual(path)):
        raw = tiff_header(path)
    else:
        return None
    if 0 in raw.shape:
        raise ValueError(f"it is empty, of {' x '.join(map(str, raw.shape))} numbers")
    pixels, most = raw.shape[0] * raw.shape[1], Image.MAX_IMAGE_PIXELS
    if most and pixels > 2 * most:
        raise ValueError(f"it has {pixels} pixels, more than {2 * most}")
    return raw


def is_unusual(path: Path) -> bool:
    """Whether a TIFF has what Pillow doesn't read, or reads wrongly: floats, more than 4 channels, 16 bits with each
    channel on a plane of its own, or grey of 16 bits with alpha. False if it can't be read: Pillow then says why.
    """
    try:
        with tifffile.TiffFile(path) as file:
            page: Any = file.pages[0]
            planes = page.samplesperpixel > 1 and page.planarconfig == 2
            deep = page.bitspersample == 16 and (planes or page.samplesperpixel == 2)
            return bool(page.dtype.kind == "f" or page.samplesperpixel > 4 or deep)
    except Exception:
        return False


def array_header(path: Path) -> Raw:
    """Of a file of numpy, which may be (h, w) or (h, w, c)."""
    array = np.lib.format.open_memmap(path, mode="r")
    if array.ndim not in (2, 3):
        raise ValueError(f"it has {array.ndim} dimensions; an image is (height, width) or (height, width, channels)")
    shape, flat = (*array.shape, 1)[:3], array.ndim == 2
    native = array.dtype.newbyteorder("=")
    losses = (AS_FLOAT32,) if native.kind == "f" and native != np.float32 else ()
    return Raw(shape, native, lambda: np.array(array, native).reshape(shape), "flat" if flat else "samples", losses)


def tiff_header(path: Path) -> Raw:
    """Of a TIFF's first series of pages; all its pages and samples are channels."""
    with tifffile.TiffFile(path) as file:
        page: Any = file.pages[0]
        series = file.series[0]
        axes, n_series = series.axes, len(file.series)
        if not {*"YX"} <= {*axes} or page.photometric in (0, 3) or page.tags.valueof(274, 1) != 1:
            raise ValueError("its TIFF is turned, or has 0 for white, or a palette; store it upright, with 0 for black")
        sides = [series.shape[axes.index(axis)] for axis in "YX"]
        shape = (*sides, int(np.prod(series.shape)) // (sides[0] * sides[1]))
        layout: Layout = "flat" if len(axes) == 2 else "pages" if page.samplesperpixel == 1 else "samples"
        tags = any(tag.code >= OWN_TAGS for tag in page.tags)
        deep = page.bitspersample == 16 and series.dtype.kind == "u" and shape[2] in (2, 4)
        alpha = deep and len(page.extrasamples) == 1 and page.extrasamples[0] > 0

    def load() -> Levels:
        array = tifffile.imread(path, series=0)
        return np.moveaxis(array, (axes.index("Y"), axes.index("X")), (0, 1)).reshape(shape)

    losses = (FIRST_PAGE,) * (n_series > 1) + (AS_FLOAT32,) * (series.dtype.kind == "f" and series.dtype.itemsize != 4)
    return Raw(shape, series.dtype.newbyteorder("="), load, layout, losses, tags, alpha)


def of_array(levels: Levels) -> Decoded:
    """A picture of these numbers. ValueError if they have other bits, or floats lie beyond 0..1."""
    if levels.dtype not in WHITE:
        raise ValueError(f"its numbers are {levels.dtype}; give 8 or 16 bits, or floats in 0..1")
    if levels.dtype == np.float32 and not np.isfinite(levels).all():
        raise ValueError("not all of its floating-point numbers are finite")
    if levels.dtype == np.float32 and (levels.min() < 0 or levels.max() > 1):
        raise ValueError(f"its floating-point numbers lie in {levels.min():g}..{levels.max():g}; scale them to 0..1")
    return Decoded(levels)


def with_depth(found: Decoded, depth: Depth) -> Decoded:
    """The same with other numbers. ValueError for floats, unless these are wanted."""
    before, after = found.levels.dtype, np.dtype(DTYPES[depth])
    if before == after:
        return found
    if before == np.float32:
        raise ValueError("its numbers are floating-point; set data.depth to float, or convert it to 8 or 16 bits")

    def changed(levels: Levels) -> Levels:
        if after == np.float32:
            return levels / np.float32(WHITE[before])
        if after == np.uint16:
            return levels.astype(np.uint16) * 257
        if found.levels.shape[2] == 3:
            return (levels >> 8).astype(np.uint8)  # as Pillow reads colours: a run knows its pictures by their hash
        return (levels / 257 + 0.5).astype(np.uint8)

    losses = (*found.losses, EIGHT_BITS) if after == np.uint8 else found.losses
    alpha = None if found.alpha is None else changed(found.alpha)
    return replace(found, levels=changed(found.levels), alpha=alpha, losses=losses)


def with_channels(found: Decoded, channels: int) -> Decoded:
    """The same with so many channels: grey as colours, colours as grey, or alpha as one. ValueError for another way."""
    levels, have = found.levels, found.levels.shape[2]
    if have == channels:
        return found
    if found.alpha is not None and have + 1 == channels:
        return replace(found, levels=np.concatenate([levels, found.alpha], axis=2), alpha=None)
    if (have, channels) == (1, 3):
        return replace(found, levels=levels.repeat(3, axis=2))
    if (have, channels) != (3, 1):
        raise ValueError(f"it has {have} channels, not {channels}")
    if (levels == levels[..., :1]).all():  # grey that was stored as colours
        return replace(found, levels=np.ascontiguousarray(levels[..., :1]))
    grey = (levels @ LUMA)[..., None]
    grey = grey.round() if levels.dtype.kind == "u" else grey
    return replace(found, levels=grey.astype(levels.dtype), losses=(*found.losses, TO_GREY))


def channels_of(half: Levels, channels: int) -> Levels:
    """The first channels of a half picture. ValueError if it has others, as a JPEG has where the halves meet."""
    others = half[..., channels:]
    if (others != half[..., :1]).any():
        raise ValueError(f"a half of it has more than {channels} channels; store the halves in two folders")
    return half[..., :channels]


def on_white(levels: Levels, alpha: Levels) -> Levels:
    """Alpha laid on white, in 8 bits as Pillow does it."""
    if levels.dtype == np.uint8:
        image = Image.fromarray(np.dstack([*[levels] * (3 // levels.shape[2]), alpha]), "RGBA")
        white = Image.new("RGBA", image.size, "white")
        return np.asarray(Image.alpha_composite(white, image).convert("RGB"))[..., : levels.shape[2]]
    most = WHITE[levels.dtype]
    share = alpha / most
    laid = levels * share + most * (1 - share)
    found: Levels = (laid.round() if levels.dtype.kind == "u" else laid).astype(levels.dtype)
    return found
