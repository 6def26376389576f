import pytest
import torch
from supernet_fixtures import random_images, randomise
from torch import nn

from supernet.network.slicing import Conv, SlicedConv2d, copy_prefix

WIDE_AND_NARROW = [  # a built convolution, and the widths that it runs with
    (Conv(8, 12), 8, 12),
    (Conv(8, 12), 5, 12),
    (Conv(8, 12), 8, 7),
    (Conv(8, 12, 3), 4, 8),
    (Conv(8, 12, 5, dilation=3), 4, 8),
    (Conv(8, 12, 3), 1, 1),
    (Conv(12, 12, 3, depthwise=True), 12, 12),
    (Conv(12, 12, 3, depthwise=True), 8, 8),
    (Conv(12, 12, 5, depthwise=True, dilation=3), 4, 4),
    (Conv(3, 3, 3, depthwise=True), 1, 1),
    (Conv(1, 1, 3, depthwise=True), 1, 1),
]


def narrowed(spec: Conv, inputs: int, outputs: int) -> Conv:
    return Conv(inputs, outputs, spec.kernel, spec.depthwise, spec.dilation)


@pytest.mark.parametrize(("spec", "inputs", "outputs"), WIDE_AND_NARROW)
def test_a_narrow_run_equals_a_plain_convolution_with_the_prefix_of_the_weights(spec, inputs, outputs):
    wide = randomise(SlicedConv2d(spec), seed=1)
    groups = inputs if spec.depthwise else 1
    plain = nn.Conv2d(inputs, outputs, spec.kernel, padding="same", dilation=spec.dilation, groups=groups)
    with torch.no_grad():
        plain.weight.copy_(wide.weight[:outputs, : inputs // groups])
        plain.bias.copy_(wide.bias[:outputs])
    x = random_images(2, inputs, 9, 7) - 0.5
    torch.testing.assert_close(wide(x, outputs), plain(x))


@pytest.mark.parametrize(("spec", "inputs", "outputs"), WIDE_AND_NARROW)
def test_a_copied_prefix_computes_what_the_wide_module_does_and_is_its_own(spec, inputs, outputs):
    wide, narrow = randomise(SlicedConv2d(spec), seed=1), SlicedConv2d(narrowed(spec, inputs, outputs))
    copy_prefix(wide, narrow)
    x = random_images(2, inputs, 9, 7) - 0.5
    before = wide(x, outputs)
    torch.testing.assert_close(narrow(x), before)
    randomise(wide, seed=2)
    torch.testing.assert_close(narrow(x), before)


@pytest.mark.parametrize(("spec", "inputs", "outputs"), WIDE_AND_NARROW)
def test_the_gradient_of_a_narrow_run_is_zero_outside_the_prefix_and_nowhere_inside(spec, inputs, outputs):
    wide = randomise(SlicedConv2d(spec), seed=1)
    x = random_images(2, inputs, 15, 15) - 0.5
    (wide(x, outputs) * random_images(2, outputs, 15, 15, seed=3)).sum().backward()
    inside = torch.zeros_like(wide.weight, dtype=torch.bool)
    inside[:outputs, : 1 if spec.depthwise else inputs] = True
    assert torch.equal(wide.weight.grad != 0, inside)
    assert torch.equal(wide.bias.grad != 0, torch.arange(spec.outputs) < outputs)


def test_without_a_width_all_outputs_are_made():
    assert SlicedConv2d(Conv(8, 12, 3))(random_images(1, 4, 5, 5)).shape == (1, 12, 5, 5)


@pytest.mark.parametrize(
    ("spec", "params", "macs"),
    [  # on a map of 9 x 7
        (Conv(8, 12), 8 * 12 + 12, 8 * 12 * 63),
        (Conv(8, 12, 3), 8 * 12 * 9 + 12, 8 * 12 * 9 * 63),
        (Conv(8, 12, 5, dilation=3), 8 * 12 * 25 + 12, 8 * 12 * 25 * 63),
        (Conv(12, 12, 3, depthwise=True), 12 * 9 + 12, 12 * 9 * 63),
        (Conv(12, 12, 3, depthwise=True, shrink=2), 12 * 9 + 12, 12 * 9 * 5 * 4),
        (Conv(12, 12, 3, depthwise=True, shrink=8), 12 * 9 + 12, 12 * 9 * 2 * 1),
        (Conv(8, 4, shrink=0), 8 * 4 + 4, 8 * 4),
    ],
)
def test_a_convolution_costs_its_weights_at_every_position(spec, params, macs):
    assert (spec.params, spec.macs(9, 7)) == (params, macs)
    assert sum(p.numel() for p in SlicedConv2d(spec).parameters()) == params
