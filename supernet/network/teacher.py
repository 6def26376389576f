"""The teacher for comparison and distillation: pix2pix's ResNet (arXiv 1703.10593, appendix 7.2)."""

from copy import deepcopy
from importlib import import_module
from types import ModuleType
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evo_c2f.errors import InputError
from supernet.network.generator import pad_to_multiple, refuse_other_channels
from supernet.network.pooling import InstanceNorm


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    mode: Literal["reflect", "zeros"] = "reflect" if stride == 1 else "zeros"
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, padding_mode=mode)


def norms(n: int) -> nn.ModuleList:
    return nn.ModuleList(InstanceNorm() for _ in range(n))


class Block(nn.Module):
    """x + two normalised 3x3 convolutions."""

    def __init__(self, width: int):
        super().__init__()
        self.first, self.last = convolution(width, width, 3), convolution(width, width, 3)
        self.norms = norms(2)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norms[0](self.first(x)))
        z: Tensor = self.norms[1](self.last(y))
        return x + z


class ResNetGenerator(nn.Module):
    """64 base channels and 9 blocks: 11.38 M parameters and 49.6 G MACs at 256x256.

    The published 56.8 G count each transposed convolution at every output position, as if no input were one of the
    zeros between the pixels: 2 x 3.62 G that nobody computes.
    """

    def __init__(self, width: int = 64, blocks: int = 9):
        super().__init__()
        self.settings = {"width": width, "blocks": blocks}
        self.input_channels = 3
        self.first = convolution(3, width, 7)
        self.down = nn.ModuleList([convolution(width, 2 * width, 3, 2), convolution(2 * width, 4 * width, 3, 2)])
        self.blocks = nn.ModuleList(Block(4 * width) for _ in range(blocks))
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(w, w // 2, 3, 2, padding=1, output_padding=1) for w in (4 * width, 2 * width)
        )
        self.last = convolution(width, 3, 7)
        self.norms = norms(5)
        # For tiles. The reach: 7x7, two of stride 2, the blocks at a quarter of the resolution, two up, 7x7.
        self.scale, self.block, self.grain = 1, 4, 4
        self.reach = 3 + 1 + 2 + 4 * 2 * blocks + 4 + 2 + 3 + self.block

    def forward(self, x: Tensor) -> Tensor:
        """x (b, 3, h, w) in 0..1 -> the same shape. InputError if x is not a batch of RGB images."""
        refuse_other_channels(x, self.input_channels)
        height, width = x.shape[-2:]
        first, *others = self.norms
        padded = pad_to_multiple(x, self.block, least=2 * self.block)  # the blocks reflect: they need two positions
        x = F.relu(first(self.first(2 * padded - 1)))
        for layer, norm in zip(self.down, others[:2], strict=True):
            x = F.relu(norm(layer(x)))
        for block in self.blocks:
            x = block(x)
        for layer, norm in zip(self.up, others[2:], strict=True):
            x = F.relu(norm(layer(x)))
        output: Tensor = (self.last(x).tanh() + 1) / 2
        return output[..., :height, :width]


def pruned(teacher: ResNetGenerator, width: int) -> ResNetGenerator:
    """The teacher with at most `width` base channels: in each layer, those with the largest weights (L2) stay.

    Channels that skip connections add to each other go together, as by DepGraph (arXiv 2301.12900).
    """
    pruning, settings, smaller = torch_pruning(), teacher.settings, deepcopy(teacher).cpu().requires_grad_(True)
    width = min(width, settings["width"])
    pruning.BasePruner(
        smaller,
        torch.zeros(1, 3, 16, 16),
        pruning.importance.GroupMagnitudeImportance(p=2),
        pruning_ratio=1 - (width + 0.1) / settings["width"],  # 0.1: the channels that stay are rounded down
        ignored_layers=[smaller.last],
    ).step()
    narrow = ResNetGenerator(width, settings["blocks"])
    narrow.load_state_dict(smaller.state_dict())
    return narrow


def torch_pruning() -> ModuleType:
    """The package, which is an extra. InputError if it is not installed."""
    try:
        return import_module("torch_pruning")
    except ImportError:
        raise InputError("--prune needs torch-pruning; run 'pip install torch-pruning'") from None
