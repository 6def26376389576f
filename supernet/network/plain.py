"""The super-resolution baseline: a plain network as one would write it by hand.

A 3x3 stem, residual blocks of two 3x3 convolutions (EDSR, arXiv 1707.02921, without its scaling), a 3x3 convolution, a
long skip, a pixel-shuffle head, and a residual on the bilinear input.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from supernet.network.generator import enlarged, refuse_other_channels

# How it is trained, as one would: by the same loop, on L1 alone, whatever the other networks are trained by.
BATCH, PATCH = 16, 32  # low-resolution pixels
SETTINGS = {"optimizer": "adam", "learning_rate": 0.001, "final_rate": 0.001, "ema": 0.999}  # a cosine to 1e-6


class PlainBlock(nn.Module):
    """x + two 3x3 convolutions."""

    def __init__(self, width: int):
        super().__init__()
        self.first, self.last = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(F.relu(self.first(x)))
        return x + y


class PlainUpscaler(nn.Module):
    """48 channels and 8 blocks at x4: 375,456 parameters, 1.502 MB."""

    def __init__(self, width: int = 48, blocks: int = 8, scale: int = 4, channels: int = 3):
        super().__init__()
        self.settings = {"width": width, "blocks": blocks, "scale": scale, "channels": channels}
        self.input_channels = channels
        self.stem = nn.Conv2d(channels, width, 3, padding=1)
        self.blocks = nn.Sequential(*(PlainBlock(width) for _ in range(blocks)))
        self.merge = nn.Conv2d(width, width, 3, padding=1)
        self.head = nn.Conv2d(width, channels * scale**2, 3, padding=1)
        # For tiles: each 3x3 convolution looks one pixel further.
        self.scale, self.block, self.grain, self.reach = scale, 1, 1, 2 * blocks + 4

    def forward(self, x: Tensor) -> Tensor:
        """x (b, c, h, w) in 0..1 -> (b, c, scale * h, scale * w). InputError if x has another number of channels."""
        refuse_other_channels(x, self.input_channels)
        features = self.stem(x - 0.5)
        features = features + self.merge(self.blocks(features))
        return F.pixel_shuffle(self.head(features), self.scale) + enlarged(x, self.scale)
