"""A model's card says what its file says, and is written over nothing else."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from supernet_fixtures import SUPER_RESOLUTION, random_architectures, small_space

from supernet import checkpoint
from supernet.formats.export import export
from supernet.models import model
from supernet.models.card import MARK, Written, card, data_name, write_card
from supernet.models.model import read_model
from supernet.network.generator import Frame, Subnet
from supernet.network.plain import PlainUpscaler

ABOUT = {"recipe": "quick", "subnet": "0a1b", "start": "scratch", "losses": "1 l1", "images": 64}


@pytest.fixture
def subnet(tmp_path: Path) -> Path:
    (architecture,) = random_architectures(small_space(), 1)
    network = Subnet(architecture, Frame(**vars(SUPER_RESOLUTION)))
    metadata = {**model.header(network), "about": {**ABOUT, "data": "embedded"}, "seconds": 8.2}
    checkpoint.save(tmp_path / "model.safetensors", network.state_dict(), {**metadata, "metrics": {"psnr_y": 25.125}})
    return tmp_path / "model.safetensors"


def test_a_card_tells_costs_qualities_history_and_licence(subnet: Path) -> None:
    words = card(read_model(subnet), "model.onnx")
    params = sum(p.numel() for p in model.load_network(subnet).parameters())
    assert f"| parameters | {params:,} |" in words and f"{params * 4e-6:.3g} MB" in words
    assert "| psnr_y, held-out images | 25.125 |" in words and "- seconds of training: 8" in words
    assert "- weights began: from scratch" in words and "- recipe: quick" in words and "64" in words
    assert "x4 super-resolution" in words and "scikit-image" in words and 'InferenceSession("model.onnx")' in words


def test_a_card_says_nothing_that_its_file_does_not(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = PlainUpscaler()
    checkpoint.save(tmp_path / "plain.safetensors", network.state_dict(), model.header(network))
    words = card(read_model(tmp_path / "plain.safetensors"), "plain.onnx")
    assert words.count("Its file doesn't say") == 2 and "psnr" not in words and "designed by hand" in words


def test_a_card_says_what_only_its_file_does(subnet: Path) -> None:
    words = card(read_model(subnet), "model.onnx", written=Written(" --input-size 64 96", (64, 96)))
    assert "64 x 96 pixels (height x width) alone" in words and "any size" not in words
    assert "`python cli.py export --input-size 64 96` writes `model.onnx`" in words
    words = card(read_model(subnet), "model.int8.onnx", written=Written(" --int8", lost="0.0080 dB of psnr_y"))
    assert "| lost in the 8 bits of this file, held-out images | 0.0080 dB of psnr_y |" in words
    assert "| psnr_y, held-out images, in 32 bits | 25.125 |" in words
    assert "`python cli.py export --int8` writes `model.int8.onnx`" in words


def test_data_are_named_without_the_place_where_they_lie() -> None:
    assert [data_name(folder) for folder in ("embedded", "openmoji", "/home/me/openmoji", None)] == [
        "embedded",
        "openmoji",
        "openmoji/",
        "",
    ]


def test_what_somebody_wrote_is_not_written_over(subnet: Path) -> None:
    path = subnet.with_suffix(".md")
    assert write_card(read_model(subnet), path, "model.onnx") and write_card(read_model(subnet), path, "model.onnx")
    path.write_text(path.read_text().removeprefix(MARK))
    mine = path.read_text()
    assert not write_card(read_model(subnet), path, "model.onnx") and path.read_text() == mine


def test_the_cards_script_enlarges_8_bits_and_refuses_what_pillow_would_clip(subnet: Path, tmp_path: Path, monkeypatch):
    pytest.importorskip("onnxruntime")
    found = read_model(subnet)
    export(found.network, tmp_path / "model.onnx", "onnx", {}, [])
    (script,) = re.findall(r"```python\n(.*?)```", card(found, "model.onnx"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.zeros((6, 9), np.uint8)).save("in.png")
    exec(script, {})
    assert Image.open("out.png").size == (36, 24)
    Image.fromarray(np.zeros((6, 9), np.uint16)).save("in.png")
    with pytest.raises(SystemExit, match=r"in\.png has more than 8 bits a channel; convert it to 8 bits"):
        exec(script, {})
