"""From folders of other pictures than 8-bit RGB to networks, their ONNX files and their outputs."""

import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from command_line import SMALL, TINY_PAIRS, exit_code, settings
from PIL import Image
from supernet_fixtures import random_images, random_pixels, write_images

from evo_c2f.errors import InputError
from evo_c2f.runs import recipe
from evo_c2f.workers.machine import Machine
from evo_c2f.workflows.session import task_and_data
from evo_c2f.workflows.tools import Benchmark
from supernet import load_model
from supernet.data.images import to_pixels
from supernet.drawing.demo import LoadedModels
from supernet.jobs import bench

pytest.importorskip("onnxruntime")


def photograph(channels: int, seed: int, dtype: Any) -> np.ndarray:
    coarse = torch.nn.functional.interpolate(random_images(1, channels, 6, 7, seed=seed), size=(36, 40), mode="bicubic")
    return to_pixels(coarse[0], dtype)


def write(folder: Path, suffix: str, pixels: list[np.ndarray]) -> Path:
    folder.mkdir()
    for number, each in enumerate(pixels):
        if suffix == ".npy":
            np.save(folder / f"{number}.npy", each)
        elif suffix == ".tif":
            tifffile.imwrite(folder / f"{number}.tif", np.moveaxis(each, 2, 0), photometric="minisblack")
        else:
            Image.fromarray(each[..., 0]).save(folder / f"{number}{suffix}")
    return folder


def read(path: Path) -> np.ndarray:
    if path.suffix == ".npy":
        return np.load(path)
    return (
        np.moveaxis(tifffile.imread(path), 0, 2) if path.suffix == ".tif" else np.asarray(Image.open(path))[..., None]
    )


KINDS = {
    "16-bit grey as PNG, x2": (1, np.uint16, ".png", ("task.channels=1", "task.scale=2", "data.depth=16")),
    "7 channels as TIFF, restored": (
        *(7, np.uint8, ".tif"),
        ("task.channels=7", "task.scale=1", "data.degradation={noise: {sigma: [9, 9]}}"),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_from_a_folder_to_an_onnx_file_and_pictures_of_the_same_kind(kind: str, tmp_path: Path, caplog) -> None:
    channels, dtype, suffix, task = KINDS[kind]
    folder = write(tmp_path / "data", suffix, [photograph(channels, seed, dtype) for seed in range(4)])
    run, out = tmp_path / "run", tmp_path / "out"
    words = ("--run", run, "--data", folder, "--threads", 1)
    assert exit_code("search", *words, "--recipe", "quick", "--evaluations", 4, *settings(*SMALL, *task)) == 0
    assert exit_code("finetune", "--run", run, "--name", "m", "--threads", 1) == 0
    assert exit_code("export", "--model", run / "m") == 0
    assert exit_code("apply", "--model", run / "m", folder, out) == 0
    network = load_model(run / "m")
    assert network.input_channels == channels and "in.npy" in (run / "m" / "model.md").read_text()
    for path in sorted(folder.iterdir()):
        found, source = read(out / path.name), read(path)
        with torch.no_grad():
            x = torch.from_numpy(source.astype(np.float32) / np.iinfo(dtype).max).movedim(-1, 0)[None]
            expected = to_pixels(network(x)[0], dtype)
        assert found.dtype == dtype and found.shape == expected.shape
        assert abs(found.astype(int) - expected.astype(int)).max() <= 1
    with pytest.raises(InputError, match="models of 1 or 3 channels") if channels == 7 else nullcontext():
        page = LoadedModels([run / "m"], [], 64, torch.device("cpu"))
        assert page.run(1, (folder / f"0{suffix}").read_bytes(), f"0{suffix}", lambda done, of: None)["height"] == 72
    assert sum("no sample pictures" in line for line in caplog.messages) == (2 if channels == 7 else 0)
    assert not [line for line in caplog.messages if "not used as in the file" in line]


def translation(folder: Path, *changes: str) -> Any:
    words = ("data.crop=16", "data.batch=2", "data.validation_images=1", "data.load_size=null")
    settings = recipe.load("openmoji", (*words, f"data.folder={folder}", *changes))
    return task_and_data(settings)


def test_a_translation_s_outputs_may_have_other_channels_than_its_inputs(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (2, 16, 32, 3), dtype=np.uint8)
    for split, pixels in zip(("train", "val"), colours, strict=True):
        pixels[:, :16] = pixels[:, :16, :1]
        os.makedirs(tmp_path / split)
        Image.fromarray(pixels).save(tmp_path / split / "a.png")
    task, data = translation(tmp_path, "task.input_channels=1")
    ((source, target),) = data.search()
    assert source.shape == (1, 1, 16, 16) and np.array_equal(to_pixels(target)[0], colours[1][:, 16:])
    assert torch.equal(task.baseline(source), source.repeat(1, 3, 1, 1))
    assert task.baseline_name == "the mean of the input's channels" and "psnr_y" in task.metrics
    _, other = translation(tmp_path, "task.output_channels=1")
    with pytest.raises(InputError, match="a half of it has more than 1 channels"):
        [*other.search()]


SEVEN = ("quick", *SMALL, "task.channels=7")
APART = ("openmoji", *TINY_PAIRS, "data.target=teacher", "search.objectives=[psnr_rgb, macs]", "search.rescore=[]")


@pytest.mark.parametrize("changes", [SEVEN, APART], ids=["7 channels", "two domains without a teacher yet"])
def test_costs_are_measured_on_pictures_of_other_channels(changes, tmp_path: Path, monkeypatch) -> None:
    for name in ("RANDOM_SUBNETS", "BLOCKS", "STEPS", "SPEED_ROUNDS"):
        monkeypatch.setattr(bench, name, 1)
    if changes is SEVEN:
        write(tmp_path / "data", ".npy", [photograph(7, seed, np.uint8) for seed in range(3)])
    else:
        pictures = [f"{split}{side}/{i}.png" for split in ("train", "test") for side in "AB" for i in range(4)]
        write_images(tmp_path / "data", {name: random_pixels(32, 32, seed) for seed, name in enumerate(pictures)})
    chosen = recipe.load(changes[0], (*changes[1:], f"data.folder={tmp_path / 'data'}"))
    results = Benchmark(chosen, Machine("cpu", threads=1)).everything(10)
    assert results["round_ms"] > 0 and results["alone"].keys() == {"ours", "plain torch"}


TOLD = {
    "psnr_y is no quality of images of 1 channels; there are psnr, ssim": (
        "task.channels=1",
        "search.objectives=[psnr_y, macs]",
    ),
    "lpips is no quality of images of 7 channels; there are psnr, ssim": (
        "task.channels=7",
        "search.objectives=[lpips, macs]",
    ),
    "VGG16 looks at 1 or 3 channels, not 7": (
        *("task.channels=7", "search.objectives=[psnr, macs]", "training.losses.perceptual=1"),
    ),
    "data.degradation.jpeg is for 1 or 3 channels, and task.channels is 7": (
        *("task.channels=7", "data.degradation={jpeg: {quality: [30, 30]}}"),
    ),
    "task.channels is 17": ("task.channels=17",),
    "psnr is no quality of images of 3 channels": ("search.objectives=[psnr, macs]",),
}


@pytest.mark.parametrize("sentence", TOLD)
def test_what_does_not_fit_the_channels_is_refused_before_anything_starts(sentence, tmp_path, capsys) -> None:
    folder = tmp_path / "data"
    write(folder, ".npy", [photograph(7 if "7" in sentence else 3, seed, np.uint8) for seed in range(2)])
    run = tmp_path / "run"
    changed = settings(*SMALL, *TOLD[sentence])
    assert exit_code("search", "--recipe", "quick", "--run", run, "--data", folder, *changed) == 2
    assert sentence in " ".join(capsys.readouterr().err.split()) and not (run / "recipe.yaml").exists()
