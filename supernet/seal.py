"""Whether an exported file is as it was written."""

import hashlib
import zipfile
import zlib
from pathlib import Path

from evo_c2f.errors import DamagedFileError

KEY = b"evo_c2f_sha256"
ENTRY = 2 + len(KEY) + 2 + 64
# An entry of ONNX's metadata_props: field 14 of the file's message; in it 1 is the key, 2 the value. A message may be
# continued by further fields: so a checksum of all before it can stand at the end, and any reader passes over it.
HEAD = bytes([14 << 3 | 2, ENTRY, 1 << 3 | 2, len(KEY)]) + KEY + bytes([2 << 3 | 2, 64])


def seal(path: Path) -> None:
    """Add its checksum to an ONNX file; a .pt2 file is a zip archive and has one of each of its parts."""
    content = path.read_bytes()
    path.write_bytes(content + HEAD + _checksum(content))


def check_onnx(path: Path) -> bool:
    """Whether it has a checksum: files of older versions have none. DamagedFileError if that is another file's."""
    content = path.read_bytes()
    content, head, found = content[: -64 - len(HEAD)], content[-64 - len(HEAD) : -64], content[-64:]
    if head == HEAD and found != _checksum(content):
        raise DamagedFileError(f"{path} is damaged (it is not what was written); export it again")
    return head == HEAD


def check_export(path: Path) -> None:
    """DamagedFileError if it is not as it was written, or can't be told to be."""
    if path.suffix == ".onnx":
        if not check_onnx(path):
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
