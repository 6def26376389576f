"""Generators of pytorch-CycleGAN-and-pix2pix, rebuilt from the keys of their checkpoints (latest_net_G.pth).

As in that repository's own test, each image is normalised by its own statistics: this is what batch norm does there
with one image a batch. Dropout is off, so that an image has one output.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evo_c2f.errors import InputError
from supernet.network.generator import pad_to_multiple
from supernet.teachers.found import Found

Weights = Mapping[str, Tensor]
RUNNING = ("running_mean", "running_var", "num_batches_tracked")  # statistics of the training
RESNET, UNET = "model.10.conv_block.1.weight", "model.model.1.model.1.weight"


def is_known(weights: Weights) -> bool:
    """Whether these are the keys of one of its generators."""
    return RESNET in weights or UNET in weights


def read(weights: Weights, origin: str) -> Found:
    """InputError if the layers are not those of its ResNet or U-Net, or if its images are not RGB."""
    kept = {key: tensor.float() for key, tensor in weights.items() if not key.endswith(RUNNING)}
    try:
        network: ResNet | UNet = ResNet(kept) if RESNET in kept else UNet(kept)
    except (KeyError, RuntimeError, ValueError, IndexError) as error:
        first = str(error).strip().splitlines()[0]
        raise InputError(f"{origin} has layers that are not those of pytorch-CycleGAN-and-pix2pix ({first})") from None
    for side, channels in (("takes", network.inputs), ("gives", network.outputs)):
        if channels != 3:
            raise InputError(f"{origin} {side} images of {channels} channels; a teacher's have 3")
    return Found(network.eval().requires_grad_(False), network.words, "-1..1")


def norm(channels: int, batch: bool) -> nn.InstanceNorm2d:
    """Batch norm has a scale and a shift; instance norm has none."""
    return nn.InstanceNorm2d(channels, affine=batch)


def kind_of_norm(batch: bool) -> str:
    return "batch norm" if batch else "instance norm"


class ResNet(nn.Module):
    """7x7, two layers of stride 2, blocks, two transposed layers, 7x7; any number of blocks."""

    def __init__(self, weights: Weights):
        """KeyError or RuntimeError if the weights are not those of such a network."""
        super().__init__()
        width, self.inputs = weights["model.1.weight"].shape[:2]
        batch = "model.2.weight" in weights
        dropout = "model.10.conv_block.5.weight" not in weights  # the second convolution then comes one layer later
        n_blocks = sum(key.endswith("conv_block.1.weight") for key in weights)
        last = f"model.{10 + n_blocks + 7}.weight"
        self.outputs = weights[last].shape[0]
        self.words = f"pix2pix's ResNet of {n_blocks} blocks, {kind_of_norm(batch)}"
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(self.inputs, width, 7, bias=not batch)]
        layers += [norm(width, batch), nn.ReLU()]
        for n in (width, 2 * width):
            layers += [nn.Conv2d(n, 2 * n, 3, 2, 1, bias=not batch), norm(2 * n, batch), nn.ReLU()]
        layers += [ResNetBlock(4 * width, batch, dropout) for _ in range(n_blocks)]
        for n in (4 * width, 2 * width):
            layers += [nn.ConvTranspose2d(n, n // 2, 3, 2, 1, 1, bias=not batch), norm(n // 2, batch), nn.ReLU()]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, self.outputs, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)
        self.load_state_dict(dict(weights))

    def forward(self, x: Tensor) -> Tensor:
        """(b, 3, h, w) in -1..1 -> the same shape."""
        output: Tensor = self.model(pad_to_multiple(x, 4, least=8))
        return output[..., : x.shape[2], : x.shape[3]]


class ResNetBlock(nn.Module):
    """x + two normalised 3x3 convolutions. In a training with dropout it stood between them."""

    def __init__(self, width: int, batch: bool, dropout: bool):
        super().__init__()
        first, last = (
            [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3, bias=not batch), norm(width, batch)] for _ in range(2)
        )
        between = [nn.ReLU(), nn.Identity()] if dropout else [nn.ReLU()]
        self.conv_block = nn.Sequential(*first, *between, *last)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv_block(x)
        return x + y


class UNet(nn.Module):
    """4x4 convolutions of stride 2 down to the smallest level, and back, each with what was on its level before."""

    def __init__(self, weights: Weights):
        """KeyError or RuntimeError if the weights are not those of such a network."""
        super().__init__()
        prefixes = ["model.model."]
        while f"{prefixes[-1]}{1 if len(prefixes) == 1 else 3}.model.1.weight" in weights:
            prefixes.append(f"{prefixes[-1]}{1 if len(prefixes) == 1 else 3}.model.")
        depth = len(prefixes)
        batch = f"{prefixes[1]}2.weight" in weights
        self.words = f"pix2pix's U-Net {2**depth}, {kind_of_norm(batch)}"
        self.down, self.down_norms, self.up, self.up_norms = (nn.ModuleList() for _ in range(4))
        renamed = dict[str, Tensor]()
        for level, prefix in enumerate(prefixes):
            outermost, innermost = level == 0, level == depth - 1
            down, down_norm = (0, None) if outermost else (1, None if innermost else 2)
            up, up_norm = (3, None if outermost else 4) if outermost or innermost else (5, 6)
            inner, outer = weights[f"{prefix}{down}.weight"].shape[:2]
            wide, narrow = weights[f"{prefix}{up}.weight"].shape[:2]
            self.down.append(nn.Conv2d(outer, inner, 4, 2, 1, bias=not batch))
            self.up.append(nn.ConvTranspose2d(wide, narrow, 4, 2, 1, bias=outermost or not batch))
            self.down_norms.append(nn.Identity() if down_norm is None else norm(inner, batch))
            self.up_norms.append(nn.Identity() if up_norm is None else norm(narrow, batch))
            places = {"down": down, "down_norms": down_norm, "up": up, "up_norms": up_norm}
            for name, place in places.items():
                for part in ("weight", "bias"):
                    if f"{prefix}{place}.{part}" in weights:
                        renamed[f"{name}.{level}.{part}"] = weights[f"{prefix}{place}.{part}"]
        if len(renamed) != len(weights):
            raise ValueError(f"{len(weights) - len(renamed)} tensors belong to no layer")
        self.load_state_dict(renamed)
        self.inputs, self.outputs = weights["model.model.0.weight"].shape[1], weights["model.model.3.weight"].shape[1]

    def forward(self, x: Tensor) -> Tensor:
        """(b, 3, h, w) in -1..1 -> the same shape. InputError if the smallest level would be no whole pixels."""
        unit, (height, width) = 2 ** len(self.down), x.shape[2:]
        if height % unit or width % unit:
            raise InputError(f"{self.words} takes images whose sides are multiples of {unit}, not {width}x{height}")
        held = [self.down[0](x)]
        for down, normalise in zip(self.down[1:], self.down_norms[1:], strict=True):
            held.append(normalise(down(F.leaky_relu(held[-1], 0.2))))
        y = self.up_norms[-1](self.up[-1](F.relu(held.pop())))
        for level in reversed(range(len(held))):
            y = self.up_norms[level](self.up[level](F.relu(torch.cat([held[level], y], 1))))
        output: Tensor = y.tanh()
        return output
