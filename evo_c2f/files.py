"""Files that are whole or not there: written under another name, then renamed."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to, which becomes `path` at the end, or goes away if an error is raised.

    It has the suffix of `path` and a hidden name, as nobody's own file has, and is on the disk before the name changes:
    so whatever stops, the old file or the new one is there. Who may read it is as the umask says, whatever wrote it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.partial{path.suffix}")
    partial.unlink(missing_ok=True)
    partial.touch()
    mode = partial.stat().st_mode
    partial.unlink()
    try:
        yield partial
        if partial.stat().st_mode != mode:  # safetensors lets nobody else read
            partial.chmod(stat.S_IMODE(mode))
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """In UTF-8; a reader sees the old file or the new one. What is no character, as in some paths, is escaped."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")


def reserve(descriptor: int, start: int, n_bytes: int) -> None:
    """Have the disk keep room for an open file's bytes from `start` on. OSError if it has none.

    A system that can't promise it lets it be.
    """
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, start, n_bytes)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
