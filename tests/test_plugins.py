"""An operator, an objective, a dataset and a degradation from outside, each in under 30 lines, as a user adds them."""

import json
import re
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from command_line import EVALUATIONS, STUDIED, command, exit_code, tiny

from evo_c2f.objectives.metric import METRICS
from evo_c2f.scores import analysis
from supernet import plugins
from supernet.metrics import tasks

OPERATOR = '''
"""A depthwise 5x5 between two pointwise convolutions."""

from supernet import plugins
from supernet.network.operators import Operator
from supernet.network.slicing import Conv


@plugins.operator("wide_eye")
class WideEye(Operator):
    @staticmethod
    def convolutions(width, inner):
        look = Conv(inner, inner, 5, depthwise=True)
        return {"first": Conv(width, inner), "look": look, "last": Conv(inner, width)}

    def body(self, x, width, inner):
        return self.last(self.look(self.activation(self.first(x, inner)), inner), width)
'''

OBJECTIVE = '''
"""How far gradients are from those of the target; and how much the widest feature map holds."""

from supernet import plugins


@plugins.quality("edge_error", "lower", "error of edges")
def edge_error(output, target):
    difference = output - target
    across, down = difference.diff(dim=-1), difference.diff(dim=-2)
    return across.abs().mean(dim=(1, 2, 3)) + down.abs().mean(dim=(1, 2, 3))


@plugins.price("peak_mb", "largest feature map (MB)")
def peak_mb(architecture, frame, size):
    pixels = [width * size[0] * size[1] / 4**level for level, width in architecture.widths]
    return 4 * max(pixels) / 1e6
'''

TEACHER = '''
"""A teacher whose output is the negative of its input."""

from supernet import plugins


@plugins.teacher("inverse")
def inverse():
    return lambda x: 1 - x
'''

DATASET = '''
"""Checkerboards of many sizes."""

import numpy as np

from supernet import plugins


@plugins.images("checkerboards")
def checkerboards():
    for side in range(2, 12):
        board = np.indices((120, 120)).sum(axis=0) // side % 2
        yield f"board{side}", np.repeat((255 * board).astype(np.uint8)[..., None], 3, axis=2)
'''

DEGRADATION = '''
"""Photographs of which a few pixels are dead."""

from supernet import plugins


@plugins.degradation("dead_pixels")
def dead_pixels(photograph, scale, rng):
    low = photograph[::scale, ::scale].copy()
    low[rng.random(low.shape[:2]) < 0.01] = 0
    return low
'''


@pytest.mark.parametrize("plugin", [OPERATOR, OBJECTIVE, DATASET, DEGRADATION])
def test_each_takes_less_than_thirty_lines(plugin: str) -> None:
    assert len(plugin.strip().splitlines()) < 30


def test_a_search_uses_an_operator_two_objectives_a_dataset_and_a_degradation_from_outside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = {"eyes": OPERATOR, "edges": OBJECTIVE, "boards": DATASET, "dead": DEGRADATION}
    for name, text in texts.items():
        (tmp_path / f"{name}.py").write_text(text)
    added = [word for name in texts for word in ("--plugin", tmp_path / f"{name}.py")]
    images = ("data.folder=checkerboards", "data.degradation.plugin=dead_pixels")
    settings = tiny("space.operators=[residual, wide_eye]", *images)
    wanted = ("--objective", "edge_error", "--objective", "peak_mb", "--max", "size_mb=0.5")
    words = ("--run", tmp_path / "run", "--threads", 1)
    done = command("search", *words, *added, *wanted, *EVALUATIONS, *settings)
    assert done.returncode == 0, done.stderr
    again = command("finetune", *words, *added, "--set", "finetune.rounds=2")
    assert again.returncode == 0, again.stderr
    others = ("evolve", "--stage", "path", "--workers", 2, "--evaluations", 18, "--json")
    done = command(*others, *words, *added, *wanted)
    assert done.returncode == 0 and json.loads(done.stdout)[0]["measured"] > 0, done.stderr
    scores = analysis.load_scores(tmp_path / "run", objectives=None)
    assert (scores[["edge_error", "peak_mb"]] > 0).all(axis=None)
    assert "wide_eye" in set(scores.filter(like="operator_").astype(str).to_numpy().ravel())
    front = analysis.read_front(tmp_path / "run" / "fronts" / "channel.csv")
    assert (front["edge_error_full"] > 0).all()
    assert exit_code("evolve", "--stage", "path", *words[:2]) == 2  # without the plugins
    assert "Traceback" not in capsys.readouterr().err


def test_the_processes_of_a_study_find_an_operator_from_outside(tmp_path: Path, photographs: Path) -> None:
    (tmp_path / "eyes.py").write_text(OPERATOR)
    settings = tiny("space.operators=[residual, wide_eye]", "finetune.rounds=2", "training.rounds=2")
    run = ("--run", tmp_path / "study", "--data", photographs, "--threads", 1, "--workers", 2)
    done = command("study", "ranking", *run, "--plugin", tmp_path / "eyes.py", *settings, *STUDIED)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a plugin adds to this process is gone after the test."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    tables: tuple[dict[str, Any], ...] = (METRICS, tasks.OTHERS)
    before = [dict(table) for table in tables]
    yield
    for table, kept in zip(tables, before, strict=True):
        table.clear()
        table.update(kept)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "plugin .*mine.py does not exist"),
        ("1 / 0", "plugin .*mine.py can't be imported: ZeroDivisionError: division by zero"),
        ("import nowhere", "plugin .*mine.py can't be imported: ModuleNotFoundError: No module named 'nowhere'"),
        (OPERATOR.replace("wide_eye", "residual"), "operator 'residual' is there already"),
        (OBJECTIVE.replace("peak_mb", "macs"), "metric 'macs' is there already"),
    ],
)
def test_a_plugin_that_cannot_be_is_named(
    forgotten: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, sentence: str
) -> None:
    path = tmp_path / "mine.py"
    if text is not None:
        path.write_text(text)
    assert exit_code("front", "--plugin", path) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said and re.search(sentence, said), said


def test_an_installed_package_adds_by_its_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "boards_for_entry.py").write_text(DATASET.replace("checkerboards", "entry_boards"))
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint("boards", "boards_for_entry", plugins.GROUP)
    monkeypatch.setattr(plugins, "entry_points", lambda group: [point])
    from supernet.data.photographs import SOURCES

    plugins.load([])
    try:
        assert len(list(SOURCES["entry_boards"]())) == 10
    finally:
        del SOURCES["entry_boards"]


def test_a_plugin_named_like_another_module_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "operator.py").write_text(OPERATOR)
    assert exit_code("front", "--plugin", tmp_path / "operator.py", "--run", tmp_path) == 2
    assert "operator.py is named like another module, operator; rename it" in capsys.readouterr().err
