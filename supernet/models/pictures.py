"""Pictures of any mode through a generator: the colours pass through it, everything else is kept beside it."""

import io
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import png
import tifffile
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from evo_c2f.errors import InputError
from evo_c2f.files import replacing
from supernet.data.picture_files import (
    EIGHT_BITS,
    ON_WHITE,
    SUFFIXES,
    TO_RGB,
    low_bytes,
    opening,
    pictures_in,
    tell_losses,
)
from supernet.models.tiling import Generator, tiles

OPTIONS: dict[str, dict[str, Any]] = {s: {"quality": 95} for s in (".jpg", ".jpeg", ".jfif", ".webp", ".avif")}
WITHOUT_ALPHA = {".jpg", ".jpeg", ".jfif", ".bmp"}
WRITTEN = SUFFIXES - {".gif"}  # which holds 256 colours
WITH_16_BITS = {".png", ".tif", ".tiff"}

TO_8_BITS = "its format holds 8 bits a channel"
AS_PNG = "it is written as PNG, as its own format holds 256 colours"
NO_EXIF_HERE = "its EXIF is not written to TIFF of 16-bit colour"
NO_PROFILE = "its format can't hold its colour profile or its EXIF"

Deep = NDArray[np.uint16]  # (height, width, 3 or 4)


@dataclass(frozen=True)
class Picture:
    """An opened picture, upright. colour: (h, w, 3) in 0..1; alpha: 8 bits, or floats in 0..1 for deep pictures; or
    None.
    """

    colour: NDArray[np.float32]
    alpha: Image.Image | None
    grey: bool
    deep: bool  # 16 bits a channel
    info: dict[str, Any]  # ICC profile and EXIF, to be kept
    losses: tuple[str, ...] = ()  # of what the file holds, in words


def read_picture(path: Path) -> Picture:
    """InputError if the file is not a readable image."""
    try:
        with opening(path) as opened:
            image, losses, low = opened.upright(), opened.losses, low_bytes(path, opened)
            profile = None if TO_RGB in losses else image.info.get("icc_profile")
            kept = {"icc_profile": profile, "exif": opened.exif}
            info = {name: value for name, value in kept.items() if value}
            if image.mode.startswith("I"):
                levels = np.asarray(image).clip(0, 65535).astype(np.float32)[..., None] / np.float32(65535)
                return Picture(levels.repeat(3, axis=2), None, True, True, info, losses)
            if low is not None:
                whole = (np.asarray(image, np.float32) * 256 + np.asarray(low, np.float32)) / np.float32(65535)
                deep_alpha = Image.fromarray(whole[..., 3]) if image.mode == "RGBA" else None
                losses = tuple(loss for loss in losses if loss != EIGHT_BITS)
                return Picture(whole[..., :3], deep_alpha, False, True, info, losses)
            alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
            grey = image.mode in ("1", "L", "LA", "La")
            colour = np.asarray(image.convert("RGB"), dtype=np.float32) / np.float32(255)
            return Picture(colour, alpha, grey, False, info, losses)
    except ValueError as error:
        raise InputError(f"{path} can't be read: {error}") from None


def tensor_of(picture: Picture) -> Tensor:
    """Its colours, (1, 3, h, w) in 0..1."""
    return torch.from_numpy(picture.colour).movedim(-1, 0)[None]


def generate(
    network: Generator, picture: Picture, tile: int, device: torch.device, after_tile: Callable[[], None] = lambda: None
) -> Image.Image | Deep:
    """The network's output, in the picture's mode: colour or grey, 8 or 16 bits, with or without alpha.

    16-bit colour, for which Pillow has no mode, is returned as an array.
    """
    image = tensor_of(picture).to(device)
    height, width = (side * network.scale for side in picture.colour.shape[:2])
    levels, dtype = (65535, np.uint16) if picture.deep else (255, np.uint8)
    pixels = np.empty((height, width) if picture.grey else (height, width, 3), dtype)
    for rows, columns, output in tiles(network, image, tile):
        part = output[0].mean(dim=0) if picture.grey else output[0].movedim(0, -1)
        pixels[rows, columns] = part.clamp(0, 1).mul(levels).round().cpu().numpy()
        after_tile()
    alpha = picture.alpha and picture.alpha.resize((width, height), Image.Resampling.BICUBIC)
    if picture.deep and not picture.grey:
        if alpha is None:
            return pixels
        return np.dstack([pixels, (np.asarray(alpha).clip(0, 1) * 65535).round().astype(np.uint16)])
    result = Image.fromarray(pixels)
    if alpha is not None:
        result.putalpha(alpha)
    return result


def plan(source: Path, out: Path, overwrite: bool, skip: bool = False) -> list[tuple[Path, Path]]:
    """(picture, target) of a file or a folder; the names stay. InputError if there is nothing to do or too much.

    A file goes into the folder `out`, or to the file `out` if that has an image's suffix.
    """
    if source.is_dir():
        pictures = pictures_in(source)
        if not pictures:
            raise InputError(f"{source} holds no image ({', '.join(sorted(SUFFIXES))})")
    elif source.is_file():
        pictures = [source]
    else:
        raise InputError(f"{source} is absent; name an image or a folder of images")
    to_file = source.is_file() and bool(out.suffix) and not out.is_dir()
    if to_file and out.suffix.lower() not in WRITTEN:
        raise InputError(f"{out} is named like no image that can be written ({', '.join(sorted(WRITTEN))})")
    pairs = [(picture, out if to_file else out / written_name(picture)) for picture in pictures]
    for target, n in Counter(target for _, target in pairs).items():
        if n > 1:
            raise InputError(f"{n} pictures would be written to {target}; put the .gif into a folder of its own")
    left = [(picture, target) for picture, target in pairs if not target.exists()]
    if skip and left:
        return left
    if len(left) < len(pairs) and not overwrite:
        (taken, *_) = [target for _, target in pairs if target.exists()]
        raise InputError(f"{taken} is there already; name another folder, or say --overwrite, or --skip for the others")
    return pairs


def written_name(picture: Path) -> str:
    """The picture's own name, with another suffix if its format can't be written."""
    return picture.with_suffix(".png").name if picture.suffix.lower() == ".gif" else picture.name


def save_picture(image: Image.Image | Deep, target: Path, info: dict[str, Any]) -> tuple[str, ...]:
    """Write the whole picture or nothing; the losses of the format, in words: alpha laid on white, 16 bits as 8."""
    suffix, losses = target.suffix.lower(), list[str]()
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


def to_8_bits(levels: NDArray[np.uint16]) -> NDArray[np.uint8]:
    return (levels.astype(np.float32) / 257).round().astype(np.uint8)


def save_deep(pixels: Deep, path: Path, info: dict[str, Any]) -> tuple[str, ...]:
    """Write 16-bit colour, as PNG or TIFF; the losses, in words."""
    alpha, profile, exif = pixels.shape[2] == 4, info.get("icc_profile"), info.get("exif")
    if path.suffix.lower() != ".png":
        extra = ["unassalpha"] if alpha else None
        tifffile.imwrite(path, pixels, photometric="rgb", extrasamples=extra, compression="zlib", iccprofile=profile)
        return (NO_EXIF_HERE,) if exif else ()
    height, width = pixels.shape[:2]
    plain = io.BytesIO()
    rows = pixels.astype(">u2").reshape(height, -1)
    png.Writer(width, height, greyscale=False, alpha=alpha, bitdepth=16).write_packed(
        plain, map(np.ndarray.tobytes, rows)
    )
    header, *others = png.Reader(bytes=plain.getvalue()).chunks()
    about = [(b"iCCP", b"ICC Profile\0\0" + zlib.compress(profile))] if profile else []
    about += [(b"eXIf", exif.removeprefix(b"Exif\0\0"))] if exif else []
    with path.open("wb") as file:
        png.write_chunks(file, [header, *about, *others])
    return ()


def apply(
    network: Generator,
    pairs: Iterable[tuple[Path, Path]],
    tile: int,
    device: torch.device,
    warn: Callable[[str], None],
) -> Iterator[Path]:
    """Yields each picture that was written.

    warn: gets a message about a picture that can't be read or stored in its format, and at the end about all losses.
    """
    losses = dict[str, tuple[str, ...]]()
    try:
        for source, target in pairs:
            try:
                picture = read_picture(source)
            except InputError as error:
                warn(f"{error}; it is left out")
                continue
            made = generate(network, picture, tile, device)
            try:
                losses[source.name] = (*picture.losses, *save_picture(made, target, picture.info))
            except (OSError, ValueError) as error:
                if isinstance(error, OSError) and error.errno:  # of the disk, not of the format
                    raise
                warn(f"{target} can't be written: {error}; it is left out")
                continue
            if source.suffix.lower() not in WRITTEN and target.name == written_name(source):
                losses[source.name] += (AS_PNG,)
            yield target
    finally:
        tell_losses(losses, warn)
