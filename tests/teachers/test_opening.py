"""Each kind of teacher as a file, and files that are none."""

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from supernet_fixtures import random_images, randomise, unexpected, write_enlarger
from test_pix2pix import resnet
from torch import Tensor, nn

from evo_c2f.errors import DamagedFileError, InputError
from supernet import checkpoint, plugins
from supernet.metrics.vision import make_torchvision_importable
from supernet.models.model import header
from supernet.network.teacher import ResNetGenerator
from supernet.teachers import opening
from supernet.teachers.found import PLUGGED


class Enlarger(nn.Module):
    """x2, by nearest neighbours and a convolution; no network of this project."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.convolution(nn.functional.interpolate(x, scale_factor=2.0))


def write_onnx(path: Path, *inputs: list[int | str], kind: str = "FLOAT", operator: str = "Identity") -> Path:
    """An ONNX file that gives its first input back, or what an operator makes of it."""
    from onnx import TensorProto, helper, save

    names = [f"input{number}" for number in range(len(inputs))]
    of_kind = getattr(TensorProto, kind)
    values = [helper.make_tensor_value_info(name, of_kind, shape) for name, shape in zip(names, inputs, strict=True)]
    y = helper.make_tensor_value_info("y", of_kind, None)
    if operator == "SequenceConstruct":
        y = helper.make_tensor_sequence_value_info("y", of_kind, None)
    graph = helper.make_graph([helper.make_node(operator, names[:1], ["y"])], "any", values, [y])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def find(path: Path | str):
    return opening.find(opening.place_of(str(path)), unexpected)


def test_an_onnx_file_that_this_project_did_not_make_gives_its_outputs(tmp_path):
    pytest.importorskip("onnx")
    found = find(write_enlarger(tmp_path / "any.onnx"))
    x = 300 * random_images(2, 3, 20, 24)
    assert found.range is None and found.size is None and found.words == "an ONNX file"
    assert torch.equal(found.run(x), nn.functional.interpolate(x.clamp(1, 255), scale_factor=4.0))


def test_an_onnx_file_of_one_size_says_so(tmp_path):
    pytest.importorskip("onnx")
    assert find(write_onnx(tmp_path / "fixed.onnx", [1, 3, 16, 24])).size == (16, 24)


FREE = ["n", 3, "h", "w"]


@pytest.mark.parametrize(
    ("inputs", "how", "words"),
    [
        ([["n", 1, "h", "w"]], {}, r"takes \['n', 1, 'h', 'w'\]; a teacher takes \(batch, 3, height, width\)"),
        ([["n", "h", "w", 3]], {}, r"takes \['n', 'h', 'w', 3\]; a teacher takes"),
        ([["n", 3, "h"]], {}, r"takes \['n', 3, 'h'\]; a teacher takes"),
        ([[4, 3, "h", "w"]], {}, "takes 4 images at a time alone; export it for one, or for any number"),
        ([["n", 3, 16, "w"]], {}, "of which only one side is free; export it for any size, or for one"),
        ([FREE, FREE], {}, r"has 2 inputs \(input0, input1\); a teacher takes images alone"),
        ([FREE], {"kind": "UINT8"}, r"takes numbers of the type tensor\(uint8\); a teacher takes floats"),
        ([FREE], {"operator": "SequenceConstruct"}, r"gives a seq\(tensor\(float\)\); a teacher gives images"),
        ([FREE], {"operator": "Unheard"}, "is no ONNX file that can be run"),
    ],
)
def test_an_odd_onnx_file_is_refused(inputs, how, words, tmp_path):
    pytest.importorskip("onnx")
    with pytest.raises((InputError, DamagedFileError), match=words):
        find(write_onnx(tmp_path / "odd.onnx", *inputs, **how))


def test_a_damaged_onnx_file_is_refused(tmp_path):
    (tmp_path / "damaged.onnx").write_bytes(b"no onnx")
    with pytest.raises(DamagedFileError, match="is no ONNX file that can be run"):
        find(tmp_path / "damaged.onnx")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_network_of_the_super_resolution_world_is_built_by_spandrel(tmp_path, suffix):
    make_torchvision_importable()
    pytest.importorskip("spandrel")
    from safetensors.torch import save_file
    from spandrel.architectures.Compact import Compact

    network, x = randomise(Compact(num_feat=8, num_conv=2, upscale=4), 0), random_images(1, 3, 12, 9)
    path = tmp_path / f"4x{suffix}"
    if suffix == ".pth":
        torch.save({"params_ema": network.state_dict()}, path)
    else:
        save_file(network.state_dict(), path)
    found = find(path)
    assert found.words == "RealESRGAN Compact, x4" and found.range == "0..1"
    with torch.no_grad():
        assert (found.run(x) - network(x).clamp(0, 1)).abs().max() < 1e-5


def test_a_pix2pix_checkpoint_is_known_by_its_keys(tmp_path):
    network = randomise(resnet(6, False), 0)
    torch.save({f"module.{name}": tensor for name, tensor in network.state_dict().items()}, tmp_path / "G.pth")
    found = find(tmp_path / "G.pth")
    assert found.words == "pix2pix's ResNet of 6 blocks, instance norm"
    x = random_images(1, 3, 16, 16)
    assert (found.run(x) - network(x)).abs().max() < 1e-5


def test_a_plugin_adds_a_teacher(tmp_path, monkeypatch):
    monkeypatch.delitem(PLUGGED, "inverse", raising=False)

    @plugins.teacher("inverse")
    def inverse() -> Callable[[Tensor], Tensor]:
        return lambda x: 1 - x

    try:
        x = random_images(1, 3, 8, 8)
        assert torch.equal(find("inverse").run(x), 1 - x) and find("inverse").words == "a plugin's function"
        assert len(opening.digest_of("inverse")) == 16
        with pytest.raises(InputError, match=r"what a --plugin adds \(inverse\)"):
            opening.place_of(str(tmp_path / "nothing"))
    finally:
        del PLUGGED["inverse"]


def test_a_plugins_module_is_told_by_its_weights_too(monkeypatch):
    network = Enlarger()
    network.register_buffer("odd", torch.tensor(True))
    monkeypatch.setitem(PLUGGED, "mine", lambda: network)
    before, older = opening.digest_of("mine"), opening.digest_of("mine", whole=False)
    assert opening.digest_of("mine") == before != older
    with torch.no_grad():
        network.convolution.bias += 1
    assert opening.digest_of("mine") != before and opening.digest_of("mine", whole=False) == older


@pytest.mark.parametrize("name", ["any.onnx.data", 50 * "long" + ".bin"])
def test_an_onnx_file_is_told_by_its_external_tensors_too(tmp_path, name):
    pytest.importorskip("onnx")
    from onnx import load, save

    path = write_enlarger(tmp_path / "any.onnx")
    inside = opening.digest_of(str(path))
    assert inside == opening.digest_of(str(path), whole=False)  # as in runs of older versions
    save(load(path), path, save_as_external_data=True, location=name, size_threshold=0)
    before, older = opening.digest_of(str(path)), opening.digest_of(str(path), whole=False)
    assert before != older
    other = bytearray((tmp_path / name).read_bytes())
    other[0] ^= 1
    (tmp_path / name).write_bytes(other)
    assert opening.digest_of(str(path)) != before and opening.digest_of(str(path), whole=False) == older
    (tmp_path / "empty.onnx").write_bytes(b"")
    assert len(opening.digest_of(str(tmp_path / "empty.onnx"))) == 16


class Evil:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("suffix", [".pth", ".pt"])
def test_no_pickle_is_ever_executed(tmp_path, suffix):
    path, mark = tmp_path / f"evil{suffix}", tmp_path / "executed"
    torch.save({"model.1.weight": Evil(mark)}, path)
    with pytest.raises(InputError, match="holds Python objects that could run code, so it is not opened"):
        find(path)
    path.write_bytes(pickle.dumps(Evil(mark)))
    with pytest.raises((InputError, DamagedFileError)):
        find(path)
    assert not mark.exists()


def test_a_torchscript_archive_is_told_from_a_damaged_file(tmp_path):
    torch.jit.trace(Enlarger(), torch.zeros(1, 3, 4, 4)).save(str(tmp_path / "traced.pt"))
    with pytest.raises(
        InputError, match=r"traced\.pt is a TorchScript archive.*; save its state_dict alone, or export"
    ):
        find(tmp_path / "traced.pt")


def test_files_that_are_no_teacher_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist; name an .onnx, .pth or .safetensors file$"):
        opening.place_of(str(tmp_path / "absent.onnx"))
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(InputError, match="is no teacher"):
        find(tmp_path / "a.txt")
    for name, content in (("list", [1, 2]), ("numbers", {"epoch": 3})):
        torch.save(content, tmp_path / f"{name}.pth")
        with pytest.raises(InputError, match="holds no weights by name"):
            find(tmp_path / f"{name}.pth")
    for suffix in (".pth", ".safetensors"):
        (tmp_path / f"short{suffix}").write_bytes(b"PK\x03\x04 cut short")
        with pytest.raises((DamagedFileError, InputError)):
            find(tmp_path / f"short{suffix}")


def test_an_unknown_architecture_is_refused(tmp_path):
    make_torchvision_importable()
    pytest.importorskip("spandrel")
    torch.save(Enlarger().state_dict(), tmp_path / "mine.pth")
    with pytest.raises(InputError, match="of an architecture that spandrel .* does not know.*export it to ONNX"):
        find(tmp_path / "mine.pth")


def test_a_network_of_this_project_runs_on_the_device_of_its_input(tmp_path):
    network = ResNetGenerator(2, 1)
    checkpoint.save(tmp_path / "teacher.safetensors", network.state_dict(), header(network))
    run, x = find(tmp_path / "teacher.safetensors").run, torch.zeros(1, 3, 16, 16)
    assert run(x.to("meta")).device.type == "meta"
    with pytest.raises(NotImplementedError, match="meta tensor"):  # from where no weights come back
        run(x)
