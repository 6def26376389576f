"""Each kind of teacher as a file, and files that are none."""

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from supernet_fixtures import random_images, randomise, unexpected
from test_pix2pix import resnet
from torch import Tensor, nn

from evo_c2f.errors import DamagedFileError, InputError
from supernet import plugins
from supernet.metrics.vision import make_torchvision_importable
from supernet.teachers import opening
from supernet.teachers.found import PLUGGED


class Enlarger(nn.Module):
    """x2, by nearest neighbours and a convolution; no network of this project."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.convolution(nn.functional.interpolate(x, scale_factor=2.0))


def write_onnx(path: Path, network: nn.Module, shape: tuple[int, ...] = (1, 3, 16, 16), free: bool = True) -> Path:
    """An ONNX file as any program writes it."""
    pytest.importorskip("onnxscript")
    sides = {name: {2: "height", 3: "width"} for name in ("x",)} if free else None
    torch.onnx.export(
        network, (torch.zeros(shape),), path, input_names=["x"], dynamo=False, dynamic_axes=sides, verbose=False
    )
    return path


def find(path: Path | str):
    return opening.find(opening.place_of(str(path)), unexpected)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_onnx_file_that_this_project_did_not_make_gives_its_outputs(tmp_path):
    network, x = randomise(Enlarger(), 0), random_images(1, 3, 20, 24)
    found = find(write_onnx(tmp_path / "any.onnx", network))
    assert found.range is None and found.size is None and found.words == "an ONNX file"
    assert (found.run(x) - network(x)).abs().max() < 1e-5


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_onnx_file_of_one_size_says_so_and_odd_ones_are_refused(tmp_path):
    fixed = find(write_onnx(tmp_path / "fixed.onnx", Enlarger(), free=False))
    assert fixed.size == (16, 16)
    cases: dict[str, tuple[nn.Module, tuple[int, ...], str]] = {
        "grey": (nn.Conv2d(1, 1, 3), (1, 1, 16, 16), r"takes \[1, 1, 'height', 'width'\]; a teacher takes \(batch, 3"),
        "many": (nn.Conv2d(3, 3, 3), (4, 3, 16, 16), "takes 4 images at a time alone"),
    }
    for name, (network, shape, words) in cases.items():
        with pytest.raises(InputError, match=words):
            find(write_onnx(tmp_path / f"{name}.onnx", network, shape))
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
