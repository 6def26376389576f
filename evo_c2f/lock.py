"""One writer for each run folder. Readers need no lock, but plain h5py locks the file that it reads; a writer then
waits.
"""

import json
import logging
import math
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

if sys.platform != "win32":
    import fcntl

from filelock import FileLock, Timeout

from evo_c2f.errors import FailedError, InputError
from evo_c2f.files import write_text
from evo_c2f.json_text import to_json

PATIENCE = 2.0  # seconds for a writer that has the lock to say who it is
PATIENCE_WITH_READERS = 60.0  # seconds, of a command that has done nothing yet
SECONDS_BETWEEN_WORDS = 60.0

log = logging.getLogger(__name__)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Hold the folder's write lock within the `with`. InputError, naming the other writer, if there is one.

    The operating system releases the lock when its process ends, however it ends, so no lock is ever stale.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock, note = FileLock(folder / ".lock", blocking=False), folder / ".writer.json"
    try:
        lock.acquire()
    except Timeout:
        raise InputError(f"{folder} is being written by {_holder(note)}; wait for it, or use another --run") from None
    with lock:
        write_text(note, to_json({"process": os.getpid(), "host": socket.gethostname()}))
        try:
            yield
        finally:
            note.unlink(missing_ok=True)
            lock.release()


def _holder(note: Path) -> str:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        try:
            known = json.loads(note.read_text(encoding="utf-8"))
            return f"process {int(known['process'])} on {known['host']}"
        except (OSError, ValueError, KeyError, TypeError):
            time.sleep(0.02)  # it has only just begun
    return "another process"


def wait_for_readers(path: Path, patience: float = math.inf) -> None:
    """Wait until no process holds a shared lock on the file, as plain h5py does while it reads.

    Names the readers, at once and every minute. FailedError, naming them, after so many seconds; InputError if the
    reader is this very process.
    """
    begun, said = time.monotonic(), -math.inf
    while (pids := readers_of(path)) is not None:
        if os.getpid() in pids:
            raise InputError(f"{path} is open for reading in this very process; close it first")
        who, now = _named(pids), time.monotonic()
        if now - begun >= patience:
            raise FailedError(f"{path} is open for reading in {who}; close it there, and run the same command again")
        if now - said >= SECONDS_BETWEEN_WORDS:
            log.warning(f"{path} is open for reading in {who}; waiting until it is closed there")
            said = now
        time.sleep(0.1)


def readers_of(path: Path) -> list[int] | None:
    """The processes that hold a shared lock on the file, as far as the system shows; None if there are none."""
    if sys.platform == "win32":
        return None
    with suppress(OSError), path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            found = _lockers(os.fstat(file.fileno()))
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # an error again, if a writer holds it
            return found
    return None


def _lockers(file: os.stat_result) -> list[int]:
    """By Linux's table of locks; empty elsewhere."""
    place = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}:{file.st_ino}"
    with suppress(OSError):
        locks = [line.split() for line in Path("/proc/locks").read_text(encoding="utf-8").splitlines()]
        found = {int(words[4]) for words in locks if words[1] == "FLOCK" and words[5] == place}
        return sorted(found)
    return []


def _named(pids: list[int]) -> str:
    if not pids:
        return "another process"
    return f"process{'es' if len(pids) > 1 else ''} {', '.join(map(str, pids))}"
