import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from supernet_fixtures import GREY, SEVEN, TRANSLATION, X3, random_architectures, random_images
from test_tiling import SUPER_RESOLUTION, lively, space_of
from torch import nn

from evo_c2f.errors import DamagedFileError, FailedError, InputError
from evo_c2f.space import Architecture, Cell
from supernet import checkpoint
from supernet.formats import export, program
from supernet.formats.shapes import How
from supernet.metrics.tasks import task_of
from supernet.models import judgement
from supernet.models.model import Model, header, read_model
from supernet.network.generator import Subnet
from supernet.network.operators import OPERATORS
from supernet.network.teacher import ResNetGenerator

pytest.importorskip("onnxruntime")

FRAMES = {"x4": (SUPER_RESOLUTION, (1, 2, 3)), "translation": (TRANSLATION, (1, 2, 3))}
FRAMES |= {"x3": (X3, (0, 1, 2)), "grey": (GREY, (1, 2)), "seven": (SEVEN, (0, 1))}
# What an exported file must serve: one that fits all levels, one that fits none, a batch, and some of a few pixels,
# smaller than what is added at their sides, than a window, and with a single position at the coarsest level.
SHAPES = [(1, 3, 32, 32), (1, 3, 37, 51), (3, 3, 16, 20), (1, 3, 12, 9)]
SHAPES += [(1, 3, 1, 1), (1, 3, 1, 64), (2, 3, 64, 1), (1, 3, 2, 3), (1, 3, 5, 7)]


def network_of(operator: str, task: str) -> Subnet:
    frame, levels = FRAMES[task]
    (architecture,) = random_architectures(space_of(operator, levels), 1)
    return lively(Subnet(architecture, frame))


def metadata(network: Any) -> dict:
    return export.metadata_of(Model(network, task_of(network), header(network)))


# An export takes long: one network holds all operators, another those that look beyond a few positions.
CELLS = {
    "x4": list(zip((1, 1, 2, 2, 3, 3, 3, 3, 2, 2), OPERATORS, strict=True)),
    "translation": [(1, "channel_attention"), (2, "residual"), (3, "modulation")],
    "x3": [(0, "pointwise"), (1, "residual")],
    "grey": [(1, "pointwise")],
    "seven": [(0, "pointwise")],
}


def network_at_its_levels(task: str) -> Subnet:
    cells = [Cell(i, level, name, 8) for i, (level, name) in enumerate(CELLS[task])]
    widths = tuple((level, 8) for level in sorted({level for level, _ in CELLS[task]}))
    return lively(Subnet(Architecture(tuple(cells), widths), FRAMES[task][0]))


def teacher() -> nn.Module:
    return lively(ResNetGenerator(4, 1))


@pytest.mark.parametrize("make", [*(partial(network_at_its_levels, task) for task in CELLS), teacher])
def test_onnx_runtime_gives_what_torch_gives_at_any_size(make: Callable[[], nn.Module], tmp_path: Path):
    network: Any = make()
    with torch.no_grad():
        channels = network.input_channels
        scale = max(1.0, float(network(random_images(1, channels, 32, 32)).abs().max()))
    head = network.last if isinstance(network, ResNetGenerator) else network.layers[-1]
    for parameter in head.parameters():
        parameter.data /= scale  # outputs like an image's, as the tolerance is meant
    worst = export.export(network, tmp_path / "m.onnx", "onnx", metadata(network), [])
    assert worst <= 1e-4
    model = read_model(tmp_path / "m.onnx")
    assert (model.task.name, model.task.frame) == (task_of(network).name, task_of(network).frame)
    assert f"float32 (b, {channels}, h, w)" in model.metadata["input"]
    for batch, _, *size in SHAPES:
        shape = (batch, channels, *size)
        if isinstance(network, ResNetGenerator) and shape[2:] == (1, 1):
            continue  # by reflection all its maps are constant, and its norms enlarge what rounding leaves of them
        image = random_images(*shape)
        with torch.no_grad():
            torch.testing.assert_close(model.network(image), network(image), atol=1e-4, rtol=0)


def test_an_exported_program_is_torch_alone_and_keeps_its_metadata(tmp_path: Path):
    network = network_of("residual", "translation")
    export.export(network, tmp_path / "m.pt2", "pt2", metadata(network), [])
    extra = {"evo_c2f.json": ""}
    torch.export.load(tmp_path / "m.pt2", extra_files=extra)
    assert json.loads(extra["evo_c2f.json"])["task"] == "translation"
    loaded = program.load_pt2(tmp_path / "m.pt2")
    for shape in SHAPES:
        image = random_images(*shape)
        with torch.no_grad():
            torch.testing.assert_close(loaded(image), network(image), atol=1e-4, rtol=0)


def test_a_file_does_not_tell_where_it_was_made(tmp_path: Path):
    network = network_of("pointwise", "x4")
    export.export(network, tmp_path / "m.onnx", "onnx", metadata(network), [])
    assert str(Path(torch.__file__).parent).encode() not in (tmp_path / "m.onnx").read_bytes()
    assert b"generator.py" not in (tmp_path / "m.onnx").read_bytes()


def test_half_weights_take_half_the_place(tmp_path: Path):
    (architecture,) = random_architectures(space_of("residual", (2,)), 1)
    network = Subnet(architecture, SUPER_RESOLUTION)
    network.layers.append(torch.nn.Conv2d(64, 64, 3))  # weighty and unused: not part of the graph
    sizes = {}
    for half in (False, True):
        path = tmp_path / f"{half}.onnx"
        export.export(lively(Subnet(architecture, SUPER_RESOLUTION)), path, "onnx", {"scale": 4}, [], How(half))
        sizes[half] = sum(
            len(tensor.raw_data)
            for tensor in __import__("onnx").load(path).graph.initializer
            if tensor.data_type in (1, 10)
        )
    assert sizes[True] * 2 == sizes[False]
    with pytest.raises(InputError, match="leave --half out"):
        export.export(network, tmp_path / "m.pt2", "pt2", {}, [], How(half=True))


def test_a_file_that_differs_is_refused_and_not_left(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(export, "TOLERANCE", 0.0)
    monkeypatch.setattr(export, "largest_difference", lambda *_: 0.5)
    with pytest.raises(FailedError, match=r"differs by 0\.5"):
        export.export(network_of("pointwise", "x4"), tmp_path / "m.onnx", "onnx", {}, [])
    assert list(tmp_path.iterdir()) == []


def test_nan_is_a_difference():
    assert export.largest_difference(lambda x: x * torch.nan, lambda x: x, [random_images(1, 3, 4, 4)]) == float("inf")


def test_an_onnx_file_that_is_not_ours_is_named(tmp_path: Path):
    import onnx

    (tmp_path / "broken.onnx").write_bytes(b"nonsense")
    with pytest.raises(DamagedFileError, match=r"broken\.onnx is no ONNX file"):
        read_model(tmp_path / "broken.onnx")
    value = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in ("a", "b")]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["a"], ["b"])], "g", value[:1], value[1:])
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10),
        tmp_path / "other.onnx",
    )
    with pytest.raises(InputError, match=r"other\.onnx was not exported by this project"):
        read_model(tmp_path / "other.onnx")


def test_the_file_runs_where_neither_torch_nor_this_project_is_imported(tmp_path: Path):
    network, image = network_of("separable", "x4"), random_images(1, 3, 21, 30)
    export.export(network, tmp_path / "m.onnx", "onnx", metadata(network), [])
    np.save(tmp_path / "in.npy", image.numpy())
    program = (
        "import sys, numpy, onnxruntime\n"
        "session = onnxruntime.InferenceSession('m.onnx', providers=['CPUExecutionProvider'])\n"
        "numpy.save('out.npy', session.run(None, {'image': numpy.load('in.npy')})[0])\n"
        "assert not {'torch', 'supernet', 'evo_c2f'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    with torch.no_grad():
        expected = network(image)
    found = torch.from_numpy(np.load(tmp_path / "out.npy"))
    torch.testing.assert_close(found, expected, atol=1e-4 * float(expected.abs().max()), rtol=0)


# Y-PSNR as its protocol says, written anew: Y of BT.601, 8-bit output, 4 pixels cut on each side.
JUDGE = """
import sys, json, numpy, onnxruntime
from PIL import Image
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
def read(path):
    return numpy.asarray(Image.open(path).convert("RGB"), dtype=numpy.float32) / 255
def luma(image):
    return 16 + image.astype(float) @ [65.481, 128.553, 24.966]
values = []
for name in sys.argv[3:]:
    low, high = read(f"{sys.argv[2]}/LR_bicubic/X4/{name}x4.png"), read(f"{sys.argv[2]}/HR/{name}.png")
    (output,) = session.run(None, {"image": numpy.moveaxis(low, -1, 0)[None]})
    output = numpy.round(numpy.moveaxis(output[0], 0, -1).clip(0, 1) * 255) / 255
    high = high[: output.shape[0], : output.shape[1]]
    error = (luma(output) - luma(high))[4:-4, 4:-4]
    values.append(10 * numpy.log10(255**2 / (error**2).mean()))
assert not {"torch", "supernet", "evo_c2f"} & set(sys.modules)
print(json.dumps(values))
"""
SET14 = Path(__file__).parents[3] / "shared" / "data" / "sr" / "benchmark" / "Set14"


@pytest.mark.skipif(not SET14.is_dir(), reason="the benchmark images are absent")
def test_onnx_runtime_alone_gives_the_psnr_that_torch_gives_on_set14(tmp_path: Path):
    network = network_of("separable", "x4")
    model = Model(network, task_of(network), header(network))
    export.export(network, tmp_path / "m.onnx", "onnx", export.metadata_of(model), [])
    images = judgement.read_judged(model, SET14, "test", "AtoB", None)
    expected = judgement.judge(model, images, ["psnr_y"], torch.device("cpu"))["images"]
    program = [sys.executable, "-c", JUDGE, tmp_path / "m.onnx", SET14, *expected]
    said = subprocess.run(program, capture_output=True, text=True, check=True).stdout
    found = dict(zip(expected, json.loads(said), strict=True))
    assert len(found) == 14
    assert found == {name: pytest.approx(row["psnr_y"], abs=0.01) for name, row in expected.items()}


REFERENCE = Path(__file__).parents[2] / "results" / "sr-x4"


@pytest.mark.skipif(not SET14.is_dir(), reason="the benchmark images are absent")
@pytest.mark.parametrize("name", ["0.6MB-scratch-32000", "1.49MB-scratch-32000"])
def test_onnx_runtime_alone_gives_the_table_of_the_reference_run(name: str):
    path = REFERENCE / "models" / name / "model.onnx"
    rows = json.loads((REFERENCE / "benchmark.json").read_text())["rows"]
    (row,) = (row for row in rows if row["model"] == name)
    assert row["size_mb"] <= float(name.partition("MB")[0])
    images = judgement.read_judged(read_model(path), SET14, "test", "AtoB", None).names
    program = [sys.executable, "-c", JUDGE, path, SET14, *images]
    said = json.loads(subprocess.run(program, capture_output=True, text=True, check=True).stdout)
    assert len(said) == 14 and sum(said) / 14 == pytest.approx(row["Set14 psnr_y"], abs=0.01)


def test_a_model_is_read_from_its_folder(tmp_path: Path):
    from supernet import load_model

    network = network_of("inverted", "x4")
    checkpoint.save(tmp_path / "model" / "model.safetensors", network.state_dict(), header(network))
    image = random_images(1, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(load_model(tmp_path / "model")(image), network(image))
    with pytest.raises(InputError, match=r"model\.safetensors is absent"):
        load_model(tmp_path)
