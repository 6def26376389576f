"""Pictures of any mode through a generator: the colours pass through it, everything else is kept beside it."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from evo_c2f.errors import InputError
from supernet.data.picture_files import pictures_in, tell_losses
from supernet.layouts.partners import relative_names
from supernet.models.tiling import Generator, tiles
from supernet.network.teacher import ResNetGenerator
from supernet.pictures.decoding import WHITE, Layout, Levels, decoded, with_channels
from supernet.pictures.opening import SUFFIXES
from supernet.pictures.writing import WITH_PLANES, WRITTEN, save_picture

AS_PNG = "it is written as PNG, as its own format holds 256 colours"
AS_TIFF = "it is written as TIFF, as its own format holds at most 4 channels"
NO_ALPHA = "its transparency is not written beside outputs of other channels"
NO_TAGS = "its further TIFF tags, such as a place on a map, are not written"
OTHER_PROFILE = "its colour profile is not written beside outputs of other channels"
SMALLEST_TILE = 16  # that the commands take
LACK_OF_MEMORY = "out of memory|allocate memory|not enough memory"  # of a GPU, or of torch's CPU allocator


@dataclass(frozen=True)
class Picture:
    """An opened picture, upright. colour: (h, w, c) in 0..1; alpha: 8 bits, or floats in 0..1 for deep pictures; or
    None.
    """

    colour: NDArray[np.float32]
    alpha: Image.Image | None
    channels: int  # of the file, without alpha
    dtype: np.dtype[Any]  # of its numbers
    info: dict[str, Any]  # ICC profile and EXIF, to be kept
    losses: tuple[str, ...] = ()  # of what the file holds, in words
    layout: Layout | None = None  # of channels that are no picture to Pillow: see `Decoded`

    @property
    def grey(self) -> bool:
        """Whether a network of RGB gets its one channel thrice."""
        return self.channels == 1 and self.colour.shape[2] == 3

    @property
    def deep(self) -> bool:
        """Whether it has more than 8 bits a channel."""
        return self.dtype != np.uint8


def read_picture(path: Path, channels: int = 3) -> Picture:
    """For a network that takes so many channels. InputError if the file is not a readable image, or has others."""
    try:
        raw = decoded(path, channels)
        found = with_channels(raw, channels)
    except ValueError as error:
        raise InputError(f"{path} can't be read: {error}") from None
    dtype = found.levels.dtype
    alpha = None
    if found.alpha is not None:
        plane = found.alpha[..., 0]
        alpha = Image.fromarray(plane if dtype == np.uint8 else as_share(plane))
    losses = (*found.losses, NO_TAGS) if found.tags else found.losses
    return Picture(as_share(found.levels), alpha, raw.levels.shape[2], dtype, found.info, losses, found.layout)


def as_share(levels: Levels) -> NDArray[np.float32]:
    """In 0..1."""
    return levels.astype(np.float32) / np.float32(WHITE[levels.dtype])


def tensor_of(picture: Picture) -> Tensor:
    """Its colours, (1, c, h, w) in 0..1."""
    return torch.from_numpy(picture.colour).movedim(-1, 0)[None]


def stays_grey(network: Generator) -> bool:
    """Whether a grey picture's output is grey: of networks that enlarge or restore, not of those that translate."""
    frame = getattr(network, "frame", None)
    return not isinstance(network, ResNetGenerator) and (frame is None or frame.residual)


def generate(
    network: Generator, picture: Picture, tile: int, device: torch.device, after_tile: Callable[[], None] = lambda: None
) -> Image.Image | Levels:
    """The network's output, with the picture's bits and its alpha, if any; grey if the picture is and stays so.

    What Pillow has no mode for is returned as an array (h, w, c). InputError if smaller tiles may fit into memory.
    """
    image, white = tensor_of(picture).to(device), WHITE[picture.dtype]
    grey = picture.grey and stays_grey(network)
    height, width = (side * network.scale for side in picture.colour.shape[:2])
    pixels: Levels | None = None
    with naming_smaller_tiles(min(tile, max(image.shape[-2:]))):
        for rows, columns, output in tiles(network, image, tile):
            part = output[0].mean(dim=0, keepdim=True) if grey and output.shape[1] == 3 else output[0]
            part = part.movedim(0, -1).clamp(0, 1).mul(white)
            pixels = np.empty((height, width, part.shape[2]), picture.dtype) if pixels is None else pixels
            pixels[rows, columns] = (part if white == 1 else part.round()).cpu().numpy()
            after_tile()
    assert pixels is not None
    n, alpha = pixels.shape[2], None
    if picture.alpha and n in (1, 3):
        alpha = picture.alpha.resize((width, height), Image.Resampling.BICUBIC)
    if picture.layout or n > 4 or (picture.deep and (n > 1 or alpha)):
        if alpha is None:
            return pixels
        return np.dstack([pixels, (np.asarray(alpha).clip(0, 1) * white).round().astype(picture.dtype)])
    result = Image.fromarray(pixels[..., 0] if n == 1 else pixels)
    if alpha is not None:
        result.putalpha(alpha)
    return result


@contextmanager
def naming_smaller_tiles(side: int) -> Iterator[None]:
    """Within it, a lack of memory is an InputError that names smaller tiles. side: of those that are used."""
    try:
        yield
    except RuntimeError as error:
        if side <= SMALLEST_TILE or not re.search(LACK_OF_MEMORY, str(error)):
            raise
        smaller = max(SMALLEST_TILE, side // 2)
        raise InputError(f"there is not enough memory for tiles of {side} pixels; try --tile {smaller}") from None


def plan(source: Path, out: Path, overwrite: bool, skip: bool = False, channels: int = 3) -> list[tuple[Path, Path]]:
    """(picture, target) of a file or a folder; the names as seen from it stay. InputError if there is no picture, or if
    a target exists.

    A file goes into the folder `out`, or to the file `out` if that has an image's suffix. overwrite: targets may exist;
    skip: leave out those that do, be it all. channels: of the outputs.
    """
    if source.is_dir():
        pictures = pictures_in(source, out)
        if not pictures:
            raise InputError(f"{source} holds no image ({', '.join(sorted(SUFFIXES))})")
    elif source.is_file():
        pictures = [source]
    else:
        raise InputError(f"{source} is absent; name an image or a folder of images")
    to_file = source.is_file() and bool(out.suffix) and not out.is_dir()
    if to_file and out.suffix.lower() not in WRITTEN:
        raise InputError(f"{out} is named like no image that can be written ({', '.join(sorted(WRITTEN))})")
    root = source if source.is_dir() else source.parent
    places = [out / picture.relative_to(root).with_name(written_name(picture, channels)) for picture in pictures]
    pairs = [(source, out)] if to_file else [*zip(pictures, places, strict=True)]
    for target, n in Counter(target for _, target in pairs).items():
        if n > 1:
            alike = ", ".join(picture.name for picture, other in pairs if other == target)
            raise InputError(f"{alike} would all be written to {target}; rename them, or put them into other folders")
    left = [(picture, target) for picture, target in pairs if not target.exists()]
    if skip:
        return left
    if len(left) < len(pairs) and not overwrite:
        (taken, *_) = [target for _, target in pairs if target.exists()]
        raise InputError(f"{taken} is there already; name another folder, or say --overwrite, or --skip for the others")
    return pairs


def written_name(picture: Path, channels: int = 3) -> str:
    """The picture's own name, with another suffix if its format can't be written, or can't hold so many channels."""
    if channels > 4 and picture.suffix.lower() not in WITH_PLANES:
        return picture.with_suffix(".tif").name
    return picture.with_suffix(".png").name if picture.suffix.lower() == ".gif" else picture.name


def info_for(made: Image.Image | Levels, picture: Picture) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The picture's info for its output, and what is lost: a profile of colours is none of greys, nor the reverse."""
    n = made.shape[2] if isinstance(made, np.ndarray) else len(made.getbands())
    if "icc_profile" not in picture.info or (n > 2) == (picture.channels > 2):
        return picture.info, ()
    return {name: value for name, value in picture.info.items() if name != "icc_profile"}, (OTHER_PROFILE,)


def apply(
    network: Generator,
    pairs: Sequence[tuple[Path, Path]],
    tile: int,
    device: torch.device,
    warn: Callable[[str], None],
    channels: int = 3,
) -> Iterator[Path]:
    """Yields each picture that was written. channels: of the outputs.

    warn: gets a message about a picture that can't be read or stored in its format, and at the end about all losses.
    """
    losses, names = dict[str, tuple[str, ...]](), relative_names([source for source, _ in pairs])
    try:
        for source, target in pairs:
            try:
                picture = read_picture(source, network.input_channels)
            except InputError as error:
                warn(f"{error}; it is left out")
                continue
            made = generate(network, picture, tile, device)
            info, lost = info_for(made, picture)
            try:
                saved = save_picture(made, target, info, picture.layout)
                losses[names[source]] = (*picture.losses, *lost, *saved)
            except (OSError, ValueError) as error:
                if isinstance(error, OSError) and error.errno:  # of the disk, not of the format
                    raise
                warn(f"{target} can't be written: {error}; it is left out")
                continue
            if picture.alpha and channels not in (1, 3):
                losses[names[source]] += (NO_ALPHA,)
            if target.name == written_name(source, channels) != source.name:
                losses[names[source]] += (AS_PNG if target.suffix == ".png" else AS_TIFF,)
            yield target
    finally:
        tell_losses(losses, warn)
