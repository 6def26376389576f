import pytest
import torch
from supernet_fixtures import (
    COLOURING,
    GREY,
    RESTORATION,
    SEVEN,
    SUPER_RESOLUTION,
    TRANSLATION,
    X3,
    random_architectures,
    wide_space,
)
from torch.utils.flop_counter import FlopCounterMode

from evo_c2f.space import Architecture, Cell, SearchSpace
from supernet.network.cost import costs
from supernet.network.generator import Frame, Subnet
from supernet.network.operators import OPERATORS


def counted(architecture: Architecture, frame: Frame, output_size: tuple[int, int]) -> tuple[int, int]:
    """(parameters, MACs) as torch finds them on the module; on the meta device nothing is computed."""
    scale = 3 if frame == X3 else 2**frame.input_level
    low = tuple(-(-side // scale) for side in output_size)
    with torch.device("meta"):
        subnet, image = Subnet(architecture, frame), torch.empty(1, frame.input_channels, *low)
    with FlopCounterMode(display=False) as counter:
        output = subnet(image)
    assert output.shape == (1, frame.output_channels, low[0] * scale, low[1] * scale)
    assert counter.get_total_flops() % 2 == 0
    return sum(p.numel() for p in subnet.parameters()), counter.get_total_flops() // 2


@pytest.mark.parametrize(
    ("first_level", "frame", "size"),
    [
        (1, SUPER_RESOLUTION, (720, 1280)),
        (1, SUPER_RESOLUTION, (64, 96)),
        (1, SUPER_RESOLUTION, (36, 52)),  # 9x13 is padded to 10x14 where level 3 is visited
        (1, SUPER_RESOLUTION, (35, 50)),  # no multiple of the scale: the input is the next larger one
        (1, Frame(3, True), (720, 1280)),
        (2, Frame(1, True), (90, 62)),
        (0, TRANSLATION, (256, 256)),
        (0, TRANSLATION, (61, 43)),
        (0, X3, (36, 51)),
        (1, X3, (37, 50)),  # 13x17 is padded to 14x18 or 16x20
        (0, RESTORATION, (61, 43)),
        (1, GREY, (64, 96)),
        (0, SEVEN, (61, 43)),
        (0, COLOURING, (61, 43)),
    ],
)
def test_the_costs_from_the_genes_are_those_of_the_extracted_module(first_level, frame, size):
    architectures = random_architectures(wide_space(first_level), 20)
    assert {c.operator for a in architectures for c in a.cells} == set(OPERATORS)
    for a in architectures:
        known = costs(a, frame, size)
        assert (known["params"], known["macs"]) == counted(a, frame, size)
        assert known["size_mb"] == pytest.approx(4 * known["params"] / 1e6, rel=1e-12)


def test_the_costs_of_a_network_of_one_cell_are_its_closed_form():
    a = Architecture((Cell(0, 2, "pointwise", 8),), ((2, 12),))
    stem, first, last, head = 3 * 12 * 9, 12 * 8, 8 * 12, 12 * 48 * 9
    params = stem + 12 + first + 8 + last + 12 + head + 48
    macs = (stem + first + last + head) * 16 * 16
    assert costs(a, SUPER_RESOLUTION, (64, 64)) == {"params": params, "macs": macs, "size_mb": params * 4 / 1e6}


@pytest.mark.parametrize(("level", "ratio"), [(2, 1), (3, (14 * 10) / (13 * 9))])
def test_the_macs_are_those_of_the_padded_size(level, ratio):
    a = Architecture((Cell(0, level, "residual", 8),), ((level, 16),))
    exact = 13 * 9 / (16 * 16) * costs(a, SUPER_RESOLUTION, (64, 64))["macs"]
    assert costs(a, SUPER_RESOLUTION, (36, 52))["macs"] == pytest.approx(exact * ratio)


def test_a_transition_costs_the_same_in_both_directions_of_equal_widths():
    space = SearchSpace(2, {1: (16,), 2: (16,)}, ("pointwise",), (1.0,), (1, 1), "pointwise")
    down, up = (
        Architecture(tuple(Cell(i, level, "pointwise", 16) for i, level in enumerate(levels)), ((1, 16), (2, 16)))
        for levels in ((1, 2), (2, 1))
    )
    assert space.encode(down).any()
    heads = {level: 16 * 3 * 4**level * 9 for level in (1, 2)}
    sizes = {level: (64 >> level) ** 2 for level in (1, 2)}
    without_head = [
        costs(a, SUPER_RESOLUTION, (64, 64))["macs"] - heads[level] * sizes[level] for a, level in ((down, 2), (up, 1))
    ]
    assert without_head[0] == without_head[1]
