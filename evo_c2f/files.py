"""Files that are complete or absent: written under another name, then renamed."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to. At the end it becomes `path`; if an error is raised, it is removed.

    It has the suffix of `path` and a hidden name that no user's file has. It is synced to disk before the rename, so
    after any crash the old file or the new one is there. Its permissions follow the umask, whichever library wrote it.
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


def publish(partial: Path, path: Path) -> None:
    """Give a whole file its name, unless another process has published its own meanwhile."""
    try:
        os.link(partial, path)  # a rename would replace the other's file
    except FileExistsError:
        pass
    except OSError:  # a drive without hard links
        if not path.exists():
            os.replace(partial, path)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8; a reader sees the old file or the new one. Bytes that are not characters, as in some paths, are
    escaped.
    """
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")


def reserve(descriptor: int, start: int, n_bytes: int) -> None:
    """Reserve disk space for an open file's bytes from `start` on. OSError if there is no room.

    Does nothing on a system that can't reserve space.
    """
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, start, n_bytes)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
