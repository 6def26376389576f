"""Checkpoints in the key layout of pytorch-CycleGAN-and-pix2pix, against networks of plain layers nested as there."""

import pytest
import torch
from supernet_fixtures import random_images, randomise
from torch import Tensor, nn

from evo_c2f.errors import InputError
from supernet.teachers import pix2pix


def norm(width: int, batch: bool) -> nn.Module:
    """In training mode, batch norm of one image uses the image's own statistics."""
    return nn.BatchNorm2d(width) if batch else nn.InstanceNorm2d(width, track_running_stats=True)


class Block(nn.Module):
    def __init__(self, width: int, batch: bool, dropout: bool):
        super().__init__()
        middle = [nn.ReLU(True)] + [nn.Dropout(0.0)] * dropout
        half = [[nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3, bias=not batch), norm(width, batch)] for _ in (0, 1)]
        self.conv_block = nn.Sequential(*half[0], *middle, *half[1])

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


class Published(nn.Module):
    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


def resnet(blocks: int, batch: bool, dropout: bool = False, channels: int = 3) -> nn.Module:
    bias = not batch
    first = [nn.ReflectionPad2d(3), nn.Conv2d(channels, 4, 7, bias=bias), norm(4, batch), nn.ReLU(True)]
    down = [
        layer for n in (4, 8) for layer in (nn.Conv2d(n, 2 * n, 3, 2, 1, bias=bias), norm(2 * n, batch), nn.ReLU(True))
    ]
    up = [
        layer
        for n in (16, 8)
        for layer in (nn.ConvTranspose2d(n, n // 2, 3, 2, 1, 1, bias=bias), norm(n // 2, batch), nn.ReLU(True))
    ]
    last = [nn.ReflectionPad2d(3), nn.Conv2d(4, 3, 7), nn.Tanh()]
    middle = [Block(16, batch, dropout) for _ in range(blocks)]
    return Published(nn.Sequential(*first, *down, *middle, *up, *last))


class Level(nn.Module):
    """A level of the U-Net around a smaller one; the activations change their inputs in place, as published."""

    def __init__(self, outer: int, inner: int, smaller: nn.Module | None, batch: bool, outermost: bool = False):
        super().__init__()
        self.outermost, bias = outermost, not batch
        down = nn.Conv2d(3 if outermost else outer, inner, 4, 2, 1, bias=bias)
        up = nn.ConvTranspose2d(inner if smaller is None else 2 * inner, outer, 4, 2, 1, bias=outermost or bias)
        if outermost:
            layers = [down, smaller, nn.ReLU(True), up, nn.Tanh()]
        elif smaller is None:
            layers = [nn.LeakyReLU(0.2, True), down, nn.ReLU(True), up, norm(outer, batch)]
        else:
            layers = [nn.LeakyReLU(0.2, True), down, norm(inner, batch), smaller, nn.ReLU(True), up, norm(outer, batch)]
            layers += [nn.Dropout(0.0)]
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x) if self.outermost else torch.cat([x, self.model(x)], 1)


def unet(downs: int, batch: bool) -> nn.Module:
    level = Level(16, 16, None, batch)
    for _ in range(downs - 5):
        level = Level(16, 16, level, batch)
    for outer, inner in ((8, 16), (4, 8), (2, 4)):
        level = Level(outer, inner, level, batch)
    return Published(Level(3, 2, level, batch, outermost=True))


NETWORKS = {
    "ResNet of 9 blocks, instance norm": (lambda: resnet(9, False), (1, 3, 32, 32)),
    "ResNet of 6 blocks, instance norm": (lambda: resnet(6, False, dropout=True), (1, 3, 32, 40)),
    "ResNet of 6 blocks, batch norm": (lambda: resnet(6, True), (1, 3, 32, 32)),
    "U-Net 128, batch norm": (lambda: unet(7, True), (1, 3, 128, 128)),
    "U-Net 256, instance norm": (lambda: unet(8, False), (1, 3, 256, 256)),
}


@pytest.mark.parametrize("words", NETWORKS)
def test_a_checkpoint_is_rebuilt_from_its_keys(words):
    make, shape = NETWORKS[words]
    published = randomise(make(), 0)
    x = random_images(*shape) * 2 - 1
    expected = published(x)
    found = pix2pix.read(published.state_dict(), "latest_net_G.pth")
    assert found.words == f"pix2pix's {words}" and found.range == "-1..1"
    assert pix2pix.is_known(published.state_dict())
    assert (found.run(x) - expected).abs().max() < 1e-5 < expected.std()


def test_sides_that_are_no_multiple_of_four_are_padded():
    weights = randomise(resnet(6, False), 0).state_dict()
    assert pix2pix.read(weights, "here").run(random_images(1, 3, 30, 33)).shape == (1, 3, 30, 33)


def test_a_unet_refuses_sides_that_it_cannot_halve():
    network = pix2pix.read(unet(7, False).state_dict(), "here").run
    with pytest.raises(
        InputError, match="U-Net 128, instance norm takes images whose sides are multiples of 128, not 64x32"
    ):
        network(random_images(1, 3, 32, 64))


def test_other_layers_and_channels_are_refused():
    with pytest.raises(InputError, match="here takes images of 1 channels; a teacher's have 3"):
        pix2pix.read(resnet(6, False, channels=1).state_dict(), "here")
    weights = dict(resnet(6, False).state_dict())
    del weights["model.4.weight"]
    with pytest.raises(InputError, match="here has layers that are not those of pytorch-CycleGAN-and-pix2pix"):
        pix2pix.read(weights, "here")
    weights = {**unet(7, False).state_dict(), "extra.weight": torch.zeros(1)}
    with pytest.raises(InputError, match="1 tensors belong to no layer"):
        pix2pix.read(weights, "here")
