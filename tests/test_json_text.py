"""What a run writes is JSON that any program reads, whatever came of it; and blank pages come to numbers."""

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from supernet_fixtures import random_pixels, unexpected, write_images

from evo_c2f.errors import InputError
from evo_c2f.json_text import to_json
from evo_c2f.objectives.metric import Box, metric
from evo_c2f.page.data import page_data
from evo_c2f.page.html import write_page
from evo_c2f.runs import recipe
from evo_c2f.runs.run import RunFolder
from evo_c2f.scores import analysis, layout
from evo_c2f.scores.layout import Context
from evo_c2f.scores.store import ScoreStore
from evo_c2f.sections.data import DataSection
from supernet import checkpoint
from supernet.data.photograph_data import PhotographData
from supernet.metrics.similarity import PSNR_CEILING
from supernet.metrics.tasks import SuperResolution
from supernet.models.measure import Score

ROOT = Path(__file__).parents[1]
# They read what they write, or hash it, and no number of theirs comes from a measurement.
OTHERS = {
    "evo_c2f/json_text.py",
    "evo_c2f/scores/layout.py",
    "evo_c2f/scores/probe.py",
    "evo_c2f/space/search_space.py",
    "supernet/checkpoint.py",
    "supernet/jobs/comparison.py",
}


def strict(text: str) -> Any:
    """What the text says, if it is JSON."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_numbers_that_are_not_finite_are_null():
    data = {"a": [1.5, math.nan, (math.inf, -math.inf)], "b": {"c": np.float64("nan"), "d": 3, "e": "nan", "f": None}}
    expected = {"a": [1.5, None, [None, None]], "b": {"c": None, "d": 3, "e": "nan", "f": None}}
    assert strict(to_json(data)) == strict(to_json(data, indent=1)) == strict(to_json(data, compact=True)) == expected


def test_all_json_is_written_by_the_one_function():
    files = [p for folder in ("evo_c2f", "supernet", "benchmarks") for p in (ROOT / folder).rglob("*.py")]
    files += [ROOT / "cli.py", *(ROOT / "results").rglob("*.py")]
    others = {str(p.relative_to(ROOT)) for p in files if re.search(r"\bjson\.dumps?\(", p.read_text())}
    assert len(files) > 80 and others == OTHERS


def test_metrics_of_weights_that_are_not_finite_come_back_as_they_were(tmp_path: Path):
    path = tmp_path / "model.safetensors"
    metadata = {"metrics": {"psnr_y": math.nan, "ssim_y": 0.5}, "curve": [math.nan, 2.0], "about": {"batch": None}}
    checkpoint.save(path, {"a": torch.zeros(2)}, metadata)
    head = path.read_bytes()
    strict(head[8 : 8 + int.from_bytes(head[:8], "little")].decode())
    assert b"NaN" not in head
    found = checkpoint.load(path)[1]
    assert math.isnan(found["metrics"]["psnr_y"]) and found["metrics"]["ssim_y"] == 0.5
    assert math.isnan(found["curve"][0]) and found["curve"][1] == 2.0 and found["about"] == {"batch": None}


@pytest.fixture
def blank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run as an older version left it: an infinite baseline, and a loss that was none."""
    settings = recipe.load("quick")
    run = RunFolder(tmp_path / "run", settings)
    run.keep_recipe()
    genomes = np.unique(settings.space.random(9, np.random.default_rng(0)), axis=0)
    genomes = np.concatenate([settings.space.reference[None], genomes])
    rows = [{"psnr_y": 20.0 + i, "macs": 9.0 + i, "params": 3.0, "size_mb": 1.0} for i in range(len(genomes))]
    monkeypatch.setattr(layout, "to_json", json.dumps)
    context = Context(settings.space.to_dict(), "weights", "images", "protocol")
    with ScoreStore(run.scores, context, {"baseline": {"psnr_y": math.inf}}) as store:
        for stage, part in {"reference": slice(1), "path": slice(1, None)}.items():
            n = len(genomes[part])
            store.append(genomes[part], rows[part], stage, [0] * n, [0.5] * n)
    run.log_file.write_text('{"event": "round", "stage": "joint", "index": 100, "loss": NaN}\n')
    return run


def test_the_page_of_a_run_with_an_infinite_baseline_is_written(blank: RunFolder):
    write_page(blank)
    assert blank.report.is_file()
    data = strict(to_json(page_data(blank)))
    assert [c["baseline"] for c in data["contexts"]] == [{}] and data["trainings"][0]["y"] == [None]
    assert " inf" not in data["sentence"]
    with pytest.raises(InputError, match="no finite baseline of psnr_y"):
        analysis.box(blank.scores, ("psnr_y", "macs"))


def test_a_loss_that_is_no_number_is_logged_as_null(blank: RunFolder):
    blank.log_file.unlink()
    blank.log("round", stage="joint", index=1, loss=math.nan)
    assert strict(blank.log_file.read_text())["loss"] is None


def test_white_pages_are_a_perfect_score_and_no_failure(tmp_path: Path):
    for seed in range(6):
        page = np.full((96, 96, 3), 255, np.uint8)
        page[0, 0, 0] = seed  # so that no page is another's copy
        write_images(tmp_path, {f"{seed}.png": page})
    write_images(tmp_path, {"photograph.png": random_pixels(96, 96)})
    numbers = {"patch": 8, "batch": 2, "crop": 48, "validation_images": 5, "validation_crops": 8}
    data = PhotographData(DataSection.model_validate({"folder": str(tmp_path), **numbers}), 4, 0, unexpected)
    base = Score(SuperResolution(4), data.search(), ["psnr_y", "psnr_rgb"], torch.device("cpu")).baseline()
    assert all(math.isfinite(value) for value in base.values()) and 30 < base["psnr_y"] <= PSNR_CEILING
    objectives = (metric("psnr_y"), metric("macs"))
    box = Box.between(objectives, base, {"psnr_y": base["psnr_y"] - 5, "macs": 100.0})
    assert np.isfinite(box.gains(np.array([[base["psnr_y"] - 1, 50.0]]))).all()
