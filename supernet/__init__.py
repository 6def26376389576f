"""The generators: a supernet, its subnets, their training and measurement. Users of a model need only `load_model`."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

__all__ = ["load_model"]


def load_model(path: str | Path) -> "nn.Module":
    """A trained generator as a plain module, frozen: (b, c, h, w) in 0..1 -> its output, not clamped.

    path: a model's folder or its .safetensors file. InputError if it is missing, DamagedFileError if it is damaged.
    """
    from supernet.models.model import load_network  # torch is loaded when it is needed

    return load_network(Path(path))
