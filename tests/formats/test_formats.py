"""The formats of exported files: 8 bits, OpenVINO, ncnn, spandrel."""

import logging
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from supernet_fixtures import random_images
from torch import nn

from evo_c2f.errors import FailedError, InputError
from evo_c2f.space import Architecture, Cell
from supernet.formats import export
from supernet.formats.int8 import Loss, write_int8
from supernet.formats.onnx_file import ShufflesByConvolution, onnx_model
from supernet.formats.shapes import How
from supernet.metrics.tasks import SuperResolution, Task, Translation
from supernet.models.model import Model, header
from supernet.models.onnx_runtime import OnnxNetwork
from supernet.network.generator import Frame, Subnet
from supernet.spandrel import register

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

TASK = SuperResolution(4)
EXTRAS = ("openvino", "ncnn", "spandrel")


def needs(package: str) -> None:
    """Skip the test without the package; an import could fail for want of a part of torchvision."""
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed")


def network_of(*operators: str, level: int = 2) -> Subnet:
    """A small network whose outputs are like images."""
    cells = tuple(Cell(i, level, name, 16) for i, name in enumerate(operators))
    torch.manual_seed(0)
    network = Subnet(Architecture(cells, ((level, 16),)), Frame(2, residual=True, activation="relu"))
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.08)
    return network.eval().requires_grad_(False)


def metadata(network: Subnet) -> dict:
    return export.metadata_of(Model(network, TASK, header(network)))


def pairs_for(network: Subnet) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Images, and what the network makes of them with a noise of 30 dB."""
    sources = [nn.functional.interpolate(random_images(2, 3, 6, 6), size=(24, 24), mode="bicubic") for _ in range(2)]
    return [
        (x, network(x) + 0.03 * torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(1))) for x in sources
    ]


def test_an_int8_file_is_quantised_by_channel_and_its_loss_is_what_onnx_runtime_gives(tmp_path: Path) -> None:
    network = network_of("residual", "residual")
    pairs, path = pairs_for(network), tmp_path / "m.onnx"
    loss = Loss(network, TASK, pairs)
    assert write_int8(network, path, metadata(network), pairs, loss) == []
    model = onnx.load(path)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    stored = [node for node in model.graph.node if node.op_type == "DequantizeLinear" and node.input[0] in tensors]
    weights = [node for node in stored if tensors[node.input[0]].data_type == onnx.TensorProto.INT8]
    assert len(weights) == sum(node.op_type == "Conv" for node in model.graph.node) == 6
    for weight, scale in (map(tensors.get, node.input) for node in weights):
        assert list(scale.dims) == [weight.dims[0]]
    # Nothing is stored for a default: each of the 12 has two inputs, and names are short.
    assert len(stored) == 12 and {len(node.input) for node in stored} == {2} and max(map(len, tensors)) <= 2
    run = OnnxNetwork(path, warn=pytest.fail)
    values = [[TASK.metrics["psnr_y"](made(x), y).mean() for x, y in pairs] for made in (network, run)]
    before, after = (float(torch.stack(each).mean()) for each in values)
    assert loss.of(path) == pytest.approx(before - after, abs=1e-5) and 0 < loss.of(path) <= 0.1
    export.export(network, tmp_path / "whole.onnx", "onnx", metadata(network), [])
    assert path.stat().st_size < (tmp_path / "whole.onnx").stat().st_size


@pytest.mark.parametrize(("task", "metric"), [(SuperResolution(1), "psnr_y"), (Translation(), "lpips")])
def test_a_restorations_loss_is_in_db_and_a_translations_by_eye(task: Task, metric: str) -> None:
    x, y = random_images(2, 1, 3, 32, 32)
    assert Loss(nn.Identity(), task, [(x, y)]).metric == metric


def test_a_convolution_that_loses_much_stays_in_float(tmp_path: Path) -> None:
    network = network_of("residual", "residual")
    first, last = network.layers[1].first, network.layers[1].last
    first.weight[::2] *= 3000  # the other channels then lie within one step of the 8 bits
    first.bias[::2] *= 3000
    last.weight[:, ::2] /= 3000
    pairs = pairs_for(network)
    loss = Loss(network, TASK, pairs)
    left = write_int8(network, tmp_path / "m.onnx", metadata(network), pairs, loss)
    assert 1 <= len(left) < 6 and loss.of(tmp_path / "m.onnx") <= 0.1
    graph = onnx.load(tmp_path / "m.onnx").graph
    tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    floats = [tensors[node.input[1]] for node in graph.node if node.name in left]
    assert any(weight.shape == last.weight.shape and (weight == last.weight.numpy()).all() for weight in floats)


@pytest.mark.parametrize("form", export.FORMATS)
def test_a_format_is_refused_if_its_weights_are_disturbed(form: str, tmp_path: Path, monkeypatch) -> None:
    network, known = network_of("residual"), export.FORMATS[form]
    path = tmp_path / f"m{known.ending}"
    if form in EXTRAS:  # the others have tests of their own
        needs(form)
        assert export.export(network, path, form, metadata(network), []) <= 1e-4
    kept = {file: file.read_bytes() for file in tmp_path.iterdir()}
    other = network_of("residual")
    other.layers[-1].weight[0, 0] += 0.01
    monkeypatch.setitem(export.FORMATS, form, replace(known, write=lambda _, *rest: known.write(other, *rest)))
    with pytest.raises(FailedError, match=f"the {form} file differs by"):
        export.export(network, path, form, metadata(network), [])
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == kept


def test_spandrel_loads_our_file(tmp_path: Path) -> None:
    needs("spandrel")
    network, image = network_of("residual", "separable"), random_images(1, 3, 21, 30)
    export.export(network, tmp_path / "m.safetensors", "spandrel", metadata(network), [])
    found = register().ModelLoader().load_from_file(tmp_path / "m.safetensors")
    assert (found.scale, found.purpose, found.architecture.name) == (4, "SR", "evo_c2f")
    torch.testing.assert_close(found(image), network(image).clamp(0, 1), atol=1e-5, rtol=0)


def test_ncnn_names_the_operator_that_it_can_not_run(tmp_path: Path) -> None:
    needs("ncnn")
    network = network_of("residual", "modulation")
    with pytest.raises(InputError, match=r"ncnn has no .*Tensor\.slice, which the operator modulation needs"):
        export.export(network, tmp_path / "m.ncnn.param", "ncnn", metadata(network), [])
    assert list(tmp_path.iterdir()) == []


def test_opset_and_size_are_those_that_were_asked_for(tmp_path: Path) -> None:
    network = network_of("residual", level=3)
    export.export(network, tmp_path / "m.onnx", "onnx", metadata(network), [], How(opset=18, size=(65, 70)))
    model = onnx.load(tmp_path / "m.onnx")
    assert [each.version for each in model.opset_import if each.domain == ""] == [18]
    assert [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == [1, 3, 65, 70]
    told = export.metadata_of(Model(network, TASK, {}), (65, 70))
    assert "(1, 3, 65, 70)" in told["input"] and "(1, 3, 260, 280)" in told["output"]
    with pytest.raises(InputError, match="leave --opset out"):
        export.export(network, tmp_path / "m.pt2", "pt2", metadata(network), [], How(opset=18))


def test_an_opset_that_torch_can_not_write_is_refused_in_one_sentence(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(InputError, match="torch can't write this network in opset 12; it wrote opset 18"):
        onnx_model(network_of("residual"), How(opset=12))
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert capfd.readouterr() == ("", "")


def test_transposed_upsampling_is_exact_and_has_no_tensor_of_six_axes(tmp_path: Path) -> None:
    network = network_of("residual", level=3)  # coarser than its input, which is unshuffled
    image = random_images(1, 3, 21, 30)
    by_convolution = ShufflesByConvolution(network, image)
    for step in (2, 3, 4):
        x = random_images(2, 5 * step**2, 4, 3)
        shuffled = nn.functional.pixel_shuffle(x, step)
        with by_convolution:
            assert torch.equal(nn.functional.pixel_shuffle(x, step), shuffled)
            assert torch.equal(nn.functional.pixel_unshuffle(shuffled, step), x)
        assert (5 * step**2, step) in by_convolution.weights
    how = How(size=(21, 30), transposed=True)
    export.export(network, tmp_path / "m.onnx", "onnx", metadata(network), [], how)
    graph = onnx.shape_inference.infer_shapes(onnx.load(tmp_path / "m.onnx")).graph
    assert max(len(value.type.tensor_type.shape.dim) for value in graph.value_info) == 4
    kinds = {node.op_type for node in graph.node}
    assert "ConvTranspose" in kinds and not {"DepthToSpace", "SpaceToDepth", "Transpose"} & kinds
    torch.testing.assert_close(OnnxNetwork(tmp_path / "m.onnx", pytest.fail)(image), network(image), atol=1e-6, rtol=0)
    with pytest.raises(InputError, match="leave --upsampling out"):
        export.export(network, tmp_path / "m.pt2", "pt2", metadata(network), [], How(transposed=True))
