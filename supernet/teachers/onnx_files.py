"""A teacher in any ONNX file: only its outputs are needed."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from evo_c2f.errors import InputError
from supernet.models.onnx_runtime import OnnxFile
from supernet.teachers.found import Found

FLOATS = {"tensor(float)", "tensor(float16)"}
NUMBERS = FLOATS | {"tensor(double)", "tensor(uint8)"}


def external_data(path: Path) -> list[Path]:
    """The files beside an ONNX file that hold some of its tensors; none of a file that is no ONNX.

    InputError if the package onnx is not installed.
    """
    try:
        import onnx
    except ImportError:
        raise InputError("an .onnx teacher needs the package onnx; run \"pip install '.[teachers]'\"") from None
    try:
        tensors = onnx.load(path, load_external_data=False).graph.initializer
    except Exception:  # protobuf raises errors of several kinds; reading the file says what is wrong
        return []
    names = {entry.value for tensor in tensors for entry in tensor.external_data if entry.key == "location"}
    return [file for file in (path.parent / name for name in sorted(names)) if file.is_file()]


def read(path: Path, warn: Callable[[str], None]) -> Found:
    """InputError if it is no function from a batch of RGB images to another."""
    file = OnnxFile(path, warn)
    if len(file.inputs) != 1:
        names = ", ".join(one.name for one in file.inputs)
        raise InputError(f"{path} has {len(file.inputs)} inputs ({names}); a teacher takes images alone")
    shape, kind = list(file.input.shape), file.input.type
    if len(shape) != 4 or shape[1] != 3 and (isinstance(shape[1], int) or shape[3] == 3):
        raise InputError(f"{path} takes {shape}; a teacher takes (batch, 3, height, width)")
    if kind not in FLOATS:
        raise InputError(f"{path} takes numbers of the type {kind}; a teacher takes floats")
    given = file.session.get_outputs()[0].type
    if given not in NUMBERS:
        raise InputError(f"{path} gives a {given}; a teacher gives images")
    batch, _, height, width = (side if isinstance(side, int) else None for side in shape)
    if batch not in (None, 1):
        raise InputError(f"{path} takes {batch} images at a time alone; export it for one, or for any number")
    if (height is None) != (width is None):
        raise InputError(f"{path} takes {shape}, of which only one side is free; export it for any size, or for one")
    fixed = (height, width) if height is not None and width is not None else None

    def run(x: Tensor) -> Tensor:
        with torch.no_grad():
            return file(x).to(x.device)

    return Found(run, "an ONNX file", size=fixed)
