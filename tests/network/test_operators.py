import pytest
import torch
from supernet_fixtures import random_images, randomise, wide_space

from evo_c2f.space import inner_width
from supernet.network.operators import OPERATORS
from supernet.network.slicing import copy_prefix

SPACE = wide_space()
# Every (trunk width, inner width) of the space; the last one is the widest.
WIDTHS = sorted((width, inner_width(width, ratio)) for width in (8, 12, 16, 24, 32) for ratio in SPACE.inner_ratios)
SIZES = [(1, 1), (1, 7), (2, 3), (7, 5), (16, 17)]

every_operator = pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS.keys())


def image(width: int, size: tuple[int, int] = (7, 5)) -> torch.Tensor:
    return random_images(2, width, *size) * 2 - 1


@every_operator
def test_a_fresh_operator_is_the_identity(operator):
    for width, inner in WIDTHS:
        x = image(width)
        assert torch.equal(operator(width, inner)(x), x)


@every_operator
def test_a_fresh_operator_can_leave_the_identity(operator):
    block = operator(12, 8)
    (block(image(12)) * random_images(2, 12, 7, 5, seed=1)).sum().backward()
    assert (block.last.weight.grad != 0).all()


@every_operator
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_an_operator_keeps_the_shape_at_every_width(operator, size):
    wide = randomise(operator(*WIDTHS[-1]), seed=1)
    for width, inner in WIDTHS:
        x = image(width, size)
        y = wide(x, inner)
        assert y.shape == x.shape
        assert y.isfinite().all()
        assert not torch.allclose(y, x, atol=1e-2)


@every_operator
def test_every_narrow_operator_is_a_slice_of_the_widest(operator):
    wide = randomise(operator(*WIDTHS[-1]), seed=1)
    for width, inner in WIDTHS:
        narrow = operator(width, inner)
        copy_prefix(wide, narrow)
        shapes, limits = ({name: t.shape for name, t in m.state_dict().items()} for m in (narrow, wide))
        assert shapes.keys() == limits.keys()
        assert all(n <= m for name in shapes for n, m in zip(shapes[name], limits[name], strict=True))
        torch.testing.assert_close(wide(image(width), inner), narrow(image(width)), atol=1e-5, rtol=0)


@every_operator
def test_the_inner_width_and_each_channel_of_each_parameter_shows_in_the_output(operator):
    block, x = randomise(operator(12, 16), seed=1), image(12)
    assert not torch.allclose(block(x), block(x, 8), atol=1e-3)
    (block(x) * random_images(2, 12, 7, 5, seed=1)).sum().backward()
    unused = [name for name, p in block.named_parameters() if not p.grad.reshape(len(p), -1).any(dim=1).all()]
    assert unused == []


@every_operator
def test_an_image_is_not_changed_by_its_neighbours_in_the_batch(operator):
    block, x = randomise(operator(12, 16), seed=1), image(12)
    torch.testing.assert_close(block(x)[:1], block(x[:1]), atol=1e-5, rtol=0)


@every_operator
def test_normalised_an_operator_adds_the_same_whatever_the_contrast_and_brightness(operator):
    """Each channel of each image by itself: a narrow slice sees what the wide one sees."""
    block, x = randomise(operator(12, 16), seed=1), image(12)
    scale, shift = torch.rand(2, 12, 1, 1) + 0.5, torch.rand(2, 12, 1, 1)
    added = block(x, normalise=True) - x
    other = scale * x + shift
    torch.testing.assert_close(block(other, normalise=True) - other, added, atol=1e-3, rtol=0)
    assert not torch.allclose(block(x) - x, added, atol=1e-2)
    narrow = operator(8, 8)
    copy_prefix(block, narrow)
    torch.testing.assert_close(block(x[:, :8], 8, normalise=True), narrow(x[:, :8], normalise=True), atol=1e-5, rtol=0)


@every_operator
def test_a_single_position_is_left_as_it_is(operator):
    block, x = randomise(operator(12, 16), seed=1), image(12, (1, 1))
    assert torch.equal(block(x, normalise=True), block(x))


@pytest.mark.parametrize("channel", range(8))
@pytest.mark.parametrize("inner", [8, 16])
def test_a_channel_of_the_modulation_works_at_the_same_scale_at_every_inner_width(inner, channel):
    block = randomise(OPERATORS["modulation"](12, 16), seed=1)
    with torch.no_grad():  # only this channel has something to modulate
        block.first.weight[torch.arange(16) != channel] = 0
        block.first.bias.zero_()
    (block(image(12), inner) * random_images(2, 12, 7, 5, seed=1)).sum().backward()
    rows = {(k, row) for k in range(4) for row in getattr(block, f"scale{k}").weight.grad.flatten(1).any(1).nonzero()}
    assert [(k, row.item()) for k, row in rows] == [(channel % 4, channel // 4)]


def test_there_is_a_block_of_each_kind_that_the_field_relies_on():
    wanted = {"pointwise", "residual", "separable", "inverted", "large_kernel", "channel_attention"}
    assert wanted | {"distillation", "modulation"} <= OPERATORS.keys()
