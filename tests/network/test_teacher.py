import sys
from pathlib import Path

import pytest
import torch
from supernet_fixtures import random_images, randomise
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from evo_c2f.errors import InputError
from supernet import checkpoint
from supernet.jobs.comparison import forget_another
from supernet.network.cost import network_costs
from supernet.network.teacher import ResNetGenerator, pruned


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


@torch.no_grad()
def without(layer: nn.Module, inputs: Tensor, outputs: Tensor) -> None:
    """Set the weights of a layer's channels to 0."""
    first, second = (inputs, outputs) if isinstance(layer, nn.ConvTranspose2d) else (outputs, inputs)
    layer.weight[first], layer.weight[:, second], layer.bias[outputs] = 0.0, 0.0, 0.0


def test_pruning_takes_the_channels_that_do_nothing():
    pytest.importorskip("torch_pruning")
    teacher, rng = randomise(ResNetGenerator(6, 2), 0).eval(), torch.Generator().manual_seed(1)

    def a_third(n: int) -> Tensor:
        return torch.randperm(n, generator=rng)[: n // 3]

    none, full, half, trunk = torch.tensor([], dtype=torch.int64), a_third(6), a_third(12), a_third(24)
    without(teacher.first, none, full)
    without(teacher.down[0], full, half)
    without(teacher.down[1], half, trunk)
    for block in teacher.blocks:
        inner = a_third(24)
        without(block.first, trunk, inner)
        without(block.last, inner, trunk)
    half, full = a_third(12), a_third(6)
    without(teacher.up[0], trunk, half)
    without(teacher.up[1], half, full)
    without(teacher.last, full, none)
    narrow, images = pruned(teacher.requires_grad_(False), 4).eval(), random_images(2, 3, 16, 24)
    assert narrow.settings == {"width": 4, "blocks": 2}
    torch.testing.assert_close(narrow(images), teacher(images), rtol=0, atol=1e-5)


def test_without_torch_pruning_its_installation_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "torch_pruning", None)
    with pytest.raises(InputError, match="--prune needs torch-pruning; run 'pip install torch-pruning'"):
        pruned(ResNetGenerator(2, 1), 1)


def test_pruning_leaves_every_width_that_is_asked_for_and_there():
    pytest.importorskip("torch_pruning")
    found = [pruned(ResNetGenerator(7, 1), width).first.out_channels for width in (*range(1, 8), 9)]
    assert found == [*range(1, 8), 7]
