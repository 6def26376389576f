"""A network as OpenVINO's .xml and .bin."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from evo_c2f.errors import InputError
from supernet.formats.onnx_file import write_onnx
from supernet.formats.shapes import How


def write_openvino(network: nn.Module, path: Path, metadata: Mapping[str, Any], how: How) -> None:
    """By OpenVINO's own reader of ONNX; the .bin lies beside the .xml. InputError if a package is not installed."""
    openvino = require_openvino()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.onnx"
        write_onnx(network, file, metadata, How(opset=how.opset, size=how.size))
        openvino.save_model(openvino.Core().read_model(file), path, compress_to_fp16=how.half)


def open_openvino(path: Path) -> Callable[[Tensor], Tensor]:
    """The network in the file, on the CPU: in 32 bits, where OpenVINO alone would choose fewer on some."""
    precise = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = require_openvino().Core().compile_model(path, "CPU", precise)
    return lambda x: torch.from_numpy(compiled(x.numpy())[0])


def require_openvino() -> Any:
    try:
        import openvino
    except ImportError:
        raise InputError("OpenVINO's files need openvino; run 'pip install .[onnx,openvino]'") from None
    return openvino
