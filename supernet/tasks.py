"""What a task is: how its generators meet the image, how they learn, and how they are scored."""

from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from torch import Tensor

from evo_c2f.errors import InputError
from supernet.generator import Frame
from supernet.images import resize_bicubic
from supernet.metrics import psnr_y, ssim_y

Metric = Callable[[Tensor, Tensor], Tensor]


class SuperResolution:
    """From a low-resolution photograph to one `scale` times as large, by L1."""

    name = "super-resolution"

    def __init__(self, scale: int):
        """scale: 2, 4 or 8."""
        if scale not in (2, 4, 8):
            raise InputError(f"task.scale is {scale}; it must be 2, 4 or 8")
        self.scale = scale
        self.frame = Frame(input_level=scale.bit_length() - 1, residual=True)
        # Each gives one number an image; the customary border of `scale` pixels is not judged.
        self.metrics: dict[str, Metric] = {
            "psnr_y": partial(psnr_y, border=scale),
            "ssim_y": partial(ssim_y, border=scale),
        }

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return F.l1_loss(output, target)

    def baseline(self, low: Tensor) -> Tensor:
        """What is had for nothing: the bicubic enlargement."""
        return resize_bicubic(low, self.scale)

    def protocol(self) -> str:
        """How the metrics are taken, as it enters the hash of a scores' context."""
        return f"{self.name} x{self.scale}, Y of BT.601, 8-bit, border {self.scale}"
