"""Real processes that measure, die, hang and fail."""

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from evo_c2f.scores.store import ScoreStore
from evo_c2f.workers import processes as workers_module
from evo_c2f.workers.evaluator import Evaluator
from evo_c2f.workers.processes import Here, Processes, Task

NAMES = ("psnr_y", "macs")


class Troubled:
    """Measures, but for one architecture, which its worker dies of (so many times), never ends, or raises at."""

    def __init__(self, architecture, trouble, folder=None):
        self.architecture, self.trouble, self.folder = architecture, trouble, folder

    def __call__(self, architectures):
        if architectures == [self.architecture]:
            self.trouble(self.folder)
        return [{"psnr_y": float(len(a.cells)), "macs": float(sum(c.inner for c in a.cells))} for a in architectures]


def die_once(folder):
    if not (folder / "died").exists():
        (folder / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)


def die(folder):
    os.kill(os.getpid(), signal.SIGKILL)


def hang(folder):
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])  # as a library does that never asks Python
    time.sleep(600)


def fail(folder):
    raise ValueError("a mistake")


def nothing(folder):
    pass


@pytest.fixture(scope="module")
def genomes(tiny):
    return np.unique(tiny.random(100, np.random.default_rng(0)), axis=0)[:24]


def measured(tiny, genomes, folder, hire, name, trouble=nothing, context_of=None, timeout=None):
    """What two workers make of the genomes, the third of which is trouble."""
    task = Task(Troubled(tiny.decode(genomes[2]), trouble, folder), NAMES, timeout)
    with closing(hire(task)) as workers, ScoreStore(folder / name, context_of(tiny)) as store:
        return Evaluator(tiny, store, workers)(genomes, "path", 1), len(store)


def two(task):
    return Processes(2, task, threads=1)


def test_processes_measure_what_one_does(tiny, genomes, tmp_path, context_of):
    alone, _ = measured(tiny, genomes, tmp_path, Here, "alone.h5", context_of=context_of)
    together, n = measured(tiny, genomes, tmp_path, two, "together.h5", context_of=context_of)
    assert (alone == together).all() and n == len(genomes)


def test_what_a_dead_worker_measured_is_given_to_another(tiny, genomes, tmp_path, context_of):
    alone, _ = measured(tiny, genomes, tmp_path, Here, "alone.h5", context_of=context_of)
    together, n = measured(tiny, genomes, tmp_path, two, "together.h5", die_once, context_of)
    assert (tmp_path / "died").exists() and (alone == together).all() and n == len(genomes)


def test_what_every_worker_dies_of_is_a_failure(tiny, genomes, tmp_path, context_of):
    values, n = measured(tiny, genomes, tmp_path, two, "scores.h5", die, context_of)
    assert np.flatnonzero(np.isnan(values).all(axis=1)).tolist() == [2] and n == len(genomes)
    with ScoreStore(tmp_path / "scores.h5", context_of(tiny)) as store:
        assert store.failed(genomes[2])


def test_a_worker_that_notices_no_timeout_is_killed(tiny, genomes, tmp_path, context_of, monkeypatch):
    monkeypatch.setattr(workers_module, "PATIENCE", 1.0)
    values, _ = measured(tiny, genomes[:4], tmp_path, two, "scores.h5", hang, context_of, timeout=0.2)
    assert np.isnan(values).all(axis=1).tolist() == [False, False, True, False]


def test_a_mistake_of_the_measure_is_raised_here(tiny, genomes, tmp_path, context_of):
    with pytest.raises(ValueError, match="a mistake"):
        measured(tiny, genomes, tmp_path, two, "scores.h5", fail, context_of)


@pytest.mark.parametrize(
    ("message", "failure"),
    [
        ("CUDA out of memory. Tried to allocate 2 GiB", True),
        ("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory", True),
        ("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes", True),
        ("CUDA error: an illegal memory access was encountered", False),
        ("required rank 4 tensor to use channels_last memory format", False),
    ],
)
def test_a_lack_of_memory_is_a_failure_and_other_trouble_with_it_a_mistake(message, failure):
    def measure(architectures):
        raise RuntimeError(message)

    if failure:
        assert Task(measure, NAMES)(None).reason == "out of memory"
    else:
        with pytest.raises(RuntimeError, match=message[:10]):
            Task(measure, NAMES)(None)


def test_workers_end_with_the_process_that_searches(tmp_path):
    script = (
        "import os, sys, time; sys.path[:0] = sys.argv[1].split(os.pathsep)\n"
        "from evo_c2f.workers.processes import Processes, Task\n"
        "import test_workers as t\n"
        "if __name__ == '__main__':\n"
        "    p = Processes(2, Task(t.Troubled(None, t.nothing), t.NAMES), 1)\n"
        "    [p.submit(i, None) for i in range(2)]\n"
        "    time.sleep(60)\n"
    )
    path = tmp_path / "searching.py"
    path.write_text(script)
    search = subprocess.Popen([sys.executable, str(path), os.pathsep.join(map(str, Path(__file__).parents[:2]))])
    deadline = time.monotonic() + 60
    while len(found := children(search.pid)) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    search.kill()
    search.wait()
    while any(Path(f"/proc/{pid}").exists() for pid in found) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(found) >= 2 and not any(Path(f"/proc/{pid}").exists() for pid in found)


def children(pid):
    """The processes that a process began."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(stat.parent.name)
        except (OSError, ValueError):
            continue
    return found
