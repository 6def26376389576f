from pathlib import Path

import pytest
import torch
from supernet_fixtures import random_images
from torch.utils.flop_counter import FlopCounterMode

from supernet import checkpoint
from supernet.jobs.comparison import forget_another
from supernet.network.cost import network_costs
from supernet.network.teacher import ResNetGenerator


def test_with_64_channels_it_has_the_published_parameters():
    assert sum(p.numel() for p in ResNetGenerator().parameters()) == 11_378_179  # '11.4 M'


def test_the_published_macs_count_transposed_convolutions_at_every_output_position():
    """49.6 G are computed at 256x256; with each transposed convolution counted densely it is the published 56.8 G."""
    with FlopCounterMode(display=False) as counter, torch.device("meta"):
        ResNetGenerator()(torch.zeros(1, 3, 256, 256))
    macs = counter.get_total_flops() / 2
    transposed = [9 * inputs * (inputs // 2) * (256 // shrink) ** 2 for inputs, shrink in ((256, 4), (128, 2))]
    assert macs / 1e9 == pytest.approx(49.55, abs=0.01)
    assert (macs + 3 * sum(transposed)) / 1e9 == pytest.approx(56.8, abs=0.05)


def test_its_costs_are_taken_as_those_of_any_network():
    teacher = ResNetGenerator(8)
    assert network_costs(teacher, (64, 64)) == {
        "params": sum(p.numel() for p in teacher.parameters()),
        "macs": pytest.approx(network_costs(teacher, (128, 128))["macs"] / 4),
    }


@pytest.mark.parametrize("size", [(64, 64), (32, 48)])
def test_it_keeps_the_size_and_stays_in_range(size):
    output = ResNetGenerator(4, 2)(random_images(2, 3, *size))
    assert output.shape == (2, 3, *size)
    assert output.min() >= 0 and output.max() <= 1


@pytest.mark.parametrize(("images", "stays"), [(100, True), (50, False)])
def test_the_state_of_another_training_does_not_pass_for_this_one(tmp_path: Path, images: int, stays: bool):
    state = checkpoint.state_of(tmp_path / "teacher.safetensors")
    notes = {"network": "resnet", "images": images, "learning_rate": 0.1, "curve": [0.5], "seconds": 3.0}
    checkpoint.save(state, {"weight": torch.zeros(1)}, {"notes": notes})
    forget_another(state, {"network": "resnet", "images": 100, "learning_rate": 0.1, "curve": []})
    assert state.is_file() == stays
