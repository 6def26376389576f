"""Convolutions that run with a prefix of their channels: the only weight-slicing code.

A narrow network uses the first channels of the wide one's weights, so every tensor of a subnet is
a prefix, along each axis, of the supernet's tensor of the same name.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Conv:
    """The description of a convolution, which builds it, slices it and counts its cost.

    `shrink`: it runs on a map that many times smaller along each side (0: on one position, after global pooling).
    Stride is 1 and the padding keeps the size.
    """

    inputs: int
    outputs: int
    kernel: int = 1
    depthwise: bool = False
    dilation: int = 1
    shrink: int = 1

    @property
    def weights(self) -> int:
        return self.outputs * (1 if self.depthwise else self.inputs) * self.kernel**2

    @property
    def params(self) -> int:
        return self.weights + self.outputs

    @property
    def reach(self) -> int:
        """How many positions away it looks; global pooling is not counted."""
        return self.kernel // 2 * self.dilation * self.shrink + max(0, self.shrink - 1)

    def macs(self, height: int, width: int) -> int:
        """Multiply-adds on a map of height x width; the bias is not counted."""
        if self.shrink == 0:
            return self.weights
        return self.weights * -(-height // self.shrink) * -(-width // self.shrink)


class SlicedConv2d(nn.Conv2d):
    """A convolution that can run with a prefix of its input and output channels."""

    # Torch says less: a Tensor, one that may be None, and Any.
    weight: nn.Parameter
    bias: nn.Parameter
    __call__: Callable[..., Tensor]

    def __init__(self, spec: Conv):
        super().__init__(
            spec.inputs,
            spec.outputs,
            spec.kernel,
            padding=spec.dilation * (spec.kernel // 2),
            dilation=spec.dilation,
            groups=spec.inputs if spec.depthwise else 1,
        )

    def forward(self, x: Tensor, outputs: int | None = None) -> Tensor:
        """x (b, c, h, w) -> (b, outputs, h, w); c and outputs are at most the built widths."""
        inputs = x.shape[1]
        outputs = outputs or self.out_channels
        if (inputs, outputs) == (self.in_channels, self.out_channels):
            return super().forward(x)
        depthwise = self.groups > 1
        weight = self.weight[:outputs] if depthwise else self.weight[:outputs, :inputs]
        groups = inputs if depthwise else 1
        return F.conv2d(x, weight, self.bias[:outputs], 1, self.padding, self.dilation, groups)


@torch.no_grad()
def copy_prefix(wide: nn.Module, narrow: nn.Module) -> None:
    """Fill `narrow`, a module of the same structure, with the prefixes of `wide`'s tensors."""
    tensors = wide.state_dict()
    for name, target in narrow.state_dict().items():
        target.copy_(tensors[name][tuple(slice(0, n) for n in target.shape)])
