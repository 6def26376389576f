import pytest
import torch
from supernet_fixtures import COLOURING, GREY, RESTORATION, SEVEN, TRANSLATION, X3, random_architectures, random_images
from torch import nn

from evo_c2f.space import SearchSpace
from supernet.models.tiling import run_tiled, spans
from supernet.network.generator import Frame, Subnet
from supernet.network.operators import OPERATORS
from supernet.network.teacher import ResNetGenerator

SUPER_RESOLUTION = Frame(input_level=2, residual=True)


def space_of(operator: str, levels: tuple[int, ...]) -> SearchSpace:
    return SearchSpace(3, {level: (8,) for level in levels}, (operator,), (1.0,), (levels[0],) * 3, operator)


def lively(network: nn.Module, seed: int = 0) -> nn.Module:
    """With no weight at zero, so that every position is looked at."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return network.eval()


def test_the_cores_of_the_tiles_meet_and_their_margins_are_within_the_image():
    found = spans(50, tile=14, reach=5, grain=4)
    assert [span.core for span in found] == [(0, 16), (16, 32), (32, 48), (48, 50)]
    assert [span.read for span in found] == [(0, 24), (8, 40), (24, 50), (40, 50)]


TILED = {
    "x4": (SUPER_RESOLUTION, (1, 2, 3, 4), (75, 101), OPERATORS),
    "translation": (TRANSLATION, (1, 2, 3), (203, 150), OPERATORS),
    "x3": (X3, (0, 1, 2), (59, 35), ["modulation"]),  # whose windows are no multiples of 3
    "x1": (RESTORATION, (0, 1, 2), (59, 75), ["channel_attention"]),
    "grey": (GREY, (1, 2, 3), (45, 51), ["residual"]),
    "seven channels": (SEVEN, (0, 1, 2), (45, 51), ["separable"]),
    "colouring": (COLOURING, (1, 2), (45, 51), ["pointwise"]),
}


@pytest.mark.parametrize(("task", "operator"), [(task, name) for task, (*_, names) in TILED.items() for name in names])
def test_tiles_give_what_the_whole_image_gives(task: str, operator: str):
    frame, levels, size, _ = TILED[task]
    space, image = space_of(operator, levels), random_images(1, frame.input_channels, *size)
    for architecture in random_architectures(space, 3):
        network = lively(Subnet(architecture, frame))
        with torch.no_grad():
            whole = network(image)
        assert len(spans(size[0], 24, network.reach, network.grain)) > 1
        tiled = run_tiled(network, image, tile=24)
        assert (tiled - whole).abs().max() <= 1e-4 * max(1, whole.abs().max())
        assert all(module.fixed is None for module in network.modules() if hasattr(module, "fixed"))


def test_without_the_margins_the_tiles_would_differ():
    """The test above can fail: a reach that is too small is seen."""
    (architecture,) = random_architectures(space_of("residual", (1, 2)), 1)
    network, image = lively(Subnet(architecture, SUPER_RESOLUTION)), random_images(1, 3, 60, 60)
    with torch.no_grad():
        whole = network(image)
    shortened = type("Shortened", (Subnet,), {"reach": 0})
    network.__class__ = shortened
    assert (run_tiled(network, image, tile=24) - whole).abs().max() > 1e-2


def test_the_teacher_runs_in_tiles_and_at_any_size():
    network = lively(ResNetGenerator(4, 2))
    image = random_images(1, 3, 121, 90)
    with torch.no_grad():
        whole = network(image)
    assert whole.shape == image.shape
    torch.testing.assert_close(run_tiled(network, image, tile=24), whole, atol=1e-4, rtol=0)
