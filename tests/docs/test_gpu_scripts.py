"""The prepared scripts for a GPU, in miniature and on the CPU."""

import json
import runpy

import numpy as np
import pytest
from command_line import ROOT, TINY, TINY_PAIRS, settings
from PIL import Image

FOLDER = ROOT / "benchmarks" / "gpu"
NARROW = ("space.widths={2: [8, 12], 3: [8, 12]}", "space.operators=[residual, distillation]")
SEARCHED = (*TINY, *NARROW, "training.rounds=2", "training.stage_rounds=2", "search.population=4", "search.screen=1")
EVALUATIONS = tuple(f"search.evaluations.{stage}=4" for stage in ("path", "operator", "channel"))
PAIRS = (
    *(change for change in TINY_PAIRS if "rescore" not in change),
    "training.rounds=2",
    "search.rescore=[fd_vgg_n2]",
    "space.operators=[residual, inverted]",
)
# Each script's words beside --out, and how many rows it leaves.
SCRIPTS = {
    "01_speed": (
        (
            *("--data", "DIR", "--rounds", 1, "--batch", 2, "--side", 8, "--precision", "float32"),
            *settings(*TINY[-2:], *NARROW),
        ),
        3,
    ),
    "02_sr": (("--data", "DIR", "--images", 2, *settings(*TINY[:5], "finetune.batch=2", "finetune.phases=[]")), 3),
    "03_search": (("--data", "DIR", *settings(*SEARCHED, *EVALUATIONS)), 1),
    "04_edges2shoes": (("--data", "PAIRS", "--images", 4, *settings(*PAIRS)), 2),
    "05_two_gpus": (("--data", "DIR", "--rounds", 4, *settings(*TINY, *NARROW)), 3),
}


@pytest.fixture
def pairs(tmp_path):
    """A folder of pairs of noise."""
    rng = np.random.default_rng(0)
    for split, n in (("train", 6), ("val", 2)):
        (tmp_path / "pairs" / split).mkdir(parents=True)
        for i in range(n):
            Image.fromarray(rng.integers(0, 255, (32, 64, 3), np.uint8)).save(tmp_path / "pairs" / split / f"{i}.png")
    return tmp_path / "pairs"


def test_all_scripts_are_here():
    assert sorted(path.stem for path in FOLDER.glob("0*.py")) == sorted(SCRIPTS)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_leaves_its_rows_and_measures_none_twice(name, photographs, pairs, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    words, n_rows = SCRIPTS[name]
    places = {"DIR": photographs, "PAIRS": pairs}
    line = [str(places.get(word, word)) for word in (*words, "--device", "cpu", "--out", tmp_path)]
    main = runpy.run_path(str(FOLDER / f"{name}.py"))["main"]
    main(line, standalone_mode=False)
    file = tmp_path / f"{name}.json"
    found = json.loads(file.read_text())
    assert found["machine"].startswith("CPU, torch ") and len(found["rows"]) == n_rows
    assert all(row.get("finished", True) for row in found["rows"])
    assert len(file.with_suffix(".md").read_text().splitlines()) == 4 + n_rows
    if name in ("01_speed", "02_sr"):
        before = file.read_bytes()
        main(line, standalone_mode=False)
        assert file.read_bytes() == before
    if name == "05_two_gpus":
        assert found["rows"][-1]["averaged weights differ by at most"] < 1e-4
