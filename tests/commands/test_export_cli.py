"""What `export` replaces, says and obeys; the writing of files is left out."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import exit_code
from supernet_fixtures import one_thread, random_pixels, write_images

import evo_c2f
from evo_c2f.errors import InputError
from evo_c2f.workflows import use
from supernet import checkpoint
from supernet.models.model import header
from supernet.models.seal import OLD_HEAD, seal
from supernet.network.plain import PlainUpscaler


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model's folder; exports write their metadata and the threads in use."""

    def write(network: Any, path: Path, form: str, metadata: dict[str, Any], *rest: object) -> float:
        path.write_text(json.dumps({**metadata, "threads": torch.get_num_threads()}) + "\n")
        if form == "openvino":
            path.with_suffix(".bin").write_bytes(b"")
        if form == "onnx":
            seal(path)
        return 0.0

    monkeypatch.setattr(use, "export", write)
    network = PlainUpscaler(4, 1)
    checkpoint.save(tmp_path / "own/model.safetensors", network.state_dict(), header(network))
    return tmp_path / "own"


def written(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_bytes().splitlines()[0])
    return found


@pytest.mark.parametrize(("form", "name"), [("onnx", "model.onnx"), ("pt2", "model.pt2"), ("openvino", "model.bin")])
def test_a_file_that_was_there_is_replaced_only_if_asked(
    model: Path, form: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    export = ("export", "--model", model, "--format", form)
    (model / name).write_text("mine")
    assert exit_code(*export) == 2
    assert f"{name} is there already; name another file, or say --overwrite" in capsys.readouterr().err
    assert (model / name).read_bytes() == b"mine"
    assert exit_code(*export, "--overwrite") == 0 and (model / name).read_bytes() != b"mine"


def test_a_plain_file_takes_the_place_of_an_earlier_one_and_none_with_options_does(model: Path) -> None:
    export = ("export", "--model", model)
    assert exit_code(*export) == 0 and exit_code(*export) == 0
    whole = (model / "model.onnx").read_bytes()
    for option in (("--half",), ("--opset", 18), ("--input-size", 64, 96)):
        assert exit_code(*export, *option) == 2
    with pytest.raises(InputError, match="say --overwrite"):
        evo_c2f.load_model(model).export(half=True)
    assert (model / "model.onnx").read_bytes() == whole
    assert evo_c2f.load_model(model).export(half=True, overwrite=True) == model / "model.onnx"


def test_a_file_of_an_older_version_is_replaced_unless_another_program_changed_it(model: Path) -> None:
    for written_as, code in ((b"another", 2), (b"network", 0)):
        (model / "model.onnx").write_bytes(written_as + OLD_HEAD + sha256(b"network").hexdigest().encode())
        assert exit_code("export", "--model", model) == code


def test_a_file_of_one_size_is_said_to_be_of_it(model: Path) -> None:
    assert exit_code("export", "--model", model, "--input-size", 64, 96) == 0
    assert "(1, 3, 64, 96)" in written(model / "model.onnx")["input"]
    card = (model / "model.md").read_text()
    assert "64 x 96 pixels" in card and "`python cli.py export --input-size 64 96` writes `model.onnx`" in card


def test_an_export_takes_as_many_threads_as_it_is_told(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(use, "write_hub", lambda *rest: seen.append(torch.get_num_threads()))
    sample = write_images(tmp_path, {"a.png": random_pixels(24, 24)}) / "a.png"
    with one_thread():
        assert exit_code("export", "--model", model, "--threads", 2) == 0
        assert written(model / "model.onnx")["threads"] == 2
    with one_thread():
        to = ("--to", tmp_path / "hub", "--sample", sample)
        assert exit_code("export", "--model", model, *to, "--threads", 2) == 0 and seen == [2]
