"""An ONNX file whose convolutions compute in 8 bits, quantised by ONNX Runtime on training images.

Weights have one scale a channel and 7 of the 8 bits: without special instructions, CPUs add products in 16 bits, and
with all 8 bits the sums would overflow. So the file gives the same on every CPU.
"""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from evo_c2f.errors import FailedError, InputError
from supernet.batches.ahead import CPU
from supernet.formats.export import open_onnx
from supernet.formats.onnx_file import onnx_model, require_onnx, save_onnx
from supernet.metrics.perceptual import COLOURS
from supernet.metrics.tasks import Task
from supernet.models.measure import Score

Pairs = Sequence[tuple[Tensor, Tensor]]
LIMITS = {"psnr_y": 0.1, "psnr": 0.1, "lpips": 0.003}  # a loss beyond it does not pay


class Loss:
    """How much worse than a network its file is on some pairs (source, target): in dB of Y-PSNR, or in LPIPS."""

    def __init__(self, network: nn.Module, task: Task, pairs: Pairs):
        by_eye = not task.frame.residual and task.frame.output_channels in COLOURS
        self.metric = "lpips" if by_eye else next(iter(task.metrics))  # psnr_y, or psnr where there are no colours
        self.score = Score(task, pairs, [self.metric], CPU)
        self.before = self.score.of(network)[self.metric]

    @property
    def limit(self) -> float:
        return LIMITS[self.metric]

    def of(self, path: Path) -> float:
        worse = self.before - self.score.of(open_onnx(path))[self.metric]
        return -worse if self.metric == "lpips" else worse


def write_int8(network: nn.Module, path: Path, metadata: Mapping[str, Any], pairs: Pairs, loss: Loss) -> list[str]:
    """Write the file; the names of the convolutions that stay in 32 bits, so that the loss is within its limit.

    pairs: their sources calibrate. loss: on images that show details; the PSNR of flat patches would tell of invisible
    noise. Those convolutions stay that lose most if they alone are quantised. FailedError if the limit
    can't be kept.
    """
    whole = onnx_model(network.cpu().float().eval())
    names = [node.name for node in whole.graph.node if node.op_type == "Conv"]

    def lost(chosen: Sequence[str]) -> float:
        save_onnx(quantised(whole, chosen, [source for source, _ in pairs]), path, metadata)
        return loss.of(path)

    if lost(names) <= loss.limit:
        return []
    alone = {name: lost([name]) for name in names}
    names.sort(key=lambda name: -alone[name])
    for n in range(1, len(names)):
        if lost(names[n:]) <= loss.limit:
            return names[:n]
    raise FailedError(f"with any convolution in 8 bits the network loses more than {loss.limit:g} of {loss.metric}")


def score_int8(network: nn.Module, score: Score, pairs: Pairs) -> dict[str, float]:
    """The qualities of a network all of whose convolutions are in 8 bits, and its file's size. pairs: as above."""
    whole = onnx_model(network.cpu().float().eval())
    names = [node.name for node in whole.graph.node if node.op_type == "Conv"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        save_onnx(quantised(whole, names, [source for source, _ in pairs]), path, {})
        return score.of(open_onnx(path)) | {"size_mb_int8": path.stat().st_size / 1e6}


def quantised(whole: Any, chosen: Sequence[str], images: Sequence[Tensor]) -> Any:
    """The ONNX model with the chosen convolutions in 8 bits, and each ReLU that follows one of them."""
    onnx = require_quantiser()
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    class Images(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = iter(images)

        def get_next(self) -> dict[str, Any] | None:
            image = next(self.left, None)
            return None if image is None else {"image": image.contiguous().numpy()}

    model = onnx.ModelProto()
    model.CopyFrom(whole)
    add_pre_process_metadata(model)  # torch has optimised it; else the quantiser warns
    nodes = model.graph.node
    outputs = {node.output[0] for node in nodes if node.name in chosen}
    relus = [node.name for node in nodes if node.op_type == "Relu" and node.input[0] in outputs]
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "before.onnx", Path(folder) / "after.onnx"
        onnx.save(model, before)
        quantize_static(
            before,
            after,
            Images(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "Relu"],
            nodes_to_quantize=[*chosen, *relus],
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        found = onnx.load(after)
    del found.metadata_props[:], found.graph.value_info[:]
    slim(found)
    return found


def require_quantiser() -> Any:
    """The package onnx. InputError if it is not installed, or ONNX Runtime with its quantiser."""
    try:
        import onnxruntime.quantization  # noqa: F401
    except ImportError:
        raise InputError("8 bits need ONNX Runtime; run 'pip install .[onnx]'") from None
    return require_onnx()


def slim(model: Any) -> None:
    """Leave out zero points of weights and biases, which are 0 by default, and long names: up to a quarter of a file.

    Convolutions keep their names.
    """
    to_array, graph = require_onnx().numpy_helper.to_array, model.graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if (
            node.op_type == "DequantizeLinear"
            and node.input[0] in tensors
            and not to_array(tensors[node.input[2]]).any()
        ):
            graph.initializer.remove(tensors[node.input.pop(2)])
    short = {value.name: value.name for value in (*graph.input, *graph.output)} | {"": ""}
    for tensor in graph.initializer:
        tensor.name = short.setdefault(tensor.name, f"{len(short):x}")
    for node in graph.node:
        node.name = node.name if node.op_type == "Conv" else ""
        for names in (node.input, node.output):
            names[:] = [short.setdefault(name, f"{len(short):x}") for name in names]


def calibration(batches: Any, channels: int, n: int = 8) -> Pairs:
    """The first training batches, each (source, target), without what a teacher adds to the targets."""
    return [(source.cpu(), target[:, :channels].cpu()) for source, target in (batches[index] for index in range(n))]
