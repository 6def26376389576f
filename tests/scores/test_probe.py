"""Files on which the HDF5 library itself never ends; read in a process that can be ended if this one would not be."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from evo_c2f.scores import probe
from evo_c2f.scores.store import ScoreStore

ROOT = Path(__file__).parents[2]
READER = """
import json, sys
from pathlib import Path
from evo_c2f.scores import probe
from evo_c2f.errors import DamagedFileError
from evo_c2f.scores.layout import Context
from evo_c2f.space import SearchSpace
from evo_c2f.scores.store import ScoreStore, read_scores

probe.SECONDS = 0.5
path, context = Path(sys.argv[1]), Context(**json.loads(sys.argv[2]))
for use in (read_scores, lambda path: ScoreStore(path, context)):
    try:
        use(path)
    except DamagedFileError as error:
        print(error)
"""


@pytest.fixture
def store(tmp_path: Path, tiny, context_of) -> Path:
    path, genomes = tmp_path / "scores.h5", np.unique(tiny.random(9, np.random.default_rng(0)), axis=0)[:2]
    with ScoreStore(path, context_of(tiny)) as writer:
        writer.append(genomes, [{"psnr_y": 1.0}] * 2, "path", 1, [0.5] * 2)
    return path


@pytest.fixture
def hanging(store: Path) -> Path:
    """With an empty place of no length in the heap of the texts, behind which the library looks for the next for ever.

    A fuzzer's turned bit made it see one, in another text's length; which bit does depends on the texts.
    """
    data = bytearray(store.read_bytes())
    first = data.index(b"GCOL") + 16
    data[first : first + 16] = bytes(16)
    store.write_bytes(data)
    return store


def test_a_file_on_which_the_library_hangs_is_called_damaged(hanging: Path, tiny, context_of) -> None:
    damaged, context = hanging.read_bytes(), json.dumps(vars(context_of(tiny)))
    line = [sys.executable, "-c", READER, str(hanging), context]
    said = subprocess.run(line, capture_output=True, text=True, cwd=ROOT, timeout=60).stdout.splitlines()
    assert said == [f"{hanging} is damaged (the HDF5 library never ends on it); move it away to measure anew"] * 2
    assert hanging.read_bytes() == damaged


def test_after_such_a_file_others_are_read(hanging: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "SECONDS", 0.5)
    text = tmp_path / "text"
    text.write_text("no HDF5 at all")
    assert [probe.comes_back(path) for path in (text, hanging, text)] == [True, False, True]


def test_a_reader_that_somebody_ended_says_nothing_of_the_file(store: Path) -> None:
    assert probe.comes_back(store)
    probe._idle[-1].kill()
    probe._idle[-1].wait()
    assert probe.comes_back(store)
