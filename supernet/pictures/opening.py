"""Users' picture files as Pillow opens them: their upright sizes, their bits, and what reading loses."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import png
from numpy.typing import NDArray
from PIL import Image
from PIL.Image import Transpose

SUFFIXES = {".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".gif", ".webp", ".tif", ".tiff"}
SUFFIXES |= {".npy"}  # numpy's arrays, which Pillow doesn't read
SUFFIXES |= {".avif"} & Image.registered_extensions().keys()  # which Pillow may have been built without
# Whatever a file is called: Pillow would hand others to programs of the machine, such as PostScript to Ghostscript.
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")

EXIF_ORIENTATION = 0x0112
TURNS = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
# Tags that say how the pixels lie in the file that was read: untrue of any other.
OF_THE_FILE = {*range(254, 260), 262, 266, 273, *range(277, 280), 284, 317, *range(320, 326), 338, 339, 347, 34675}
# With one of these a PNG may have its EXIF behind its pixels, where Pillow finds it by decoding them.
LATE_EXIF = (b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp")

FIRST_PAGE = "only the first of its pages is read"
EIGHT_BITS = "8 of its 16 bits a channel are read"
NO_EXIF = "its EXIF can't be read: it is taken as it lies in the file, without EXIF"
TO_RGB = "its colours are converted to RGB, without its colour profile"
ON_WHITE = "its transparency is laid on white"


@dataclass(frozen=True)
class Opened:
    """A picture file whose header was read.

    size: (height, width) of the upright picture; losses: the parts of the file that can't be used, in words.
    """

    file: Image.Image
    turn: Transpose | None
    exif: bytes
    bits: int  # of a channel
    losses: tuple[str, ...]

    @property
    def size(self) -> tuple[int, int]:
        width, height = self.file.size
        return (width, height) if self.turn in (TURNS[5], TURNS[6], TURNS[7], TURNS[8]) else (height, width)

    def upright(self) -> Image.Image:
        """The decoded picture."""
        self.file.load()
        return self.file if self.turn is None else self.file.transpose(self.turn)


@contextmanager
def opening(path: Path) -> Iterator[Opened]:
    """The file, whose picture can be decoded within the `with`. ValueError, in a few words, if opening or decoding
    fails.
    """
    with in_few_words(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's name no file; what they are of is in `losses`, or an error
        with Image.open(path, formats=FORMATS) as file:
            refuse_unscaled(file)
            bits = bits_of(file, path)  # before anything is decoded
            turn, exif = read_exif(file, path)
            yield Opened(file, turn, exif or b"", bits, tuple(losses_of(file, bits, exif)))


@contextmanager
def in_few_words() -> Iterator[None]:
    """Within it, every error is a ValueError of one line: decoders raise whatever they stumble over in a file."""
    try:
        yield
    except Exception as error:
        raise ValueError(str(error).partition("\n")[0] or type(error).__name__) from None


def refuse_unscaled(file: Image.Image) -> None:
    """ValueError if the values of black and white are unknown."""
    tags = getattr(file, "tag_v2", {})
    bits = tags.get(258, (8,))[0]
    if file.mode == "F" or (file.mode == "I" and tags):
        kind = "floating-point" if file.mode == "F" else "signed, or of 32 bits"
        raise ValueError(f"its numbers are {kind}, of a range that isn't told; convert it to 8 or 16 bits")
    if file.mode.startswith("I") and (bits == 12 or tags.get(262) == 0):
        raise ValueError("it has 12 bits a channel, or 0 for white; convert it to 8 or 16 bits, with 0 for black")


def read_exif(file: Image.Image, path: Path) -> tuple[Transpose | None, bytes | None]:
    """(the transposition that makes it upright, the other EXIF); the latter is None if it can't be read."""
    try:
        content = path.read_bytes() if file.format == "PNG" and "exif" not in file.info else b""
        late = any(mark in content for mark in LATE_EXIF)
        exif = file.getexif() if late else Image.Image.getexif(file)
        if not len(exif):  # `getexif` hides that it failed to read them: read them again, so that the error is raised
            Image.Exif().load(file.info.get("exif", b""))
        orientation = exif.get(EXIF_ORIENTATION, 1)
        turn = TURNS.get(orientation)
        for tag in {EXIF_ORIENTATION, *OF_THE_FILE} & exif.keys():
            del exif[tag]
    except Exception:  # as above
        return None, None
    try:
        kept = exif.tobytes() if len(exif) else b""
    except Exception:
        kept = None
    if file.format == "TIFF":
        exif[EXIF_ORIENTATION], turn = orientation, None  # Pillow turns it as it decodes, by this
    return turn, kept


def losses_of(file: Image.Image, bits: int, exif: bytes | None) -> Iterator[str]:
    """The parts of the file that can't be used, in words."""
    if getattr(file, "n_frames", 1) > 1:
        yield FIRST_PAGE
    if bits > 8 and not file.mode.startswith("I"):
        yield EIGHT_BITS if bits == 16 else f"8 of its {bits} bits a channel are read"
    if file.mode in ("CMYK", "LAB", "YCbCr", "HSV"):
        yield TO_RGB
    if exif is None:
        yield NO_EXIF


def bits_of(file: Image.Image, path: Path) -> int:
    """Bits of a channel in the file, as far as a header shows; Pillow gives 8 in all modes but 'I'."""
    if file.mode.startswith("I"):
        return 16
    if file.format in ("PNG", "TIFF"):
        args = [tile[3] for tile in file.tile[:1]]  # type: ignore[attr-defined]
        return 16 if any(";16" in (a if isinstance(a, str) else str(a)) for a in args) else 8
    if file.format == "AVIF":
        # Pillow does not tell them: high_bitdepth and twelve_bit of its configuration (AV1 in ISOBMFF, sec. 2.3.3).
        flags = int.from_bytes(path.read_bytes().partition(b"av1C")[2][2:3])
        return 8 + 2 * bool(flags & 0x40) + 2 * bool(flags & 0x20)
    return 8


def deep_grey_with_alpha(path: Path, opened: Opened) -> NDArray[np.uint16] | None:
    """(h, w, 2) of a PNG's grey of 16 bits with alpha, which Pillow gives as colours of 8; None of another file.

    Before it is decoded.
    """
    if not any(str(tile[3]).startswith("LA;16") for tile in opened.file.tile):  # type: ignore[attr-defined]
        return None
    width, height, rows, _ = png.Reader(filename=str(path)).asDirect()
    both = np.array([*rows], np.uint16).reshape(height, width, 2)
    planes = [Image.fromarray(np.ascontiguousarray(both[..., channel])) for channel in (0, 1)]
    turned = planes if opened.turn is None else [plane.transpose(opened.turn) for plane in planes]
    return np.dstack([np.asarray(plane, np.uint16) for plane in turned])


def low_bytes(path: Path, opened: Opened) -> Image.Image | None:
    """The low byte of each number of 16-bit colour (Pillow gives the high one); None if there is none."""
    if opened.bits != 16 or opened.file.mode not in ("RGB", "RGBA"):
        return None
    with Image.open(path, formats=FORMATS) as file:
        # The high byte of the other order of bytes.
        orders = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}
        tiles = []
        for tile in file.tile:
            raw, *rest = [tile.args] if isinstance(tile.args, str) else tile.args or [""]
            mode, bits, order = raw.partition(";16")
            if mode != file.mode or order not in orders:
                return None
            tiles.append(tile._replace(args=(f"{mode}{bits}{orders[order]}", *rest)))
        file.tile = tiles
        file.load()
        return file if opened.turn is None else file.transpose(opened.turn)
