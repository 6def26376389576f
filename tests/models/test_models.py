from pathlib import Path

import pytest
import torch
from command_line import ROOT, exit_code
from safetensors.torch import save_file
from supernet_fixtures import TRANSLATION, random_architectures, random_images, random_supernet, wide_space
from torch import nn

from evo_c2f.errors import DamagedFileError, InputError
from supernet import checkpoint
from supernet.drawing.sheet import draw_sheet, sample_columns
from supernet.models.model import header, load_network, read_model
from supernet.network.teacher import ResNetGenerator


def networks() -> list[nn.Module]:
    supernet = random_supernet(wide_space(), TRANSLATION)
    return [ResNetGenerator(4, 2), *map(supernet.extract, random_architectures(supernet.space, 3))]


@pytest.mark.parametrize("network", networks(), ids=["teacher", "subnet", "subnet", "subnet"])
def test_a_saved_network_comes_back_and_is_frozen(network, tmp_path: Path):
    checkpoint.save(tmp_path / "x.safetensors", network.state_dict(), {**header(network), "seconds": 1.5})
    loaded, x = load_network(tmp_path / "x.safetensors"), random_images(1, 3, 32, 32)
    assert torch.equal(loaded(x), network(x))
    assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("sr-x4/models/1.49MB-scratch-32000/model", "super-resolution"),
        ("openmoji/models/searched-inherited", "translation"),
    ],
)
def test_a_committed_model_gives_what_its_file_gave_when_it_was_exported(name: str, task: str):
    pytest.importorskip("onnxruntime")
    x, (model, exported) = (
        random_images(1, 3, 20, 28),
        (read_model(ROOT / "results" / f"{name}.{suffix}") for suffix in ("safetensors", "onnx")),
    )
    assert model.task.name == exported.task.name == task
    with torch.no_grad():
        torch.testing.assert_close(model.network(x), exported.network(x), atol=1e-4, rtol=0)


def test_what_is_absent_or_holds_no_network_is_named(tmp_path: Path):
    with pytest.raises(InputError, match=r"x\.safetensors is absent"):
        load_network(tmp_path / "x.safetensors")
    checkpoint.save(tmp_path / "x.safetensors", {"a": torch.zeros(1)}, {"stage": "joint"})
    with pytest.raises(InputError, match=r"x\.safetensors is no model but a supernet or a stopped training"):
        load_network(tmp_path / "x.safetensors")
    for metadata in ({"resnet": {"width": 3}}, {"architecture": {"cells": []}, "frame": {}}):
        checkpoint.save(tmp_path / "x.safetensors", {"a": torch.zeros(1)}, metadata)
        with pytest.raises(DamagedFileError, match=r"x\.safetensors holds no network"):
            load_network(tmp_path / "x.safetensors")


def test_the_model_of_another_program_is_refused_and_left_as_it_is(tmp_path: Path, capsys):
    foreign = tmp_path / "sd.safetensors"
    save_file({"conv.weight": torch.zeros(1)}, foreign, {"format": "pt"})
    for words in (("apply", tmp_path, tmp_path / "out"), ("evaluate", "--data", tmp_path), ("export",)):
        assert exit_code(*words, "--model", foreign) == 2
        said = capsys.readouterr().err
        assert "sd.safetensors is not a model of this project" in said and "remove" not in said
    assert foreign.is_file()


def test_a_sheet_has_a_column_for_the_input_the_target_and_each_network(tmp_path: Path):
    from PIL import Image

    batches = [(random_images(8, 3, 16, 16, seed=s), random_images(8, 3, 16, 16, seed=9 + s)) for s in (1, 2)]
    columns = sample_columns(batches, {"dark": lambda x: x * 0.5}, torch.device("cpu"))
    assert list(columns) == ["input", "target", "dark"]
    assert {len(images) for images in columns.values()} == {10}
    for source, dark in zip(columns["input"], columns["dark"], strict=True):
        assert torch.equal(dark, source * 0.5)
    assert torch.equal(columns["input"][0], batches[0][0][0]) and torch.equal(columns["target"][-1], batches[1][1][-1])
    large = [(random_images(1, 3, 60, 40), random_images(1, 3, 960, 640))]
    images = [image for column in sample_columns(large, {}, torch.device("cpu")).values() for image in column]
    assert [tuple(image.shape) for image in images] == [(3, 60, 40), (3, 512, 341)]
    draw_sheet(columns, tmp_path / "new" / "sheet.png")
    with Image.open(tmp_path / "new" / "sheet.png") as sheet:
        assert sheet.width > 300 and sheet.height > sheet.width
