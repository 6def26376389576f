"""How a file is to be written, and the images that it is traced with."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim

# Not a multiple of anything: no branch is taken for good because its size happens to fit.
BATCH, SIDES = 2, (101, 90)


@dataclass(frozen=True)
class How:
    """half: store the weights in 16 bits; opset: of ONNX, None for torch's choice; size: the only (height, width) of
    the input, for single images; None: any size and batch; transposed: shuffle pixels by convolutions.
    """

    half: bool = False
    opset: int | None = None
    size: tuple[int, int] | None = None
    transposed: bool = False


AS_IT_IS = How()


def random_image(shape: tuple[int, ...]) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(sum(shape)))


def example_of(how: How, channels: int) -> tuple[Tensor, Any]:
    """An image to trace the network with, and torch's dynamic shapes."""
    if how.size:
        return random_image((1, channels, *how.size)), None
    return random_image((BATCH, channels, *SIDES)), ({0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC},)
