"""Tasks: each fixes the input and output of its generators, and their metrics."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from torch import Tensor

from evo_c2f.errors import InputError
from supernet.data.images import resize_bicubic
from supernet.metrics.similarity import psnr_rgb, psnr_y, ssim_rgb, ssim_y
from supernet.network.generator import Frame

Metric = Callable[[Tensor, Tensor], Tensor]  # (output, target), each (b, 3, h, w) -> (b,)


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


def metrics_with(border: int) -> dict[str, Metric]:
    """The metrics of both tasks, ignoring `border` pixels on each side."""
    known = {"psnr_y": psnr_y, "ssim_y": ssim_y, "psnr_rgb": psnr_rgb, "ssim_rgb": ssim_rgb}
    own: dict[str, Metric] = {name: partial(metric, border=border) for name, metric in known.items()}
    return own | {name: Judged(metric, border) for name, metric in OTHERS.items()}


class SuperResolution:
    """From a low-resolution photograph to one that is `scale` times as large."""

    name = "super-resolution"
    baseline_name = "bicubic"

    def __init__(self, scale: int):
        """scale: 2, 4 or 8."""
        if scale not in (2, 4, 8):
            raise InputError(f"task.scale is {scale}; it must be 2, 4 or 8")
        self.scale = scale
        # Without normalisation GELU sees small numbers, where it is nearly linear (docs/decisions/0008).
        self.frame = Frame(input_level=scale.bit_length() - 1, residual=True, activation="relu")
        self.border = scale  # as is customary
        self.metrics = metrics_with(self.border)

    def baseline(self, source: Tensor) -> Tensor:
        """The output without a network: the bicubic enlargement."""
        return resize_bicubic(source, self.scale)

    def protocol(self) -> str:
        """How the metrics are computed, as it enters the hash of a scores' context."""
        return f"{self.name} x{self.scale}, Y of BT.601, 8-bit, border {self.scale}"


class Translation:
    """From one image to its partner of the same size, such as edges to shoes (pix2pix, arXiv 1611.07004)."""

    name = "translation"
    baseline_name = "the input itself"

    def __init__(self) -> None:
        self.frame = Frame(input_level=0, residual=False, normalise=True)
        self.border = 0
        self.metrics = metrics_with(self.border)

    def baseline(self, source: Tensor) -> Tensor:
        """The output without a network: the input."""
        return source

    def protocol(self) -> str:
        """How the metrics are computed, as it enters the hash of a scores' context."""
        return f"{self.name}, 8-bit"


def task_of(scale: int) -> Task:
    """The task of a network whose output is so many times as large as its input."""
    return SuperResolution(scale) if scale > 1 else Translation()
