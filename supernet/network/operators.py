"""The candidate operators of a cell. One table, `OPERATORS`, at the end.

Every operator keeps its input's shape, adds a residual, and has an inner width. To add one, declare its convolutions
once, for any width and inner width, and define how they are applied. Building, slicing, extraction and costs follow.
The convolution called 'last' starts at zero, so that a fresh operator is the identity. Each tensor must be sliceable by
prefixes: add branches, don't concatenate them.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from supernet.network.pooling import InstanceNorm, Mean
from supernet.network.slicing import Conv, SlicedConv2d

Activation = Literal["gelu", "relu"]
ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {"gelu": F.gelu, "relu": F.relu}


class Operator(nn.Module):
    """x + body(x), or x + body(norm(x)), with `inner` channels inside."""

    expansion = 1  # the inner width is the gene's inner width times this

    if TYPE_CHECKING:  # its convolutions, by the names that `convolutions` gives them

        def __getattr__(self, name: str) -> SlicedConv2d: ...

    def __init__(self, width: int, inner: int, activation: Activation = "gelu"):
        """width: trunk channels; inner: the gene's inner width."""
        super().__init__()
        self.inner, self.activation = inner, ACTIVATIONS[activation]
        for name, spec in self.convolutions(width, inner * self.expansion).items():
            self.add_module(name, SlicedConv2d(spec))
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)
        self.norm, self.mean = InstanceNorm(), Mean()

    @staticmethod
    def convolutions(width: int, inner: int) -> dict[str, Conv]:
        """The operator's convolutions by name."""
        raise TypeError("an operator declares its convolutions")

    def body(self, x: Tensor, width: int, inner: int) -> Tensor:
        raise TypeError("an operator says what it computes")

    def forward(self, x: Tensor, inner: int | None = None, normalise: bool = False) -> Tensor:
        """x (b, width, h, w) -> the same shape; the width may be any prefix of the built one."""
        y = self.norm(x) if normalise else x
        return x + self.body(y, x.shape[1], (inner or self.inner) * self.expansion)


class Pointwise(Operator):
    """Two 1x1 convolutions."""

    @staticmethod
    def convolutions(width: int, inner: int) -> dict[str, Conv]:
        return {"first": Conv(width, inner), "last": Conv(inner, width)}

    def body(self, x: Tensor, width: int, inner: int) -> Tensor:
        return self.last(self.activation(self.first(x, inner)), width)


class Residual(Operator):
    """Two 3x3 convolutions, without normalisation (EDSR, arXiv 1707.02921)."""

    @staticmethod
    def convolutions(width: int, inner: int) -> dict[str, Conv]:
        return {"first": Conv(width, inner, 3), "last": Conv(inner, width, 3)}

    def body(self, x: Tensor, width: int, inner: int) -> Tensor:
        return self.last(self.activation(self.first(x, inner)), width)


class Separable(Operator):
    """Two depthwise separable convolutions (MobileNet, arXiv 1704.04861)."""

    @staticmethod
    def convolutions(width: int, inner: int) -> dict[str, Conv]:
        return {
            "near": Conv(width, width, 3, depthwise=True),
            "first": Conv(width, inner),
            "far": Conv(inner, inner, 3, depthwise=True),
            "last": Conv(inner, width),
        }

    def body(self, x: Tensor, width: int, inner: int) -> Tensor:
        y = self.activation(self.first(self.near(x, width), inner))
        return self.last(self.far(y, inner), width)


class Inverted(Operator):
    """Expand, 5x5 depthwise, project (MobileNetV2's bottleneck, arXiv 1801.04381)."""

    expansion = 2

    @staticmethod
    def convolutions(width: int, inner: int) -> dict[str, Conv]:
        return {
            "first": Conv(width, inner),
            "spatial": Conv(inner, inner, 5, depthwise=True),
            "last": Conv(inner, width),
        }

    def body(self, x: Tensor, width: int, inner: int) -> Tensor:
        y = self.activation(self.first(x, inner))
        return self.last(self.activation(self.spatial(y, inner)), width)


class LargeKernel(Operator):
    """Attention from a decomposed 17x17 kernel (VAN, arXiv 2202.09741; VapSR, arXiv 2210.05960)."""

    @staticmethod
    def convolutions(width: int, inner: int) -> dict[str, Conv]:
        return {
            "first": Conv(width, inner),
            "mix": Conv(inner, inner),
            "near": Conv(inner, inner, 5, depthwise=True),
            "far": Conv(inner, inner, 5, depthwise=True, dilation=3),
            "last": Conv(inner, width),
        }

    def body(self, x: Tensor, width: int, inner: int) -> Tensor:
        y = self.activation(self.first(x, inner))
        attention = self.far(self.near(self.mix(y, inner), inner), inner)
        return self.last(y * attention, width)


def squeezed(width: int) -> int:
    """Channels between the two layers of channel attention."""
    return max(4, width // 4)


class ChannelAttention(Operator):
    """Two 3x3 convolutions, weighted channel by channel by the image's mean (RCAN, arXiv 1807.02758)."""

    @staticmethod
    def convolutions(width: int, inner: int) -> dict[str, Conv]:
        return {
            "first": Conv(width, inner, 3),
            "last": Conv(inner, width, 3),
            "squeeze": Conv(width, squeezed(width), shrink=0),
            "excite": Conv(squeezed(width), width, shrink=0),
        }

    def body(self, x: Tensor, width: int, inner: int) -> Tensor:
        y = self.last(self.activation(self.first(x, inner)), width)
        attention = self.squeeze(self.mean(y), squeezed(width))
        return y * torch.sigmoid(self.excite(self.activation(attention), width))


class Distillation(Operator):
    """Blueprint separable convolutions whose stages are distilled and summed (BSRN, arXiv 2205.05996).

    BSRN concatenates the distilled features before a 1x1 convolution; the sum is sliceable.
    """

    @staticmethod
    def convolutions(width: int, inner: int) -> dict[str, Conv]:
        return {
            "point1": Conv(width, width),
            "depth1": Conv(width, width, 3, depthwise=True),
            "point2": Conv(width, width),
            "depth2": Conv(width, width, 3, depthwise=True),
            "distil0": Conv(width, inner),
            "distil1": Conv(width, inner),
            "distil2": Conv(width, inner),
            "last": Conv(inner, width),
        }

    def body(self, x: Tensor, width: int, inner: int) -> Tensor:
        y = self.activation(self.depth1(self.point1(x, width), width) + x)
        z = self.activation(self.depth2(self.point2(y, width), width) + y)
        distilled = self.distil0(x, inner) + self.distil1(y, inner) + self.distil2(z, inner)
        return self.last(self.activation(distilled), width)


def whole_windows(x: Tensor, side: int) -> Tensor:
    """x with its last row and column repeated until it fills whole windows of that side; maxima do not change.

    Some runtimes refuse a window that is larger than the map, as `ceil_mode` would need.
    """
    pad = (0, -x.shape[3] % side, 0, -x.shape[2] % side)
    return F.pad(x, pad, mode="replicate") if torch.compiler.is_exporting() or any(pad) else x


class Modulation(Operator):
    """Features of four scales modulate their input (SAFMN, arXiv 2302.13800).

    Channel c works at scale c % 4, so that a prefix of the channels holds all four scales.
    """

    @staticmethod
    def convolutions(width: int, inner: int) -> dict[str, Conv]:
        scales = {f"scale{k}": Conv(inner // 4, inner // 4, 3, depthwise=True, shrink=2**k) for k in range(4)}
        return {"first": Conv(width, inner), **scales, "mix": Conv(inner, inner), "last": Conv(inner, width)}

    def body(self, x: Tensor, width: int, inner: int) -> Tensor:
        y = self.activation(self.first(x, inner))
        features = []
        for k, conv in enumerate((self.scale0, self.scale1, self.scale2, self.scale3)):
            part = y[:, k::4]
            if k:
                part = F.max_pool2d(whole_windows(part, 2**k), 2**k)
            part = conv(part, inner // 4)
            if k:  # each position back over the very window that it was pooled from
                part = F.interpolate(part, scale_factor=2.0**k, mode="nearest")[..., : y.shape[2], : y.shape[3]]
            features.append(part)
        mixed = self.mix(torch.stack(features, dim=2).flatten(1, 2), inner)
        return self.last(self.activation(mixed) * y, width)


class FreeAttention(Residual):
    """Two 3x3 convolutions whose output weighs itself, without parameters (SPAN, arXiv 2311.12770, eq. 2 and 3).

    The attention is an odd function: it is 0 if the convolutions give 0, so that a fresh operator is the identity.
    """

    def body(self, x: Tensor, width: int, inner: int) -> Tensor:
        y = super().body(x, width, inner)
        return (y + x) * (torch.sigmoid(y) - 0.5)


class PartialKernel(Operator):
    """A 3x3 convolution, a 9x9 one on a quarter of its channels, and a 1x1 (PLKSR, arXiv 2404.11848).

    The large kernel takes every fourth channel, so that a channel has the same role at every width. The paper's 17x17
    would cost more than everything else at the widths of small networks.
    """

    @staticmethod
    def convolutions(width: int, inner: int) -> dict[str, Conv]:
        return {"first": Conv(width, inner, 3), "large": Conv(inner // 4, inner // 4, 9), "last": Conv(inner, width)}

    def body(self, x: Tensor, width: int, inner: int) -> Tensor:
        y = self.activation(self.first(x, inner))
        large = self.large(y[:, 0::4], inner // 4)
        mixed = torch.stack([large, y[:, 1::4], y[:, 2::4], y[:, 3::4]], dim=2).flatten(1, 2)
        return self.last(mixed, width)


OPERATORS: dict[str, type[Operator]] = {
    "pointwise": Pointwise,
    "residual": Residual,
    "separable": Separable,
    "inverted": Inverted,
    "large_kernel": LargeKernel,
    "channel_attention": ChannelAttention,
    "distillation": Distillation,
    "modulation": Modulation,
    "free_attention": FreeAttention,
    "partial_kernel": PartialKernel,
}
