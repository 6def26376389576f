"""One writer a folder, as real processes find it."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from evo_c2f.errors import InputError
from evo_c2f.lock import writing

ROOT = Path(__file__).parents[1]
HOLDER = """
import sys, time
from pathlib import Path
from evo_c2f.errors import InputError
from evo_c2f.lock import writing

try:
    with writing(Path(sys.argv[1])):
        print("writing", flush=True)
        time.sleep(60)
except InputError as error:
    sys.exit(str(error))
"""


def holder(folder: Path) -> "subprocess.Popen[str]":
    line = [sys.executable, "-c", HOLDER, str(folder)]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)


def test_of_20_that_start_at_once_one_writes_and_19_say_who(tmp_path: Path) -> None:
    processes = [holder(tmp_path / "run") for _ in range(20)]
    said = {}
    while len(said) < 19:
        for process in processes:
            if process.poll() is not None and process not in said:
                said[process] = process.communicate()[1]
    (writer,) = set(processes) - said.keys()
    assert writer.stdout is not None and writer.stdout.readline() == "writing\n"
    writer.kill()
    writer.communicate()
    named = f"process {writer.pid} on {socket.gethostname()}"
    for process, errors in said.items():
        assert process.returncode == 1
        assert errors.startswith(f"{tmp_path / 'run'} is being written by ") and "use another --run" in errors
    # One that comes in the very moment in which the first has the lock and not yet said so can't name it.
    assert sum(named in errors for errors in said.values()) >= 15


def test_a_dead_writer_is_in_nobody_s_way(tmp_path: Path) -> None:
    process = holder(tmp_path)
    assert process.stdout is not None and process.stdout.readline() == "writing\n"
    with pytest.raises(InputError, match=f"process {process.pid} on "), writing(tmp_path):
        pass
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    with writing(tmp_path), pytest.raises(InputError, match=f"process {os.getpid()} on "), writing(tmp_path):
        pass
    with writing(tmp_path):
        pass
