from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from supernet_fixtures import (
    COLOURING,
    GREY,
    RESTORATION,
    SEVEN,
    SUPER_RESOLUTION,
    TRANSLATION,
    X3,
    fresh_supernet,
    random_architectures,
    random_images,
    random_supernet,
    randomise,
    wide_space,
)

from evo_c2f.errors import InputError
from evo_c2f.space import Architecture, Cell
from supernet.network.generator import Frame, Supernet, pad_to_multiple, parts
from supernet.network.plain import PlainUpscaler
from supernet.network.teacher import ResNetGenerator

SIZES = [(8, 8), (9, 11), (7, 8), (5, 6)]  # of the input; the odd ones are padded


def resized(x: torch.Tensor, frame: Frame) -> torch.Tensor:
    """What a generator adds its own to."""
    if not frame.residual:
        return torch.full_like(x, 0.5)
    return F.interpolate(x, scale_factor=float(scale_of(frame)), mode="bilinear")


def scale_of(frame: Frame) -> int:
    return 3 if frame == X3 else 2**frame.input_level


def step_of(frame: Frame, *levels: int) -> int:
    """From one level to the next."""
    return 3 if frame == X3 and 0 in levels else 2


def architecture(*cells: tuple[int, int, str, int], widths: dict[int, int]) -> Architecture:
    return Architecture(tuple(Cell(*cell) for cell in cells), tuple(sorted(widths.items())))


def transitions(a: Architecture) -> set[tuple[int, int]]:
    levels = [cell.level for cell in a.cells]
    return {(s, t) for s, t in zip(levels, levels[1:], strict=False) if s != t}


@pytest.mark.parametrize(
    ("first_level", "frame", "n"),
    [
        *[(1, SUPER_RESOLUTION, 200), (0, TRANSLATION, 70), (1, Frame(1, True), 70), (0, X3, 70), (0, RESTORATION, 70)],
        *[(1, GREY, 50), (0, SEVEN, 50), (0, COLOURING, 50)],
    ],
)
@torch.inference_mode()
def test_a_subnet_inside_the_supernet_equals_the_extracted_one(first_level, frame, n):
    space = wide_space(first_level)
    low, middle, high = space.levels
    supernet = random_supernet(space, frame)
    architectures = random_architectures(space, n)
    assert {(c.level, c.operator) for a in architectures for c in a.cells} == {
        (level, operator) for level in space.levels for operator in space.operators
    }
    assert {w for a in architectures for w in a.widths} == {
        (level, width) for level, widths in space.widths.items() for width in widths
    }
    moves = {(low, middle), (middle, low), (middle, high), (high, middle)}
    assert set().union(*map(transitions, architectures)) == moves
    for index, a in enumerate(architectures):
        x = random_images(1, frame.input_channels, *SIZES[index % len(SIZES)], seed=index)
        inside, alone = supernet(x, a), supernet.extract(a)(x)
        scale = scale_of(frame)
        assert inside.shape == (1, frame.output_channels, x.shape[2] * scale, x.shape[3] * scale)
        assert (inside - resized(x, frame)).std() >= 0.1  # equal zeros would prove nothing
        torch.testing.assert_close(inside, alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("first_level", "frame"), [(1, SUPER_RESOLUTION), (0, TRANSLATION)])
@torch.inference_mode()
def test_every_change_of_an_active_gene_changes_the_output(first_level, frame):
    space = wide_space(first_level)
    supernet, x = random_supernet(space, frame), random_images(1, 3, 6, 7)
    kinds: Counter[str] = Counter()
    for genome in space.random(4, np.random.default_rng(1)):
        before = supernet(x, space.decode(genome))
        for gene in np.flatnonzero(space.active(genome[None])[0]):
            for value in set(range(space.n_choices[gene])) - {genome[gene]}:
                child = genome.copy()
                child[gene] = value
                child = space.canonical(child[None])[0]
                if space.is_valid(child[None])[0]:
                    difference = (supernet(x, space.decode(child)) - before).abs().max().item()
                    assert difference > 1e-3, (space.gene_names[gene], value)
                    kinds[space.gene_names[gene].split("_")[0]] += 1
    assert min(kinds[kind] for kind in ("path", "operator", "inner", "width")) >= 10


# -- stems, heads and transitions, against the same computed by hand -------------------------------


def stem(supernet: Supernet, level: int, x: torch.Tensor, width: int) -> torch.Tensor:
    conv, depth = supernet.modules_by_place[f"stem_{level}"], level - supernet.frame.input_level
    x = F.pixel_unshuffle(x - 0.5, 2**depth) if depth > 0 else x - 0.5
    step = step_of(supernet.frame, level)
    x = F.interpolate(x, scale_factor=float(step**-depth), mode="bilinear") if depth < 0 else x
    return F.conv2d(x, conv.weight[:width], conv.bias[:width], padding=1)


def head(supernet: Supernet, level: int, y: torch.Tensor) -> torch.Tensor:
    conv = supernet.modules_by_place[f"head_{level}"]
    y = F.conv2d(y, conv.weight[:, : y.shape[1]], conv.bias, padding=1)
    return F.pixel_shuffle(y, (1, 3, 6)[level] if supernet.frame == X3 else 2**level)


def transition(supernet: Supernet, source: int, level: int, y: torch.Tensor, width: int) -> torch.Tensor:
    conv = supernet.modules_by_place[f"transition_{source}_{level}"]
    step = step_of(supernet.frame, source, level)
    if level > source:
        y = F.pixel_unshuffle(y, step)
        return F.conv2d(y, conv.weight[:width, : y.shape[1]], conv.bias[:width])
    out = step**2 * width
    return F.pixel_shuffle(F.conv2d(y, conv.weight[:out, : y.shape[1]], conv.bias[:out]), step)


@pytest.mark.parametrize(
    ("first_level", "frame"),
    [(1, SUPER_RESOLUTION), (0, TRANSLATION), (0, X3), (0, RESTORATION), (1, GREY), (0, SEVEN), (0, COLOURING)],
)
@torch.inference_mode()
def test_a_fresh_supernet_is_stem_and_head_of_the_last_level_on_every_path(first_level, frame):
    space, x = wide_space(first_level), random_images(1, frame.input_channels, 8, 4)
    supernet = fresh_supernet(space, frame)
    for a in random_architectures(space, 40):
        level = a.cells[-1].level
        by_hand = head(supernet, level, stem(supernet, level, x, a.width(level)))
        torch.testing.assert_close(supernet(x, a) - resized(x, frame), by_hand, atol=1e-6, rtol=0)
        assert by_hand.std() > 1e-3


@pytest.mark.parametrize(("first_level", "frame"), [(1, SUPER_RESOLUTION), (0, X3)])
@torch.inference_mode()
def test_on_arrival_a_transition_is_added_to_what_the_level_last_held_or_to_its_own_stem(first_level, frame):
    supernet, x = fresh_supernet(wide_space(first_level), frame), random_images(1, 3, 6, 8)
    for name, module in supernet.modules_by_place.items():
        if not name.startswith("operator"):  # the operators stay the identity
            randomise(module, seed=len(name))
    low, middle, high = supernet.space.levels
    widths = {low: 8, middle: 16, high: 24}
    levels = (middle, high, middle, low, middle)
    a = architecture(*((i, level, "residual", 8) for i, level in enumerate(levels)), widths=widths)
    stems = {level: stem(supernet, level, x, width) for level, width in widths.items()}
    first = stems[middle]
    coarse = stems[high] + transition(supernet, middle, high, first, 24)
    second = first + transition(supernet, high, middle, coarse, 16)
    fine = stems[low] + transition(supernet, middle, low, second, 8)
    third = second + transition(supernet, low, middle, fine, 16)
    by_hand = head(supernet, middle, third) + resized(x, frame)
    torch.testing.assert_close(supernet(x, a), by_hand, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("first_level", "frame", "size"), [(1, SUPER_RESOLUTION, (7, 9)), (0, TRANSLATION, (9, 7)), (1, X3, (7, 9))]
)
@torch.inference_mode()
def test_an_odd_input_is_padded_by_reflection_to_the_coarsest_visited_level(first_level, frame, size):
    space, x = wide_space(first_level), random_images(1, 3, *size)
    supernet = random_supernet(space, frame)
    high, wide = size[0] * scale_of(frame), size[1] * scale_of(frame)
    for a in random_architectures(space, 20):
        multiple = 2 ** max(0, max(level for level, _ in a.widths) - frame.input_level)
        padded = F.pad(x, (0, -size[1] % multiple, 0, -size[0] % multiple), mode="reflect")
        whole = supernet(padded, a) - resized(padded, frame)
        torch.testing.assert_close(supernet(x, a) - resized(x, frame), whole[..., :high, :wide], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("first_level", "frame", "size"),
    [
        (1, SUPER_RESOLUTION, (1, 1)),
        (1, SUPER_RESOLUTION, (1, 6)),
        (1, SUPER_RESOLUTION, (2, 2)),
        (0, TRANSLATION, (1, 1)),
        (0, TRANSLATION, (2, 9)),
        (0, TRANSLATION, (3, 3)),
        (0, X3, (1, 2)),
        (0, RESTORATION, (1, 2)),
    ],
)
@torch.inference_mode()
def test_an_input_of_a_few_pixels_goes_through_at_every_level(first_level, frame, size):
    space, scale = wide_space(first_level), scale_of(frame)
    supernet, x = random_supernet(space, frame), random_images(1, 3, *size)
    for level, widths in space.widths.items():
        y = supernet(x, architecture((0, level, "residual", 8), widths={level: widths[0]}))
        assert y.shape == (1, 3, size[0] * scale, size[1] * scale)
        assert y.isfinite().all()


@pytest.mark.parametrize("multiple", [1, 2, 4, 8])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 3), (5, 4), (8, 16), (7, 1)])
def test_a_small_image_is_reflected_to_and_fro_until_it_is_a_multiple(multiple, size):
    x = random_images(2, 3, *size)
    pad = [(0, -side % multiple) for side in size]
    expected = np.pad(x.numpy(), [(0, 0), (0, 0), *pad], mode="reflect")  # numpy's goes on where torch's refuses
    assert pad_to_multiple(x, multiple).numpy().tolist() == expected.tolist()


NETWORKS = [*map(random_supernet(wide_space()).extract, random_architectures(wide_space(), 1))]
NETWORKS += [ResNetGenerator(4, 1), PlainUpscaler(4, 1)]


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: type(network).__name__)
@pytest.mark.parametrize("shape", [(1, 1, 8, 8), (1, 2, 8, 8), (1, 4, 8, 8), (3, 8, 8)])
def test_a_network_refuses_what_is_no_batch_of_rgb_images(network, shape):
    with pytest.raises(InputError, match=rf"takes RGB images \(b, 3, h, w\), not \({', '.join(map(str, shape))}\)"):
        network(random_images(*shape))


@pytest.mark.parametrize(("frame", "words"), [(SUPER_RESOLUTION, "RGB images"), (SEVEN, r"images \(b, 7, h, w\), not")])
def test_a_supernet_refuses_grey_images(frame, words):
    supernet = random_supernet(wide_space(frame.input_level - 1 if frame.input_level else 0), frame)
    (a,) = random_architectures(supernet.space, 1)
    with pytest.raises(InputError, match=f"takes {words}"):
        supernet(random_images(1, 1, 8, 8), a)


@torch.inference_mode()
def test_the_teacher_takes_images_of_any_size():
    teacher = randomise(ResNetGenerator(4, 2), seed=0)
    for size in [(1, 1), (1, 9), (3, 4), (4, 4)]:
        y = teacher(random_images(1, 3, *size))
        assert y.shape == (1, 3, *size) and y.isfinite().all()


@torch.inference_mode()
def test_an_image_is_not_changed_by_its_neighbours_in_the_batch():
    space, x = wide_space(), random_images(3, 3, 5, 6)
    supernet = random_supernet(space)
    for a in random_architectures(space, 10):
        torch.testing.assert_close(supernet(x, a)[1:2], supernet(x[1:2], a), atol=1e-5, rtol=0)


# -- the modules ------------------------------------------------------------------------------------


def test_the_parts_of_a_path_come_in_the_order_in_which_they_run():
    cells = ((0, 2, "residual", 8), (1, 2, "pointwise", 4), (3, 3, "residual", 8), (4, 2, "inverted", 8))
    kinds = [(p.kind, p.place) for p in parts(architecture(*cells, widths={2: 12, 3: 16}))]
    assert kinds == [
        ("stem", (2,)),
        ("operator", (0, 2, "residual")),
        ("operator", (1, 2, "pointwise")),
        ("stem", (3,)),
        ("transition", (2, 3)),
        ("operator", (3, 3, "residual")),
        ("transition", (3, 2)),
        ("operator", (4, 2, "inverted")),
        ("head", (2,)),
    ]


def test_the_supernet_holds_one_module_a_place():
    space = wide_space()
    kinds = Counter(name.split("_")[0] for name in fresh_supernet(space).modules_by_place)
    n_operators = space.n_cells * space.n_levels * len(space.operators)
    assert kinds == {"stem": 3, "head": 3, "transition": 4, "operator": n_operators}


def test_the_slices_of_an_architecture_are_what_its_extracted_subnet_holds():
    space = wide_space()
    supernet = random_supernet(space)
    for a in random_architectures(space, 20):
        subnet = supernet.extract(a)
        for part, layer in zip(subnet.route, subnet.layers, strict=True):
            slices = [parameter[prefix] for parameter, prefix in supernet.slices(part)]
            own = list(layer.parameters())
            assert len(slices) == len(own)
            assert all(any(s.shape == p.shape and torch.equal(s, p) for p in own) for s in slices)


def test_an_extracted_subnet_shares_no_memory_and_gets_a_transition_for_each_place():
    space, x = wide_space(), random_images(1, 3, 6, 6)
    supernet = random_supernet(space)
    a = architecture(*((i, 2 + i % 2, "residual", 8) for i in range(4)), widths={2: 12, 3: 16})
    subnet = supernet.extract(a)
    before = supernet(x, a)
    moves = [layer for part, layer in zip(subnet.route, subnet.layers, strict=True) if part.kind == "transition"]
    assert len({id(layer) for layer in moves}) == 3
    randomise(moves[0], seed=9)
    assert not torch.allclose(subnet(x), before, atol=1e-3)
    assert torch.equal(supernet(x, a), before)


def test_the_gradients_of_a_subnet_stay_inside_its_own_modules():
    supernet, x = random_supernet(wide_space()), random_images(1, 3, 6, 6)
    a = architecture((1, 2, "residual", 8), (4, 3, "pointwise", 8), widths={2: 12, 3: 16})
    supernet(x, a).square().sum().backward()
    with_gradient = [p for p in supernet.parameters() if p.grad is not None]
    assert {id(p) for p in supernet.used([a, a])} == {id(p) for p in with_gradient}
    assert len(supernet.used([a, a])) == len(with_gradient)
    touched = {name.split(".")[1] for name, p in supernet.named_parameters() if p.grad is not None}
    operators = {"operator_1_2_residual", "operator_4_3_pointwise"}
    assert touched == {"stem_2", "stem_3", "transition_2_3", "head_3"} | operators


def test_a_bounded_output_is_the_tanh_of_pix2pix_in_0_to_1():
    space, x = wide_space(0), random_images(2, 3, 9, 11)
    plain, bounded = (random_supernet(space, frame) for frame in (TRANSLATION, replace(TRANSLATION, bounded=True)))
    for a in random_architectures(space, 5):
        with torch.no_grad():
            before, found = plain(x, a), bounded(x, a)
            assert torch.allclose(found, (torch.tanh(before - 0.5) + 1) / 2, atol=1e-6)
            assert torch.equal(bounded.extract(a)(x), found)
