"""The Python API: a search, a model and the engine alone, as docs/python.md shows them."""

import json
import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from command_line import TINY, exit_code, settings
from PIL import Image
from small_tables import write_macro

import evo_c2f
from evo_c2f.errors import InputError

ROOT = Path(__file__).parents[1]
EVALUATIONS = {f"search.evaluations.{stage}": 14 for stage in ("path", "operator", "channel")}
ONE_THREAD = evo_c2f.Machine(device="cpu", threads=1)


def small() -> dict[str, Any]:
    """The settings of command_line.TINY, with the default screen."""
    changes = dict(change.split("=", 1) for change in TINY)
    return {key: json.loads(value) for key, value in changes.items()} | EVALUATIONS


@pytest.fixture(scope="module")
def run(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> evo_c2f.Run:
    folder = tmp_path_factory.mktemp("api") / "run"
    return evo_c2f.search("quick", photographs, folder, settings=small(), machine=ONE_THREAD)


def test_a_search_gives_the_scores_of_the_command(run: evo_c2f.Run, photographs: Path, tmp_path: Path) -> None:
    words = settings(*TINY, *(f"{key}={value}" for key, value in EVALUATIONS.items()))
    command = ("search", "--recipe", "quick", "--data", photographs, "--run", tmp_path / "run", "--threads", 1)
    assert exit_code(*command, "--device", "cpu", *words) == 0
    for stage in ("path", "operator", "channel"):
        name = f"fronts/{stage}.csv"
        assert (tmp_path / "run" / name).read_bytes() == (run.folder / name).read_bytes()
    assert (run.folder / "report.html").is_file()
    front, scores = run.front(), run.scores()
    assert set(front["id"]) <= set(scores["id"]) and len(scores) >= len(front) > 1


def test_the_same_call_again_measures_nothing(run: evo_c2f.Run, photographs: Path) -> None:
    before, steps = len(run.scores()), list[tuple[str, int, int, str]]()
    again = evo_c2f.search(
        "quick", photographs, run.folder, lambda *step: steps.append(step), settings=small(), machine=ONE_THREAD
    )
    assert len(again.scores()) == before
    assert {title for title, *_ in steps} == {"evolving path", "evolving operator", "evolving channel"}
    pd.testing.assert_frame_equal(again.front(), run.front())


def test_a_run_that_another_writes_is_refused(run: evo_c2f.Run) -> None:
    from evo_c2f import lock

    with lock.writing(run.folder), pytest.raises(InputError, match="is being written"):
        run.evolve("path")


def test_an_interrupt_stops_a_search_where_nothing_is_lost(photographs: Path, tmp_path: Path) -> None:
    def interrupt(title: str, done: int, total: int, note: str) -> None:
        if title == "training path" and done == 3:
            signal.raise_signal(signal.SIGINT)

    before, few = signal.getsignal(signal.SIGINT), {**small(), "search.screen": 1}
    with pytest.raises(KeyboardInterrupt):
        evo_c2f.search("quick", photographs, tmp_path / "run", interrupt, settings=few, machine=ONE_THREAD)
    assert signal.getsignal(signal.SIGINT) is before
    titles = list[int]()

    def resumed(title: str, done: int, total: int, note: str) -> None:
        if title == "training path":
            titles.append(done)

    evo_c2f.search("quick", photographs, tmp_path / "run", resumed, settings=few, machine=ONE_THREAD)
    assert titles == [4, 5, 6]


def test_a_model_is_trained_judged_exported_and_used(run: evo_c2f.Run, tmp_path: Path) -> None:
    model = run.finetune("knee", max={"size_mb": 5}, settings={"finetune.rounds": 2})
    assert model.path == run.folder / "model" and model.about["metrics"]["psnr_y"] > 0
    assert model.network(torch.rand(1, 3, 8, 8)).shape == (1, 3, 32, 32)
    assert model.export() == run.folder / "model" / "model.onnx"
    Image.fromarray(np.full((8, 8, 3), 90, np.uint8)).save(tmp_path / "small.png")
    assert model.apply(tmp_path / "small.png", tmp_path / "large.png") == [tmp_path / "large.png"]
    with Image.open(tmp_path / "large.png") as large:
        assert large.size == (32, 32)
    with pytest.raises(InputError, match="no network meets size_mb"):
        run.finetune("knee", max={"size_mb": 1e-6})


def test_a_run_is_opened_again(run: evo_c2f.Run, tmp_path: Path) -> None:
    opened = evo_c2f.load_run(run.folder)
    pd.testing.assert_frame_equal(opened.front("path"), run.front("path"))
    assert opened.recipe == run.recipe
    with pytest.raises(InputError, match="holds no run"):
        evo_c2f.load_run(tmp_path)


def engine_blocks() -> list[str]:
    """What the page shows of the engine alone: a measure of one's own, and a table."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/python.md").read_text(), re.S)
    return [block for block in blocks if "coarse_to_fine" in block]


def test_a_public_table_is_searched_in_25_lines_that_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, code = engine_blocks()
    assert len([line for line in code.splitlines() if line]) <= 25
    monkeypatch.chdir(tmp_path)
    rows = write_macro(tmp_path)
    shown = dict[str, Any]()
    exec(code, shown)
    best = shown["best"]
    assert best["macs"].is_monotonic_decreasing and best["accuracy"].is_monotonic_decreasing and len(best) > 5
    assert best["accuracy"].max() > np.quantile([row["mean_acc"] for row in rows.values()], 0.99)


def test_the_engine_by_itself_is_shown_in_few_lines_that_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _ = engine_blocks()
    assert len(code.splitlines()) < 25
    monkeypatch.chdir(tmp_path)
    shown = dict[str, Any]()
    exec(code, shown)
    front, calls = shown["front"], list[object]()
    assert (front["macs"] <= 200).all() and len(front) > 3
    assert front["psnr_y"].is_monotonic_decreasing and front["macs"].is_monotonic_decreasing  # nothing dominates
    again = shown["coarse_to_fine"](
        shown["problem"], "scores.h5", shown["Budget"](60, 8), 0, lambda *step: calls.append(step)
    )
    pd.testing.assert_frame_equal(again, front)
    measured = evo_c2f.load_scores("scores.h5")
    assert len(calls) > 100 and measured["id"].is_unique and len(measured) < shown["space"].n_subnets / 10


def test_scores_are_ranked_by_the_search_s_own_objectives() -> None:
    scores = evo_c2f.load_run(ROOT / "results" / "openmoji").scores()
    best = scores.loc[scores["lpips"].idxmin()]
    assert best["front"] == 0 and (scores["front"] > 0).any()


def test_several_devices_are_for_a_search_alone(run: evo_c2f.Run) -> None:
    several = evo_c2f.load_run(run.folder, machine=evo_c2f.Machine(device="cpu", devices=2))
    with pytest.raises(InputError, match="a search alone trains on several devices"):
        several.finetune()


def test_a_measure_that_failed_once_is_tried_again(tmp_path: Path) -> None:
    from evo_c2f.coarse_to_fine import Problem, coarse_to_fine
    from evo_c2f.engine.budget import Budget
    from evo_c2f.objectives.metric import metric
    from evo_c2f.space import SearchSpace

    space = SearchSpace(2, {1: (8, 16)}, ("dense", "thin"), (0.5, 1.0), (1, 1), "dense")
    broken = [True]

    def measure(architecture: Any) -> dict[str, float]:
        if broken[0]:
            raise MemoryError
        return {"psnr_y": float(len(architecture.cells))}

    def costs(architecture: Any) -> dict[str, float]:
        return {"macs": float(sum(cell.inner for cell in architecture.cells))}

    problem = Problem(space, measure, costs, (metric("psnr_y"), metric("macs")))
    with pytest.raises(InputError, match="out of memory"):
        coarse_to_fine(problem, tmp_path / "scores.h5", Budget(evaluations=6, population=4))
    broken[0] = False
    front = coarse_to_fine(problem, tmp_path / "scores.h5", Budget(evaluations=6, population=4))
    assert front["psnr_y"].max() == 2
