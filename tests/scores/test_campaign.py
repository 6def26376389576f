"""Processes killed at random moments: nothing that was acknowledged is lost, and what is done again ends the same.

All of it: python -m pytest -m campaign (bounded to 20 minutes). Without that a slice of it runs.
"""

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from command_line import EVALUATIONS, ROOT, exit_code
from command_line import tiny as changed
from safetensors.torch import load_file
from torch import equal

from evo_c2f.scores.store import ScoreStore, read_scores
from supernet.training import loop

pytestmark = pytest.mark.campaign

# Training saves its state after every round, not once a minute, so that a kill finds one.
COMMAND = """
import sys
from supernet.training import loop
loop.SECONDS_BETWEEN_SAVES = 0
import cli
cli.main(sys.argv[1:])
"""
WRITER = """
import itertools, json, sys
from pathlib import Path
import numpy as np
from evo_c2f.space import SearchSpace
from evo_c2f.scores.layout import Context
from evo_c2f.scores.store import ScoreStore

space = SearchSpace.from_dict(json.loads(sys.argv[2]))
store = ScoreStore(Path(sys.argv[1]), Context(space.to_dict(), "weights", "images", "protocol"))
for i in itertools.count(len(store)):
    genome = np.frombuffer(i.to_bytes(space.n_genes, "big"), dtype=np.uint8)
    store.append(genome[None], [{"psnr_y": float(i), "macs": 2.0 * i}], "path", 1, [0.5])
    print(i, flush=True)  # acknowledged
"""


@pytest.fixture(scope="module")
def whole(request: pytest.FixtureRequest) -> bool:
    """Whether the campaign was asked for, or a slice of it runs among the other tests."""
    return "campaign" in request.config.getoption("-m")


def start(code: str, *words: object) -> "subprocess.Popen[str]":
    line = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)


def test_no_acknowledged_row_is_lost_by_kills_of_a_process_that_only_appends(whole, tmp_path, tiny, context_of):
    chance, context = random.Random(0), context_of(tiny)
    for part in range(50 if whole else 1):  # stores that don't grow too long to be looked through after each kill
        path, known = tmp_path / f"{part}.h5", 0
        for _ in range(20 if whole else 8):
            writer = start(WRITER, path, json.dumps(tiny.to_dict()))
            for _ in range(chance.randint(1, 30)):
                assert writer.stdout.readline(), writer.stderr.read()
            time.sleep(chance.uniform(0, 0.005))  # a random moment of the next appends
            writer.kill()
            # Not `communicate`, which would pass over what `readline` has taken in ahead.
            rest, errors = writer.stdout.read(), writer.stderr.read()
            assert (writer.wait(), errors) == (-signal.SIGKILL, "")
            acknowledged = [int(line) for line in rest.splitlines(keepends=True) if line.endswith("\n")]
            (scores,) = read_scores(path)
            assert len(scores.rows) > (acknowledged[-1] if acknowledged else known)
            known = len(scores.rows)
            assert scores.metrics["psnr_y"].tolist() == list(range(known))
            assert scores.metrics["macs"].tolist() == list(range(0, 2 * known, 2))
        with ScoreStore(path, context) as store:
            assert len(store) == known


def scores_of(run: Path) -> dict[tuple[str, bytes], tuple[float, ...]]:
    """Every score that can be read, by context and genome."""
    if not (run / "scores.h5").is_file():
        return {}
    return {
        (scores.context, row["genome"].tobytes()): tuple(np.nan_to_num(column[i]) for column in scores.metrics.values())
        for scores in read_scores(run / "scores.h5")
        for i, row in enumerate(scores.rows)
    }


def assert_same(killed: Path, reference: Path) -> None:
    """Scores, weights, fronts and the names of all files."""
    assert scores_of(killed) == scores_of(reference)
    for path in sorted(reference.rglob("*.safetensors")):
        mine, theirs = load_file(path), load_file(killed / path.relative_to(reference))
        assert mine.keys() == theirs.keys() and all(equal(mine[name], theirs[name]) for name in mine), path
    for path in sorted(reference.glob("fronts/*.csv")):
        assert path.read_text() == (killed / path.relative_to(reference)).read_text()
    assert {p.name for p in reference.rglob("*")} == {p.name for p in killed.rglob("*")}, "something was left behind"


def test_commands_that_are_killed_again_and_again_end_as_if_they_had_not_been(
    whole, photographs, tmp_path, monkeypatch
):
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_SAVES", 0)  # as in COMMAND
    changes = changed("training.rounds=20", "training.stage_rounds=8", "finetune.rounds=20")
    search = ("search", "--data", photographs, "--threads", 1, *EVALUATIONS, *changes)
    finetune = ("finetune", "--threads", 1)
    reference, killed, chance = tmp_path / "reference", tmp_path / "killed", random.Random(0)
    for words, made in ((search, "."), (finetune, "model")) if whole else ((search, "."),):
        begun = time.monotonic()
        process = start(COMMAND, *words, "--run", reference)
        _, errors = process.communicate()
        assert process.returncode == 0, errors
        seconds, left, ended = time.monotonic() - begun, 35 if whole else 1, False
        while left:
            if ended:  # before all kills were dealt: the next ones hit a run that begins
                shutil.rmtree(killed / made)
            process, before = start(COMMAND, *words, "--run", killed), scores_of(killed)
            try:
                _, errors = process.communicate(timeout=chance.uniform(0.1, 0.9) * seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                left, ended = left - (process.returncode == -signal.SIGKILL), False
                assert before.items() <= scores_of(killed).items()
            else:
                assert process.returncode == 0, errors
                ended = True
                assert_same(killed, reference)
        assert exit_code(*words, "--run", killed) == 0
        assert_same(killed, reference)


FULL = [  # how many kilobytes are left: none for the run, the weights, the scores, a picture or the model
    ("train-supernet", (12,)),
    ("evolve", (8, 40)),
    ("finetune", (3, 100)),
    ("search", (40, 1000, 1600)),
]


@pytest.mark.parametrize(("command", "left"), FULL)
def test_a_full_disk_is_said_and_the_run_goes_on_once_there_is_room(whole, photographs, tmp_path, command, left):
    if not whole:
        pytest.skip("minutes; with -m campaign")
    disk, ready = tmp_path / "disk", tmp_path / "ready"
    disk.mkdir()
    how = ("--data", photographs, "--threads", 1, *changed("finetune.rounds=6"))
    first = {"evolve": "train-supernet", "finetune": "search"}.get(command)
    if first:
        process = start(COMMAND, first, *how, *(EVALUATIONS if first == "search" else ()), "--run", ready)
        errors = process.communicate()[1]
        assert process.returncode == 0, errors
    words = {
        "train-supernet": how,
        "evolve": ("--stage", "path", "--threads", 1, *EVALUATIONS),
        "finetune": ("--threads", 1),
        "search": (*how, *EVALUATIONS),
    }[command]
    for kilobytes in left:
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", disk], check=False).returncode:
            pytest.skip("a file system of its own needs the right to mount")
        try:
            if first:
                shutil.copytree(ready, disk / "run")
            (disk / "filler").write_bytes(bytes(shutil.disk_usage(disk).free - 1024 * kilobytes))
            process = start(COMMAND, command, *words, "--run", disk / "run")
            errors = process.communicate()[1]
            if process.returncode:
                assert process.returncode == 1 and "Traceback" not in errors, errors
                assert "error: " in errors and "make room, and run the same command again" in errors, errors
            else:
                assert kilobytes > 1000, "there was no need of so much room"
            (disk / "filler").unlink()
            for again in ((command, *words, "--run", disk / "run"), ("verify", disk / "run")):
                process = start(COMMAND, *again)
                said, errors = process.communicate()
                assert process.returncode == 0, said + errors
        finally:
            subprocess.run(["umount", disk], check=True)
