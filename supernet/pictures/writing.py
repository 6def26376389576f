"""Pictures and arrays as files: each format with what it can hold."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import png
import tifffile
from numpy.typing import NDArray
from PIL import Image

from evo_c2f.files import replacing
from supernet.pictures.decoding import Layout, Levels
from supernet.pictures.opening import ON_WHITE, SUFFIXES

OPTIONS: dict[str, dict[str, Any]] = {s: {"quality": 95} for s in (".jpg", ".jpeg", ".jfif", ".webp", ".avif")}
WITHOUT_ALPHA = {".jpg", ".jpeg", ".jfif", ".bmp"}
WRITTEN = SUFFIXES - {".gif"}  # which holds 256 colours
WITH_16_BITS = {".png", ".tif", ".tiff"}
WITH_PLANES = {".npy", ".tif", ".tiff"}  # which hold any channels, and floats

TO_8_BITS = "its format holds 8 bits a channel"
TO_16_BITS = "its format holds 16 bits a channel, not floats"
NO_EXIF_HERE = "its EXIF is not written to TIFF of 16-bit colour"
NO_PROFILE = "its format can't hold its colour profile or its EXIF"


def save_picture(
    image: Image.Image | Levels, target: Path, info: dict[str, Any], layout: Layout | None = None
) -> tuple[str, ...]:
    """Write the whole picture or nothing; the losses of the format, in words: alpha laid on white, 16 bits as 8.

    layout: of an array's channels, as `Decoded` tells it. ValueError if the format can't hold them.
    """
    suffix, losses = target.suffix.lower(), list[str]()
    if suffix == ".npy" or (isinstance(image, np.ndarray) and (layout or image.shape[2] > 4)):
        return save_planes(np.asarray(image), target, info, layout)
    if suffix not in WITH_16_BITS:
        if isinstance(image, np.ndarray):
            image, losses = Image.fromarray(to_8_bits(image)), [TO_8_BITS]
        elif image.mode.startswith("I"):
            image, losses = Image.fromarray(to_8_bits(np.asarray(image))), [TO_8_BITS]
    if isinstance(image, np.ndarray):
        with replacing(target) as partial:
            return save_deep(image, partial, info)
    if suffix in WITHOUT_ALPHA and image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
        losses.append(ON_WHITE)
    if info and suffix == ".bmp":
        info, losses = {}, [*losses, NO_PROFILE]
    with replacing(target) as partial:
        try:
            image.save(partial, **OPTIONS.get(suffix, {}), **info)
        except (ValueError, TypeError, struct.error):  # such as EXIF that is too long for a JPEG
            if not info:
                raise
            image.save(partial, **OPTIONS.get(suffix, {}))
            losses.append(NO_PROFILE)
    return tuple(losses)


def save_planes(pixels: Levels, target: Path, info: dict[str, Any], layout: Layout | None) -> tuple[str, ...]:
    """Write an array as numpy's or as TIFF, or, if it is grey or RGB of 8 or 16 bits, as any format."""
    channels, suffix = 1 if pixels.ndim == 2 else pixels.shape[2], target.suffix.lower()
    grey = pixels if pixels.ndim == 2 else pixels[..., 0]
    if suffix not in WITH_PLANES:
        if channels not in (1, 3) or pixels.dtype == np.float32:
            kind = "floats" if pixels.dtype == np.float32 else f"{channels} channels"
            raise ValueError(f"a {suffix} file holds no {kind}; name a .tif or .npy file")
        deep = pixels.dtype == np.uint16 and channels == 3
        return save_picture(pixels if deep else Image.fromarray(grey if channels == 1 else pixels), target, {})
    with replacing(target) as partial, partial.open("wb") as file:
        if suffix == ".npy":
            np.save(file, grey if layout == "flat" and channels == 1 else pixels, allow_pickle=False)
        else:
            write_tiff(file, grey if channels == 1 else pixels, layout)
    return (NO_PROFILE,) if info else ()


def write_tiff(file: BinaryIO, pixels: Levels, layout: Layout | None) -> None:
    """Its channels as pages or side by side."""
    how: dict[str, Any] = {"photometric": "minisblack", "compression": "zlib"}
    if pixels.ndim == 3 and layout == "pages":
        pixels = np.moveaxis(pixels, 2, 0)
    elif pixels.ndim == 3:
        how |= {"photometric": "rgb" if pixels.shape[2] == 3 else "minisblack", "planarconfig": "contig"}
    tifffile.imwrite(file, pixels, **how)


def to_8_bits(levels: NDArray[np.uint16]) -> NDArray[np.uint8]:
    return (levels.astype(np.float32) / 257).round().astype(np.uint8)


def save_deep(pixels: Levels, path: Path, info: dict[str, Any]) -> tuple[str, ...]:
    """Write 16-bit colour, as PNG or TIFF; the losses, in words. ValueError for other numbers."""
    if pixels.dtype != np.uint16:  # floats in 0..1 would be cast to black
        raise ValueError(f"its numbers are {pixels.dtype}, not of 16 bits")
    grey, alpha = pixels.shape[2] < 3, pixels.shape[2] in (2, 4)
    profile, exif = info.get("icc_profile"), info.get("exif")
    if path.suffix.lower() != ".png":
        extra = ["unassalpha"] if alpha else None
        kind = "minisblack" if grey else "rgb"
        tifffile.imwrite(path, pixels, photometric=kind, extrasamples=extra, compression="zlib", iccprofile=profile)
        return (NO_EXIF_HERE,) if exif else ()
    height, width = pixels.shape[:2]
    plain = io.BytesIO()
    rows = pixels.astype(">u2").reshape(height, -1)
    png.Writer(width, height, greyscale=grey, alpha=alpha, bitdepth=16).write_packed(
        plain, map(np.ndarray.tobytes, rows)
    )
    header, *others = png.Reader(bytes=plain.getvalue()).chunks()
    about = [(b"iCCP", b"ICC Profile\0\0" + zlib.compress(profile))] if profile else []
    about += [(b"eXIf", exif.removeprefix(b"Exif\0\0"))] if exif else []
    with path.open("wb") as file:
        png.write_chunks(file, [header, *about, *others])
    return ()
