"""Pictures of any mode through a generator: what is colour goes through, what is not is kept beside it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

from evo_c2f.errors import InputError
from evo_c2f.files import replacing
from supernet.images import FLOATS, SUFFIXES
from supernet.tiling import Generator, tiles

QUALITY: dict[str, dict[str, Any]] = {".jpg": {"quality": 95}, ".jpeg": {"quality": 95}, ".webp": {"quality": 95}}
WITHOUT_ALPHA = {".jpg", ".jpeg", ".bmp"}
WITH_16_BITS = {".png", ".tif", ".tiff"}


@dataclass(frozen=True)
class Picture:
    """An opened picture, upright. colour: (h, w, 3) in 0..1; alpha: 8-bit, or None."""

    colour: NDArray[np.float32]
    alpha: Image.Image | None
    grey: bool
    deep: bool  # 16 bits a channel
    info: dict[str, Any]  # ICC profile and EXIF, to be kept


def read_picture(path: Path) -> Picture:
    """InputError if the file is no readable image."""
    try:
        with Image.open(path) as file:
            image: Image.Image = ImageOps.exif_transpose(file)
            image.load()
            if image.mode == "F":
                raise OSError(FLOATS)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} can't be read: {str(error).splitlines()[0]}") from None
    kept = {"icc_profile": image.info.get("icc_profile"), "exif": image.getexif().tobytes()}
    info = {name: value for name, value in kept.items() if value}
    if image.mode.startswith("I"):
        levels = np.asarray(image).clip(0, 65535).astype(np.float32)[..., None] / np.float32(65535)
        return Picture(levels.repeat(3, axis=2), None, True, True, info)
    alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
    grey = image.mode in ("1", "L", "LA", "La")
    colour = np.asarray(image.convert("RGB"), dtype=np.float32) / np.float32(255)
    return Picture(colour, alpha, grey, False, info)


def generate(network: Generator, picture: Picture, tile: int, device: torch.device) -> Image.Image:
    """The picture by the network, in the mode that it came in (colour, grey, 16-bit grey, with alpha)."""
    image = torch.from_numpy(picture.colour).movedim(-1, 0)[None].to(device)
    height, width = (side * network.scale for side in picture.colour.shape[:2])
    levels, dtype = (65535, np.uint16) if picture.deep else (255, np.uint8)
    pixels = np.empty((height, width) if picture.grey else (height, width, 3), dtype)
    for rows, columns, output in tiles(network, image, tile):
        part = output[0].mean(dim=0) if picture.grey else output[0].movedim(0, -1)
        pixels[rows, columns] = part.clamp(0, 1).mul(levels).round().cpu().numpy()
    result = Image.fromarray(pixels)
    if picture.alpha is not None:
        result.putalpha(picture.alpha.resize((width, height), Image.Resampling.BICUBIC))
    return result


def plan(source: Path, out: Path, overwrite: bool, skip: bool = False) -> list[tuple[Path, Path]]:
    """(picture, where it goes) of a file or a folder; the names stay. InputError if there is nothing to do or too much.

    A file goes into the folder `out`, or to the file `out` if it is named like an image.
    """
    if source.is_dir():
        pictures = sorted(p for p in source.iterdir() if p.suffix.lower() in SUFFIXES)
        if not pictures:
            raise InputError(f"{source} holds no image ({', '.join(sorted(SUFFIXES))})")
    elif source.is_file():
        pictures = [source]
    else:
        raise InputError(f"{source} is absent; name an image or a folder of images")
    to_file = source.is_file() and bool(out.suffix) and not out.is_dir()
    if to_file and out.suffix.lower() not in SUFFIXES:
        raise InputError(f"{out} is named like no image that can be written ({', '.join(sorted(SUFFIXES))})")
    pairs = [(picture, out if to_file else out / picture.name) for picture in pictures]
    left = [(picture, target) for picture, target in pairs if not target.exists()]
    if skip and left:
        return left
    if len(left) < len(pairs) and not overwrite:
        (taken, *_) = [target for _, target in pairs if target.exists()]
        raise InputError(f"{taken} is there already; name another folder, or say --overwrite, or --skip for the others")
    return pairs


def save_picture(image: Image.Image, target: Path, info: dict[str, Any]) -> None:
    """Whole or not at all. What the format can't hold is left out: alpha on white, 16 bits as 8."""
    suffix = target.suffix.lower()
    if suffix in WITHOUT_ALPHA and image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    if image.mode.startswith("I") and suffix not in WITH_16_BITS:
        image = Image.fromarray((np.asarray(image).astype(np.float32) / 257).round().astype(np.uint8))
    with replacing(target) as partial:
        image.save(partial, **QUALITY.get(suffix, {}), **info)


def apply(
    network: Generator,
    pairs: Iterable[tuple[Path, Path]],
    tile: int,
    device: torch.device,
    warn: Callable[[str], None],
) -> Iterator[Path]:
    """Each picture that was written. One that can't be read, or held by its format, is named through `warn`."""
    for source, target in pairs:
        try:
            picture = read_picture(source)
        except InputError as error:
            warn(f"{error}; it is left out")
            continue
        made = generate(network, picture, tile, device)
        try:
            save_picture(made, target, picture.info)
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno:  # of the disk, not of the format
                raise
            warn(f"{target} can't be written: {error}; it is left out")
            continue
        yield target
