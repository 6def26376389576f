import math
import pickle

import pytest
import torch
from supernet_fixtures import low_and_high_of, photographs, random_architectures, random_supernet, small_space
from torch import Tensor

from evo_c2f.space import Architecture, SearchSpace
from supernet.batches import fixed
from supernet.batches.fixed import Batch, Fixed
from supernet.data.images import resize_bicubic, validation_crops, whole_images
from supernet.latency.whole import timers
from supernet.metrics.similarity import psnr_y, ssim_y
from supernet.metrics.tasks import SuperResolution
from supernet.models import tiling
from supernet.models.measure import Measure, Pairs
from supernet.network.cost import costs
from supernet.network.generator import Subnet, Supernet
from supernet.network.operators import OPERATORS

SPACE = small_space()
TASK = SuperResolution(4)
SIZE = (64, 96)
QUALITIES, COSTS = ["psnr_y", "ssim_y"], ["macs", "params", "size_mb"]


@pytest.fixture
def crops(tmp_path) -> Pairs:
    return [validation_crops(photographs(tmp_path), 4, 48, 3)]


@pytest.fixture
def whole(tmp_path) -> Fixed:
    return whole_images(low_and_high_of(photographs(tmp_path, side=50)), 3)


def trained() -> Supernet:
    """Not at random any more: its outputs are near enough to photographs for an SSIM to mean something."""
    supernet = random_supernet(SPACE)
    with torch.no_grad():
        for name, parameter in supernet.named_parameters():
            if "head" in name:
                parameter *= 0.02
    return supernet


def architectures(n: int = 4) -> list[Architecture]:
    return random_architectures(SPACE, n)


def test_a_row_holds_what_was_asked_for_and_nothing_else(crops):
    for names in (["psnr_y"], ["macs", "ssim_y"], QUALITIES + COSTS, ["params"]):
        measure = Measure(trained(), TASK, crops, names, SIZE)
        (row,) = measure(architectures(1))
        assert sorted(row) == sorted(names) == sorted(measure.names)
        assert list(row) == measure.names
        assert all(type(value) is float for value in row.values())


def test_a_measure_that_broke_off_leaves_nothing_to_the_next(whole, monkeypatch):
    measure, (a, b) = Measure(trained(), TASK, whole, QUALITIES, SIZE), architectures(2)
    wanted, forward, calls = measure([b]), measure.supernet.forward, []

    def short_of_memory(*args, **kwargs):
        calls.append(args)
        if len(calls) == 2:
            raise MemoryError
        return forward(*args, **kwargs)

    monkeypatch.setattr(measure.supernet, "forward", short_of_memory)
    with pytest.raises(MemoryError):
        measure([a])
    assert measure([b]) == wanted


def test_an_architecture_has_the_same_row_each_time_and_in_any_company(crops):
    measure = Measure(trained(), TASK, crops, QUALITIES + COSTS, SIZE)
    a, b, *others = architectures()
    rows = measure([a, b, *others, a])
    assert rows[0] == rows[-1] == measure([a])[0]
    assert rows[0] != rows[1]
    assert measure([b, a]) == [rows[1], rows[0]]
    assert measure([]) == []


def test_the_qualities_are_those_of_the_extracted_subnet(crops, whole):
    supernet = trained()
    for batches in (crops, whole):
        measure = Measure(supernet, TASK, batches, QUALITIES, SIZE)
        assert sum(len(low) for low, _ in batches) == 3
        for architecture, row in zip(architectures(), measure(architectures()), strict=True):
            subnet = supernet.extract(architecture)
            images = [pair for low, high in batches for pair in zip(low.split(1), high.split(1), strict=True)]
            for name, metric in (("psnr_y", psnr_y), ("ssim_y", ssim_y)):
                with torch.no_grad():
                    each = [metric(subnet(low), high, 4).item() for low, high in images]
                assert row[name] == pytest.approx(sum(each) / len(each), abs=1e-3)
                assert len({round(value, 3) for value in each}) > 1


def test_the_costs_are_those_of_the_genes_at_the_stated_size(crops):
    measure = Measure(trained(), TASK, crops, COSTS, SIZE)
    for architecture, row in zip(architectures(), measure(architectures()), strict=True):
        assert row == costs(architecture, TASK.frame, SIZE)


def test_the_baseline_is_bicubic(whole):
    measure = Measure(trained(), TASK, whole, QUALITIES + COSTS, SIZE, suffix="_full")
    expected = [psnr_y(resize_bicubic(low, 4), high, 4).item() for low, high in whole]
    baseline = measure.baseline()
    assert baseline.keys() == {"psnr_y_full", "ssim_y_full"}
    assert baseline["psnr_y_full"] == pytest.approx(sum(expected) / len(expected), abs=1e-4)


def test_the_suffix_names_the_qualities_and_not_the_costs(crops):
    plain, full = (Measure(trained(), TASK, crops, QUALITIES + COSTS, SIZE, suffix=suffix) for suffix in ("", "_full"))
    assert full.names == ["psnr_y_full", "ssim_y_full", *COSTS]
    (row,), (full_row,) = plain(architectures(1)), full(architectures(1))
    assert full_row == {name if name in COSTS else f"{name}_full": value for name, value in row.items()}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("part", ["stem", "head"])
def test_an_output_that_is_not_finite_has_nan_for_its_qualities_and_never_a_figure(crops, part, value):
    supernet = trained()
    with torch.no_grad():
        for name, parameter in supernet.named_parameters():
            if part in name and "bias" in name:
                parameter[0] = value
    measure = Measure(supernet, TASK, crops, QUALITIES + COSTS, SIZE)
    for architecture, row in zip(architectures(), measure(architectures()), strict=True):
        assert not supernet(crops[0][0], architecture).isfinite().all()
        assert math.isnan(row["psnr_y"])
        assert math.isnan(row["ssim_y"])
        assert {name: row[name] for name in COSTS} == costs(architecture, TASK.frame, SIZE)


def test_one_failed_image_makes_the_mean_nan(whole):
    low, high = whole[1]
    measure = Measure(trained(), TASK, [whole[0], (low * math.nan, high)], QUALITIES, SIZE)
    (row,) = measure(architectures(1))
    assert all(math.isnan(value) for value in row.values())


def test_latency_is_taken_when_asked_for_and_only_then(crops):
    asked = []
    timers = {"latency_ms": lambda a: asked.append(a) or 5.0, "latency_torch_ms": lambda a: asked.append(a) or 7.0}
    (row,) = Measure(trained(), TASK, crops, ["psnr_y", "latency_ms", "macs"], SIZE, timers=timers)(architectures(1))
    assert list(row) == ["psnr_y", "latency_ms", "macs"]
    assert row["latency_ms"] == 5.0 and asked == architectures(1)


def test_measuring_leaves_no_gradient_and_changes_no_weight(crops):
    supernet = trained()
    before = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
    names = ["psnr_y", "latency_torch_ms"]
    Measure(supernet, TASK, crops, names, SIZE, timers=timers(supernet, SIZE, None))(architectures())
    assert all(parameter.grad is None for parameter in supernet.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in supernet.state_dict().items())


def test_a_set_too_large_to_keep_is_read_for_each_network_and_gives_the_same(whole, monkeypatch):
    kept = Measure(trained(), TASK, whole, QUALITIES, SIZE)
    monkeypatch.setattr(fixed, "KEPT_BYTES", 1)
    read, numbers = whole.read, list[int]()

    def noted(number: int) -> Batch:
        numbers.append(number)
        return read(number)

    whole.read = noted
    measure, two = Measure(trained(), TASK, whole, QUALITIES, SIZE), architectures(2)
    assert numbers == []
    assert measure(two) == kept(two) and sorted(numbers) == sorted(2 * [*range(len(whole))])
    whole.read = read
    copy = pickle.loads(pickle.dumps(measure))  # as a worker process gets it
    assert len(pickle.dumps(measure)) < len(pickle.dumps(kept)) and copy(two) == kept(two)


@pytest.mark.parametrize("operator", OPERATORS)
def test_large_images_are_measured_in_tiles_with_the_same_result(whole, operator, monkeypatch):
    space = SearchSpace(2, {2: (8,), 3: (8,)}, (operator,), (1.0,), (2, 2), operator)
    supernet, several = random_supernet(space), random_architectures(space, 3)
    expected = Measure(supernet, TASK, whole, ["psnr_y"], SIZE)(several)
    outputs, run_tiled = list[Tensor](), tiling.run_tiled

    def noted(network: Subnet, image: Tensor, tile: int) -> Tensor:
        outputs.append(run_tiled(network, image, tile))
        return outputs[-1]

    monkeypatch.setattr(tiling, "LARGEST", 0)
    monkeypatch.setattr(tiling, "LARGE_TILE", 8)
    monkeypatch.setattr(tiling, "run_tiled", noted)
    for row, wanted in zip(Measure(supernet, TASK, whole, ["psnr_y"], SIZE)(several), expected, strict=True):
        assert row["psnr_y"] == pytest.approx(wanted["psnr_y"], abs=1e-4)
    assert len(outputs) == len(several) * len(whole)
