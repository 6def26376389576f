"""A teacher in any ONNX file: only its outputs are needed."""

import mmap
import re
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from evo_c2f.errors import InputError
from supernet.models.onnx_runtime import OnnxFile
from supernet.teachers.found import Found

FLOATS = {"tensor(float)", "tensor(float16)"}
NUMBERS = FLOATS | {"tensor(double)", "tensor(uint8)"}


# In the file's message, an entry of a tensor's external_data: field 1 is the key, 2 the value, by its length.
LOCATION = re.compile(rb"\x0a\x08location\x12([\x80-\xff]?[\x00-\x7f])")


def external_data(path: Path) -> list[Path]:
    """The files beside an ONNX file that hold some of its tensors. The package onnx isn't needed to find them."""
    names = set[bytes]()
    with path.open("rb") as file:
        if not path.stat().st_size:
            return []
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            for found in LOCATION.finditer(content):
                length = sum((byte & 0x7F) << 7 * place for place, byte in enumerate(found[1]))
                names.add(content[found.end() : found.end() + length])
    beside = [path.parent / name.decode(errors="replace") for name in sorted(names)]
    return [file for file in beside if "\0" not in str(file) and file.is_file()]


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
