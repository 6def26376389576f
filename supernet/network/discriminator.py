"""The PatchGAN discriminator of pix2pix (arXiv 1611.07004, sec. 3.2.2): is each patch of an image real?"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evo_c2f.errors import InputError
from supernet.network.generator import refuse_other_channels

MOST_LAYERS = 3  # pix2pix's 70x70 patches
SHARE = 0.55  # of the image's side that a patch may span: 70 of 256, 70 of 128, 34 of 64
KERNEL = 4


def receptive_field(n_layers: int) -> int:
    """Side in pixels of the patch that one output judges: 16, 34, 70, 142 for 1, 2, 3, 4 layers of stride 2."""
    field = 1
    for stride in (1, 1, *[2] * n_layers):
        field = (field - 1) * stride + KERNEL
    return field


def fitting_layers(size: int) -> int:
    """The number of layers of stride 2 for images of this side, unless the recipe sets another."""
    return max([n for n in range(1, MOST_LAYERS + 1) if receptive_field(n) <= SHARE * size], default=1)


def outputs_along(size: int, n_layers: int) -> int:
    """Number of judged patches along a side of `size` pixels."""
    return int(size // 2**n_layers - 2)


class PatchGan(nn.Module):
    """Scores of overlapping patches, and the features behind them. Instance norm, since it keeps no statistics."""

    def __init__(
        self,
        size: int,
        width: int,
        n_layers: int | None,
        condition_channels: int,
        input_channels: int = 3,
        output_channels: int = 3,
    ):
        """size: side of the images; n_layers: of stride 2, None chooses by the size.

        condition_channels: of the input image, concatenated with the judged one; 0 judges that one alone.
        input_channels, output_channels: of the input image, and of the judged one.
        InputError if the discriminator is too deep for the size.
        """
        super().__init__()
        n_layers = fitting_layers(size) if n_layers is None else n_layers
        if outputs_along(size, n_layers) < 2:
            most = max([n for n in range(1, n_layers) if outputs_along(size, n) >= 2], default=0)
            raise InputError(
                f"a discriminator of {n_layers} layers is too deep for images of {size}x{size}; "
                + (f"set training.discriminator.layers to at most {most}" if most else "use larger images")
            )
        widths = [output_channels + condition_channels, *(width * min(2**n, 8) for n in range(n_layers + 1))]
        strides = [2] * n_layers + [1]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(a, b, KERNEL, stride, padding=1)
            for a, b, stride in zip(widths, widths[1:], strides, strict=False)
        )
        self.last = nn.Conv2d(widths[-1], 1, KERNEL, padding=1)
        self.channels, self.conditioned = (input_channels, output_channels), condition_channels > 0

    def forward(self, source: Tensor, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """source (b, input channels, h, w), image (b, output channels, h, w) -> (scores (b, 1, h', w'), features of
        each layer).

        InputError if one of them has other channels.
        """
        for images, channels in zip((source, image), self.channels, strict=True):
            refuse_other_channels(images, channels)
        x = torch.cat([source, image], dim=1) - 0.5 if self.conditioned else image - 0.5
        features = []
        for index, convolution in enumerate(self.convolutions):
            x = convolution(x)
            x = F.leaky_relu(F.instance_norm(x) if index else x, 0.2)
            features.append(x)
        return self.last(x).float(), features
