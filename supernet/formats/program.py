"""A network as torch's own exported program."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from evo_c2f.json_text import to_json
from supernet.formats.shapes import How, example_of


def load_pt2(path: Path) -> nn.Module:
    """The module in an exported program, for images of any size.

    Torch's guards would refuse sizes with another memory layout than the example's; `export` tests that the program
    handles these too.
    """
    program = torch.export.load(path)
    if "check_guards" in inspect.signature(program.module).parameters:  # an older torch has no guards
        return program.module(check_guards=False)
    return program.module()


def write_pt2(network: Any, path: Path, metadata: Mapping[str, Any], how: How) -> None:
    """By torch.export, with the metadata in the extra file `evo_c2f.json`."""
    example, dynamic_shapes = example_of(how, network.input_channels)
    program = torch.export.export(network, (example,), dynamic_shapes=dynamic_shapes)
    torch.export.save(program, path, extra_files={"evo_c2f.json": to_json(metadata)})
