"""Tests whether the HDF5 library returns from reading a file: damage can keep it busy for ever, or end its process.

That happens in C, where Python can't stop it. So another process, which the operating system ends when its CPU time is
used up, reads the file first. It runs this very file, and then waits for the next one to read.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py

SECONDS = 10.0  # of computing, ten times as long with waiting: a busy machine or a slow disk is no damage
BYTES_PER_SECOND = 1e7

_one_at_a_time = threading.Lock()
_idle: "list[subprocess.Popen[str]]" = []  # the process that reads, while it has nothing to read


def comes_back(path: Path) -> bool:
    """Whether reading the file ends, even with an error. Also True if no other process can read it."""
    order = json.dumps([str(path.absolute()), SECONDS + path.stat().st_size / BYTES_PER_SECOND])
    with _one_at_a_time:
        reader = _idle.pop() if _idle else _start()
        if reader.poll() is not None:  # ended by somebody while it had nothing to read
            reader = _start()
        assert reader.stdin is not None and reader.stdout is not None
        with suppress(BrokenPipeError):
            print(order, file=reader.stdin, flush=True)
        if reader.stdout.readline():
            _idle.append(reader)  # not one whose answer was not waited for: it would be taken for the next file's
            return True
        reader.communicate()
        return reader.returncode >= 0  # below: a signal


def _start() -> "subprocess.Popen[str]":
    # In a session of its own, since Ctrl-C is not for it; it ends when its input does, at the latest with this process.
    line, pipe = [sys.executable, "-P", __file__], subprocess.PIPE
    return subprocess.Popen(
        line, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, encoding="utf-8", start_new_session=True
    )


def _read(part: Any, size: int) -> None:
    """Touch all that is in a file of so many bytes, whatever error comes of it; of the data one element a chunk."""
    with suppress(Exception):
        for name in part.attrs:
            with suppress(Exception):
                part.attrs[name]
    with suppress(Exception):
        if isinstance(part, h5py.Dataset):
            part[: size // part.dtype.itemsize : (part.chunks or (1,))[0]]
        else:
            for name in part:
                with suppress(Exception):
                    _read(part[name], size)


def _serve() -> None:
    for order in sys.stdin:
        path, seconds = json.loads(order)
        signal.setitimer(signal.ITIMER_PROF, seconds)
        signal.setitimer(signal.ITIMER_REAL, 10 * seconds)
        with suppress(Exception), h5py.File(path, "r", locking=False) as file:
            _read(file, os.path.getsize(path))
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        print("back", flush=True)


if __name__ == "__main__":
    _serve()
