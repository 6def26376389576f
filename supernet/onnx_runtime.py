"""A network in an ONNX file, run by ONNX Runtime."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from evo_c2f.errors import DamagedFileError, InputError
from supernet.seal import check_onnx


class OnnxNetwork:
    """(b, 3, h, w) in 0..1 -> the network's output, on the CPU, with as many threads as torch has.

    metadata: what the export wrote. DamagedFileError if the file is not as it was written, InputError if it is none of
    ours, or ONNX Runtime is not installed.
    """

    def __init__(self, path: Path):
        try:
            import onnxruntime
        except ImportError:
            raise InputError("an .onnx file needs ONNX Runtime; run 'pip install onnxruntime'") from None
        check_onnx(path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        try:
            self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's errors have no common ancestor
            raise DamagedFileError(f"{path} is no ONNX file that can be run ({first_line(error)})") from None
        properties = self.session.get_modelmeta().custom_metadata_map
        if "evo_c2f" not in properties:
            raise InputError(f"{path} was not exported by this project: it doesn't tell its task")
        self.metadata: dict[str, Any] = json.loads(properties["evo_c2f"])

    def __call__(self, x: Tensor) -> Tensor:
        (output,) = self.session.run(None, {"image": x.cpu().numpy()})
        return torch.from_numpy(output)


def first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
