"""A network in an ONNX file, run by ONNX Runtime."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from evo_c2f.errors import DamagedFileError, InputError
from supernet.models.seal import check_onnx


def onnx_runtime() -> Any:
    """The package onnxruntime. InputError if it is not installed."""
    try:
        import onnxruntime
    except ImportError:
        raise InputError("an .onnx file needs ONNX Runtime; run 'pip install onnxruntime'") from None
    return onnxruntime


class OnnxFile:
    """A session of ONNX Runtime, with as many threads as torch has: (b, c, h, w) -> the file's first output."""

    def __init__(self, path: Path, warn: Callable[[str], None]):
        """DamagedFileError if the file is damaged, InputError if ONNX Runtime is not installed.

        warn: gets a message if another program has rewritten a file of ours, perhaps to 16 bits.
        """
        onnxruntime = onnx_runtime()
        check_onnx(path, warn)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        try:
            self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's errors have no common ancestor
            raise DamagedFileError(f"{path} is no ONNX file that can be run ({first_line(error)})") from None
        self.path, self.inputs = path, self.session.get_inputs()
        if not self.inputs:
            raise InputError(f"{path} takes no input")
        self.input = self.inputs[0]

    def __call__(self, x: Tensor) -> Tensor:
        """InputError if the file does not accept such images: another program may have fixed their size."""
        values = x.half() if self.input.type == "tensor(float16)" else x
        try:
            output, *_ = self.session.run(None, {self.input.name: values.cpu().numpy()})
        except Exception as error:  # as above
            raise InputError(f"{self.path} can't run on images {tuple(x.shape)}: {first_line(error)}") from None
        return torch.from_numpy(output).float()


class OnnxNetwork(OnnxFile):
    """(b, 3, h, w) in 0..1 -> the network's output, on the CPU.

    metadata: written by the export. InputError if the file is not ours.
    """

    def __init__(self, path: Path, warn: Callable[[str], None]):
        super().__init__(path, warn)
        properties = self.session.get_modelmeta().custom_metadata_map
        try:
            self.metadata: dict[str, Any] = json.loads(properties["evo_c2f"])
        except (KeyError, ValueError):
            raise InputError(f"{path} was not exported by this project: it doesn't tell its task") from None


def first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
