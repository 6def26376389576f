"""Layers that use a whole image at once: its mean, and its instance norm.

Each is a separate module, so that an image in tiles (`tiling.py`) can be given the whole image's statistics.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPSILON = 1e-5  # instance norm's


class Pool(nn.Module):
    """Base of both. `fixed`: (mean, variance) of the whole image, each (1, c, 1, 1), or None to use the input's own."""

    def __init__(self) -> None:
        super().__init__()
        self.fixed: tuple[Tensor, Tensor] | None = None


class Mean(Pool):
    """(b, c, h, w) -> (b, c, 1, 1)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3), keepdim=True) if self.fixed is None else self.fixed[0]


class InstanceNorm(Pool):
    """(b, c, h, w) -> the same shape, each channel of each image with mean 0 and deviation 1.

    A single position has no deviation and stays unchanged.
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.fixed is None:
            positions = x.shape[2] * x.shape[3]
            if torch.compiler.is_exporting():  # no branch by size: the program must serve them all
                return torch.where(torch.scalar_tensor(positions) > 1, F.instance_norm(x), x)
            return F.instance_norm(x) if positions > 1 else x
        mean, variance = self.fixed
        return (x - mean) * torch.rsqrt(variance + EPSILON)
