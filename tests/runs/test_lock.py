"""One writer a folder, as real processes find it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import h5py
import pytest
from command_line import exit_code

from evo_c2f import lock
from evo_c2f.errors import FailedError, InputError
from evo_c2f.lock import writing
from evo_c2f.runs import recipe
from evo_c2f.scores.store import ScoreStore, read_scores

ROOT = Path(__file__).parents[2]
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


# -- who holds the scores open for reading, as a notebook does -----------------------------------------

READER = """
import sys, time
import h5py

with h5py.File(sys.argv[1]) as file:
    print("open", flush=True)
    time.sleep(float(sys.argv[2]))
"""


@pytest.fixture
def scores(tmp_path: Path, tiny, context_of) -> Path:
    with ScoreStore(tmp_path / "scores.h5", context_of(tiny)) as store:
        store.append(tiny.reference[None], [{"psnr_y": 30.0}], "reference", 0, [0.5])
    return tmp_path / "scores.h5"


def reading(path: Path, seconds: float) -> "subprocess.Popen[str]":
    process = subprocess.Popen([sys.executable, "-c", READER, path, str(seconds)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "open\n"
    return process


@pytest.fixture
def reader(scores: Path) -> "Iterator[subprocess.Popen[str]]":
    """A process that holds the scores open until it is killed."""
    process = reading(scores, 60)
    yield process
    process.kill()
    process.communicate()


def test_a_writer_waits_for_a_reader_and_says_so(scores: Path, tiny, context_of, caplog) -> None:
    process, begun = reading(scores, 1.0), time.monotonic()
    with ScoreStore(scores, context_of(tiny)) as store:
        assert time.monotonic() - begun > 0.5
        store.append(tiny.reference[None], [{"macs": 1.0}], "path", 1, [0.5])
    process.communicate()
    assert caplog.messages == [
        f"{scores} is open for reading in process {process.pid}; waiting until it is closed there"
    ]
    assert read_scores(scores)[0].metrics["macs"].tolist() == [1.0]


def test_a_writer_whose_patience_ends_says_who_reads(scores: Path, reader: "subprocess.Popen[str]") -> None:
    with pytest.raises(FailedError, match=rf"scores\.h5 is open for reading in process {reader.pid}; close it there"):
        lock.wait_for_readers(scores, 0.2)


def test_evolve_that_waits_in_vain_says_who_reads_and_exits_with_1(
    scores: Path, reader: "subprocess.Popen[str]", monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr(lock, "PATIENCE_WITH_READERS", 0.2)
    (scores.parent / "recipe.yaml").write_text(recipe.load("quick").to_yaml())
    before = scores.read_bytes()
    assert exit_code("evolve", "--stage", "path", "--run", scores.parent, "--threads", 1) == 1
    assert f"error: {scores} is open for reading in process {reader.pid}; close it there" in capsys.readouterr().err
    assert scores.read_bytes() == before


def test_a_reader_in_the_writer_s_own_process_is_not_waited_for(scores: Path, tiny, context_of) -> None:
    for locking in (True, False):
        with h5py.File(scores, locking=locking), pytest.raises(InputError, match="in this very process; close it"):
            ScoreStore(scores, context_of(tiny))
