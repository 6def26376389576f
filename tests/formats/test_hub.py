"""The folder that a model hub takes: its card's metadata, and what it must not do. A whole one is in test_model_cli."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from supernet_fixtures import random_images

from evo_c2f.errors import InputError
from supernet.formats import hub
from supernet.formats.hub import RUN, write_hub
from supernet.metrics.tasks import SuperResolution
from supernet.models.card import hub_header
from supernet.models.model import Model, header
from supernet.network.plain import PlainUpscaler

METRICS = {"psnr_y": 25.125, "psnr_rgb": 24.5, "lpips": 0.25, "fid": float("nan")}


def model_with(metadata: dict) -> Model:
    return Model(PlainUpscaler(), SuperResolution(4), metadata)


def read_header(metadata: dict) -> dict:
    before, header, after = hub_header(model_with(metadata), "mine").split("---\n")
    assert before == after == ""
    return yaml.safe_load(header)


def test_a_cards_header_tells_the_figures_of_the_file() -> None:
    found = read_header({"about": {"subnet": "0a1b", "data": "openmoji"}, "metrics": METRICS})
    assert found["license"] == "cc-by-sa-4.0" and found["pipeline_tag"] == "image-to-image"
    assert {"super-resolution", "onnx"} <= set(found["tags"])
    assert found["datasets"] == ["openmoji"] and found["metrics"] == ["psnr", "lpips"]
    (entry,) = found["model-index"]
    (result,) = entry["results"]
    assert entry["name"] == "x4 super-resolution, 0a1b" and result["dataset"]["name"] == "held-out images of openmoji"
    figures = {each["name"]: (each["type"], each["value"]) for each in result["metrics"]}
    assert figures == {"psnr_y": ("psnr", 25.125), "psnr_rgb": ("psnr", 24.5), "lpips": ("lpips", 0.25)}


def test_a_header_names_no_licence_data_or_figures_that_the_file_does_not() -> None:
    for about in ({}, {"data": "photographs/"}):
        found = read_header({"about": about})
        assert found["license"] == "unknown" and not {"datasets", "metrics", "model-index"} & found.keys()


def test_a_hubs_folder_takes_the_place_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples/1.png").write_text("mine")
    with pytest.raises(InputError, match=r"samples/1\.png is there already; name another folder, or say --overwrite"):
        write_hub(model_with({}), tmp_path / "model", tmp_path, [random_images(1, 3, 16, 16)], False)
    assert [path.name for path in tmp_path.rglob("*.*")] == ["1.png"]
    assert (tmp_path / "samples/1.png").read_text() == "mine"


@pytest.mark.parametrize(("name", "dtype"), [("a.png", np.uint16), ("a.tif", np.float32)])
def test_the_script_refuses_what_pillow_would_clip_to_8_bits(
    name: str, dtype: type, tmp_path: Path, monkeypatch
) -> None:
    pytest.importorskip("onnxruntime")
    Image.fromarray(np.ones((6, 9), dtype)).save(tmp_path / name)
    (tmp_path / "run.py").write_text(RUN)
    monkeypatch.setattr(sys, "argv", ["run.py", str(tmp_path / name), str(tmp_path / "out.png")])
    with pytest.raises(SystemExit, match=f"{name} has more than 8 bits a channel; convert it to 8 bits"):
        runpy.run_path(str(tmp_path / "run.py"))


def test_a_folder_that_is_written_again_keeps_no_sample_that_its_card_does_not_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "export", lambda network, path, *rest: path.touch())  # which takes long
    model = tmp_path / "model.safetensors"
    model.touch()
    (folder := tmp_path / "hub").mkdir()
    samples = [random_images(1, 3, 16, 16)] * 3
    written = model_with(header(PlainUpscaler()))
    write_hub(written, model, folder, samples, False)
    assert len(list((folder / "samples").iterdir())) == 6
    (folder / "samples/9.png").write_text("mine")  # without an output: none of ours
    write_hub(written, model, folder, samples[:1], True)
    assert sorted(path.name for path in (folder / "samples").iterdir()) == ["1-output.png", "1.png", "9.png"]
