"""One writer a run folder. Readers ask nobody."""

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from evo_c2f.errors import InputError
from evo_c2f.files import write_text
from evo_c2f.json_text import to_json

PATIENCE = 2.0  # seconds for a writer that has the lock to say who it is


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Be the folder's only writer meanwhile. InputError, naming the other, if there is one.

    The system gives the lock back when its process ends, however it ends, so none is ever stale.
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
            known = json.loads(note.read_text())
            return f"process {int(known['process'])} on {known['host']}"
        except (OSError, ValueError, KeyError, TypeError):
            time.sleep(0.02)  # it has only just begun
    return "another process"
