"""The command line as tests run it: in this process or one of its own, on a job that ends in seconds."""

import ctypes
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import cli

ROOT = Path(__file__).parents[1]

# A job that ends in seconds, over all three stages.
TINY = (
    "data.patch=8",
    "data.batch=2",
    "data.crop=48",
    "data.validation_crops=4",
    "data.validation_images=2",
    "training.rounds=6",
    "training.stage_rounds=3",
    "search.population=6",
    "search.output_size=[96, 96]",
    "space.n_cells=3",
    "space.reference_path=[2, 2, 2]",
)
EVALUATIONS = ("--evaluations", "14")

# The least job, of one stage, on pictures of any channels.
SMALL = (
    *("data.patch=8", "data.batch=2", "data.crop=32", "data.validation_images=1", "data.validation_crops=2"),
    *("training.rounds=2", "training.stages=[joint]", "finetune.rounds=2", "search.population=4", "search.screen=1"),
    *("search.output_size=[32, 32]", "space.n_cells=2", "space.widths={1: [8], 2: [8]}"),
    *("space.reference_path=[1, 2]", "space.operators=[pointwise, residual]", "space.inner_ratios=[0.5, 1.0]"),
    "search.objectives=[psnr, macs]",
)

# The same as TINY of translation, and of its comparison with a teacher.
TINY_PAIRS = (
    "data.crop=32",
    "data.load_size=32",
    "data.batch=2",
    "data.validation_images=4",
    "training.rounds=6",
    "training.stage_rounds=2",
    "training.discriminator.width=4",
    "search.population=6",
    "search.rescore=[fd_vgg, psnr_y]",
    "space.n_cells=3",
    "space.reference_path=[2, 3, 2]",
    "search.output_size=[32, 32]",
)
COMPARED = (
    *("--threads", "1", "--width", "4", "--images", "8", "--trial-images", "4", "--candidates", "4"),
    *("--rate", "0.001", "--rate", "0.0001"),
    *("--searched-rate", "0.002", "--params-ratio", "0.05", "--macs-ratio", "0.05"),
)

# The least that a study can tell of: networks that are trained alone, and those twice.
STUDIED = ("--architectures", "20", "--again", "3", "--seeds", "1")


def settings(*changes: str) -> list[str]:
    return [word for change in changes for word in ("--set", change)]


def tiny(*changes: str) -> list[str]:
    """Without a screen, which takes a second a stage."""
    return settings(*TINY, "search.screen=1", *changes)


def command(*words: object) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, on one thread so that results are bit for bit the same."""
    line = [sys.executable, str(ROOT / "cli.py"), *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=300)


def without_power(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """The same by an account to which permissions apply, be it root."""
    libc = ctypes.CDLL(None)

    def drop() -> None:
        for capability in (1, 2):  # to write, and to read, what permissions forbid
            libc.prctl(24, capability, 0, 0, 0)  # out of the set that a new program may have

    line = [sys.executable, str(ROOT / "cli.py"), *map(str, words)]
    how = {"capture_output": True, "text": True, "check": False, "timeout": 300, "preexec_fn": drop}
    return subprocess.run(line, env={**os.environ, **environment}, **how)  # type: ignore[call-overload, no-any-return]


def exit_code(*words: object) -> int:
    """Run the command line in this process."""
    with pytest.raises(SystemExit) as caught:
        cli.main([*map(str, words)])
    return int(caught.value.code or 0)


def start(*words: object) -> subprocess.Popen[str]:
    line = [sys.executable, str(ROOT / "cli.py"), *map(str, words)]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(condition: object, process: subprocess.Popen[str]) -> None:
    for _ in range(6000):
        if condition():  # type: ignore[operator]
            return
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        time.sleep(0.05)
    raise AssertionError("waited five minutes")
