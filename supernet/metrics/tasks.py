"""Tasks: each fixes the input and output of its generators, and their metrics."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from torch import Tensor

from evo_c2f.errors import InputError
from supernet.data.images import resize_bicubic
from supernet.metrics.similarity import psnr_all, psnr_rgb, psnr_y, ssim_all, ssim_rgb, ssim_y
from supernet.network.generator import Frame, Subnet
from supernet.network.plain import PlainUpscaler
from supernet.network.teacher import ResNetGenerator

Metric = Callable[[Tensor, Tensor], Tensor]  # (output, target), each (b, c, h, w) -> (b,)


class Task(Protocol):
    """`metrics`: each returns one number an image, without a network; `baseline_name`: the baseline in words.

    `border`: `metrics` ignore so many pixels on each side.
    """

    name: str
    frame: Frame
    border: int
    metrics: dict[str, Metric]
    baseline_name: str

    def baseline(self, source: Tensor) -> Tensor: ...
    def protocol(self) -> str: ...


OTHERS: dict[str, Metric] = {}  # that plugins add
INPUT = "the input itself"  # as a baseline


@dataclass(frozen=True)
class Judged:
    """A plugin's metric; it gets outputs clamped to the displayable range, without the border."""

    metric: Metric
    border: int

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        rows, columns = (slice(self.border, side - self.border) for side in target.shape[-2:])
        value = self.metric(output.clamp(0, 1)[..., rows, columns], target[..., rows, columns])
        # What can't be shown is no image: clamping would hide that the network failed.
        return value.where(output.flatten(1).isfinite().all(dim=1), float("nan"))


# Metrics of images of 3 channels, and of all others.
OF_RGB = {"psnr_y": psnr_y, "ssim_y": ssim_y, "psnr_rgb": psnr_rgb, "ssim_rgb": ssim_rgb}
OF_OTHERS = {"psnr": psnr_all, "ssim": ssim_all}


def metrics_with(border: int, channels: int = 3) -> dict[str, Metric]:
    """The metrics of both tasks for images of so many channels, ignoring `border` pixels on each side."""
    known = OF_RGB if channels == 3 else OF_OTHERS
    own: dict[str, Metric] = {name: partial(metric, border=border) for name, metric in known.items()}
    return own | {name: Judged(metric, border) for name, metric in OTHERS.items()}


SCALES = (1, 2, 3, 4, 8)


class SuperResolution:
    """From a low-resolution photograph to one that is `scale` times as large; at scale 1, from a degraded one."""

    def __init__(self, scale: int, channels: int = 3):
        """scale: one of SCALES; channels: of the input and of the output."""
        if scale not in SCALES:
            raise InputError(f"task.scale is {scale}; it must be 1, 2, 3, 4 or 8")
        self.scale = scale
        self.name, self.baseline_name = ("super-resolution", "bicubic") if scale > 1 else ("restoration", INPUT)
        # Without normalisation GELU sees small numbers, where it is nearly linear (docs/decisions/0008).
        level, step = scale.bit_length() - 1, 3 if scale == 3 else 2
        self.frame = Frame(
            input_level=level,
            residual=True,
            activation="relu",
            first_step=step,
            input_channels=channels,
            output_channels=channels,
        )
        self.border = scale if scale > 1 else 0  # as is customary
        self.metrics = metrics_with(self.border, channels)

    def baseline(self, source: Tensor) -> Tensor:
        """The output without a network: the bicubic enlargement, or the input at scale 1."""
        return resize_bicubic(source, self.scale) if self.scale > 1 else source

    def protocol(self) -> str:
        """How the metrics are computed, as it enters the hash of a scores' context."""
        how = "Y of BT.601, 8-bit" if self.frame.output_channels == 3 else f"{self.frame.output_channels} channels"
        return f"{self.name} x{self.scale}, {how}, border {self.border}"


class Translation:
    """From one image to its partner of the same size, such as edges to shoes (pix2pix, arXiv 1611.07004)."""

    name = "translation"

    def __init__(self, input_channels: int = 3, output_channels: int = 3, bounded: bool = False) -> None:
        self.frame = Frame(
            input_level=0,
            residual=False,
            normalise=True,
            input_channels=input_channels,
            output_channels=output_channels,
            bounded=bounded,
        )
        self.baseline_name = INPUT if input_channels == output_channels else "the mean of the input's channels"
        self.border = 0
        self.metrics = metrics_with(self.border, output_channels)

    def baseline(self, source: Tensor) -> Tensor:
        """The output without a network: the input, or its mean where the output has other channels."""
        if source.shape[1] == self.frame.output_channels:
            return source
        return source.mean(dim=1, keepdim=True).expand(-1, self.frame.output_channels, -1, -1)

    def protocol(self) -> str:
        """How the metrics are computed, as it enters the hash of a scores' context."""
        channels = self.frame.output_channels
        return f"{self.name}, 8-bit" if channels == 3 else f"{self.name}, {channels} channels"


def is_of_rgb(task: Task) -> bool:
    """Whether inputs and outputs have three channels."""
    return (task.frame.input_channels, task.frame.output_channels) == (3, 3)


def task_of(network: Subnet | ResNetGenerator | PlainUpscaler) -> Task:
    """The network's task: one that adds to its enlarged input is for super-resolution."""
    if isinstance(network, PlainUpscaler) or (isinstance(network, Subnet) and network.frame.residual):
        return SuperResolution(network.scale, network.input_channels)
    if isinstance(network, ResNetGenerator):
        return Translation()
    return Translation(network.frame.input_channels, network.frame.output_channels, network.frame.bounded)
