"""Checks that an exported file is as it was written."""

import hashlib
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from evo_c2f.errors import DamagedFileError

KEY, OLD_KEY = b"evo_c2f_seal", b"evo_c2f_sha256"


def head(key: bytes, padded: bool) -> bytes:
    """The bytes before the checksum: an entry of ONNX's metadata_props, field 14 of the file's message.

    In the entry, field 1 is the key and 2 the value. Further fields may follow a message, so a checksum of everything
    before it can stand at the end, and every reader skips it. padded: the entry's length takes two bytes, although one
    is enough. Every reader accepts that, and no ONNX writer does it. If another program rewrites the file, it leaves
    one byte, which identifies a rewritten file, as opposed to a damaged one.
    """
    size = 2 + len(key) + 2 + 64
    length = [size | 0x80, 0] if padded else [size]
    return bytes([14 << 3 | 2, *length, 1 << 3 | 2, len(key)]) + key + bytes([2 << 3 | 2, 64])


HEAD, REWRITTEN, OLD_HEAD = head(KEY, True), head(KEY, False), head(OLD_KEY, False)


def seal(path: Path) -> None:
    """Add a checksum to an ONNX file; a .pt2 file is a zip archive, which has one for each of its parts."""
    content = path.read_bytes()
    path.write_bytes(content + HEAD + _checksum(content))


def is_sealed(path: Path) -> bool:
    """Whether this project wrote the ONNX file, and no other program since; one of this version may be damaged."""
    content = path.read_bytes()
    return HEAD in content or content.endswith(OLD_HEAD + _checksum(content[: -64 - len(OLD_HEAD)]))


def check_onnx(path: Path, warn: Callable[[str], None]) -> bool:
    """Whether the file has a checksum; files of older versions have none. DamagedFileError if the checksum doesn't
    match.

    If another program has rewritten the file, `warn` gets a message that it can't be checked.
    """
    content = path.read_bytes()
    for known, cause in ((HEAD, ""), (OLD_HEAD, ", damaged or rewritten by another program")):
        if known in content:
            before, found = content[: -64 - len(known)], content[-64 - len(known) :]
            if found != known + _checksum(before):
                raise DamagedFileError(f"{path} is damaged (it is not what was written{cause}); export it again")
            return True
    if REWRITTEN in content:
        warn(f"{path} was rewritten by another program after its export: what it gives may differ from the model's")
        return True
    return False


def check_export(path: Path, warn: Callable[[str], None]) -> None:
    """DamagedFileError if the file is not as written, or has no checksum. warn: as in `check_onnx`."""
    if path.suffix == ".onnx":
        if not check_onnx(path, warn):
            raise DamagedFileError(f"{path} has no checksum: cut short, or of an older version; export it again")
        return
    try:
        with zipfile.ZipFile(path) as archive:
            part = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, NotImplementedError, RuntimeError, EOFError) as error:
        raise DamagedFileError(f"{path} is damaged ({error}); export it again") from None
    if part:
        raise DamagedFileError(f"{path} is damaged (in {part}); export it again")


def _checksum(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()
