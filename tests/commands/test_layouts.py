"""Folders of each layout, at each scale, from their files to an exported one."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from command_line import SMALL, exit_code, settings
from supernet_fixtures import random_images, random_pixels, write_images

from supernet import load_model

SIDE = 96
PHOTOGRAPHS = (*SMALL, "search.objectives=[psnr_y, macs]")
PAIRS = (
    *PHOTOGRAPHS[PHOTOGRAPHS.index("training.rounds=2") :],
    *("data.crop=32", "data.batch=2", "data.validation_images=2", "data.load_size=null"),
    *("training.losses={l1: 1.0}", "search.rescore=[]"),
)


@dataclass(frozen=True)
class Layout:
    """places: 'gt/{}.png' -> how many pictures lie there. inputs: the place of theirs, smaller by the scale.

    scale: None: translation, and pictures without inputs hold a pair side by side. used: how many pictures a search
    uses, by use. folder: what --data names.
    """

    places: dict[str, int]
    used: dict[str, int]
    scale: int | None = None
    inputs: dict[str, str] = field(default_factory=dict)
    changes: tuple[str, ...] = ()
    folder: str = "."

    def write(self, root: Path) -> Path:
        """Write the pictures, which are noise. Returns the folder for --data."""
        step = self.scale or 1
        for number, (place, n) in enumerate(self.places.items()):
            width = SIDE if self.scale or self.inputs else 2 * SIDE
            for i in range(n):
                pixels = random_pixels(SIDE, width, 10 * number + i)
                write_images(root, {place.format(i): pixels})
                if self.inputs:
                    write_images(root, {self.inputs[place].format(i): pixels[::step, ::step]})
        return root / self.folder

    def words(self) -> list[str]:
        """The recipe and its settings."""
        if self.scale is None:
            return ["--recipe", "openmoji", *settings(*PAIRS, *self.changes)]
        return ["--recipe", "quick", *settings(*PHOTOGRAPHS, f"task.scale={self.scale}", *self.changes)]


SPLITS = {"train/{}.png": 3, "val/{}.png": 2}
NOISE = "data.degradation={noise: {sigma: [25, 25]}}"
LAYOUTS = {
    "photographs, denoised": Layout({"{}.png": 4}, {"training": 3, "held out": 1}, 1, changes=(NOISE,)),
    "nested photographs": Layout({"a/b/{}.jpg": 2, "c/{}.png": 2}, {"training": 3, "held out": 1}, 8),
    "photographs in splits": Layout(SPLITS, {"training": 3, "held out": 1, "not used": 1}, 3),
    "BasicSR's gt and lq": Layout({"gt/{}.png": 4}, {"training": 3, "held out": 1}, 2, {"gt/{}.png": "lq/{}.png"}),
    "DIV2K": Layout(
        {"DIV2K_train_HR/{}.png": 3, "DIV2K_valid_HR/{}.png": 1},
        {"training": 3, "held out": 1},
        4,
        {
            "DIV2K_train_HR/{}.png": "DIV2K_train_LR_bicubic/X4/{}x4.png",
            "DIV2K_valid_HR/{}.png": "DIV2K_valid_LR_bicubic/X4/{}x4.png",
        },
    ),
    "restoration of own inputs": Layout(
        {"train/target/{}.png": 3, "val/target/{}.png": 1},
        {"training": 3, "held out": 1},
        1,
        {"train/target/{}.png": "train/input/{}.png", "val/target/{}.png": "val/input/{}.png"},
    ),
    "photographs whose inputs lie elsewhere": Layout(
        {"hr/{}.png": 4},
        {"training": 3, "held out": 1},
        4,
        {"hr/{}.png": "lr/{}x4.png"},
        ("data.inputs=../lr",),
        "hr",
    ),
    "pairs side by side": Layout(SPLITS, {"train": 3, "search": 2, "full": 2}),
    "pairs in A and B": Layout(
        {"B/train/{}.png": 3, "B/val/{}.png": 2},
        {"train": 3, "search": 2, "full": 2},
        inputs={"B/train/{}.png": "A/train/{}.png", "B/val/{}.png": "A/val/{}.png"},
    ),
    "pairs in two folders of each split": Layout(
        {"train/targets/{}.png": 3, "val/targets/{}.png": 2},
        {"train": 3, "search": 2, "full": 2},
        inputs={"train/targets/{}.png": "train/inputs/{}.png", "val/targets/{}.png": "val/inputs/{}.png"},
    ),
    "pairs without splits": Layout(
        {"targets/{}.png": 5}, {"train": 3, "search": 2, "full": 2}, inputs={"targets/{}.png": "inputs/{}.png"}
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_folder_becomes_an_exported_file(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    layout = LAYOUTS[name]
    folder, run, out = layout.write(tmp_path / "in"), tmp_path / "run", tmp_path / "m.onnx"
    words = (*layout.words(), "--data", folder, "--threads", 1)
    assert exit_code("data", "check", *layout.words(), folder, "--threads", 1, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    used = {use: n for use, n in layout.used.items() if use != "not used"}
    assert found["used"] == used and found["not used"] == layout.used.get("not used", 0)
    assert exit_code("search", *words, "--run", run, "--evaluations", 4) == 0
    assert exit_code("finetune", "--run", run, "--name", "m", "--threads", 1) == 0
    assert exit_code("export", "--model", run / "m", out) == 0
    x = random_images(1, 3, 32, 40)
    (given,) = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"]).run(None, {"image": x.numpy()})
    assert given.shape == (1, 3, 32 * (layout.scale or 1), 40 * (layout.scale or 1))
    with torch.no_grad():
        assert (torch.from_numpy(given) - load_model(run / "m")(x)).abs().max() < 1e-4
