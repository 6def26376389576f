"""Latencies from a table of parts: what they add up to, and what a table is refused for."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from supernet_fixtures import SUPER_RESOLUTION, TRANSLATION, X3, fresh_supernet, small_space, wide_space

from evo_c2f.errors import DamagedFileError, InputError
from evo_c2f.space import SearchSpace
from supernet.device import machine_name
from supernet.latency import table as table_module
from supernet.latency.table import (
    BASE,
    LatencyTable,
    Stretch,
    describe,
    every_part,
    key,
    measure_table,
    random_map,
    read_table,
)
from supernet.latency.whole import timers, together_ms
from supernet.network.generator import parts

SIZE, CPU = (64, 96), torch.device("cpu")
BOUNDED = replace(TRANSLATION, bounded=True)


SPACE = SearchSpace(
    n_cells=2,
    widths={2: (8, 12), 3: (8,)},
    operators=("pointwise", "residual"),
    inner_ratios=(1.0,),
    reference_path=(2, 3),
    reference_operator="residual",
)


@pytest.fixture(scope="module")
def table():
    return measure_table(SPACE, SUPER_RESOLUTION, SIZE, CPU)


@pytest.mark.parametrize("space", [small_space(), wide_space()])
def test_every_part_of_every_subnet_is_timed_and_no_other(space):
    timed = {key(part) for part in every_part(space)}
    genomes = space.random(3000, np.random.default_rng(0))
    assert {key(part) for genome in genomes for part in parts(space.decode(genome))} == timed


def test_a_subnet_takes_what_its_parts_take_together():
    space = small_space()
    ms = {key(part): 2.0**i for i, part in enumerate(every_part(space))}
    architecture = space.decode(space.reference)
    table, whole = LatencyTable({}, {BASE: 0.5, **ms}, None), 0.5 + sum(ms[key(part)] for part in parts(architecture))
    assert table(architecture) == whole
    assert replace(table, scale=1.25)(architecture) == 1.25 * whole


def test_the_scale_is_how_much_longer_whole_networks_take(monkeypatch):
    def each_a_millisecond(modules, inputs, device):
        return [lambda: None] * len(modules)

    monkeypatch.setattr(table_module, "actions", each_a_millisecond)
    monkeypatch.setattr(table_module, "milliseconds_in_turn", lambda runs: [1.0] * len(runs))
    space = small_space()
    table = measure_table(space, SUPER_RESOLUTION, SIZE, CPU)
    # Stems, transitions, head and base take 1 ms each, and operators 0: three copies take no longer than one.
    subnets = [space.decode(genome) for genome in space.random(40, np.random.default_rng(1))]
    fixed = [1 + sum(part.kind != "operator" for part in parts(subnet)) for subnet in subnets]
    assert [table(subnet) for subnet in subnets] == pytest.approx([table.scale * n for n in fixed])
    assert 1 / max(fixed) <= table.scale <= 1 / min(fixed)


def test_the_sums_are_of_the_size_of_what_whole_networks_take(table):
    subnets = [SPACE.decode(genome) for genome in SPACE.random(5, np.random.default_rng(0))]
    ratios = np.divide([table(subnet) for subnet in subnets], together_ms(fresh_supernet(SPACE), SIZE, subnets))
    assert 0.2 < np.median(ratios) < 5  # a part that was left out or at a wrong level would be far beyond


def test_a_table_knows_the_plain_network(table):
    ratio = timers(fresh_supernet(SPACE), SIZE, table)["latency_ratio"]
    subnet = SPACE.decode(SPACE.reference)
    assert ratio(subnet) == table(subnet) / table.plain_ms


def test_a_table_is_read_as_it_was_written_and_refused_where_it_is_of_something_else(table, tmp_path):
    path, about = tmp_path / "table.json", describe(SPACE, SUPER_RESOLUTION, SIZE, CPU)
    table.save(path)
    assert read_table(path, about) == table
    with pytest.raises(InputError, match=r"is of space \w+, not \w+; make another"):
        read_table(path, describe(wide_space(), SUPER_RESOLUTION, SIZE, CPU))
    with pytest.raises(InputError, match="is of input_level 2, not 0"):
        read_table(path, describe(SPACE, TRANSLATION, SIZE, CPU))
    with pytest.raises(InputError, match="is of first_step 2, not 3"):
        read_table(path, {**about, "first_step": X3.first_step})
    with pytest.raises(InputError, match="is of machine .*, not another one"):
        read_table(path, {**about, "machine": "another one"})
    with pytest.raises(InputError, match="is of bounded False, not True"):
        read_table(path, {**about, "bounded": True})
    with pytest.raises(InputError, match="does not exist; 'python cli.py bench --latency-table"):
        read_table(tmp_path / "none.json", about)


@pytest.mark.parametrize("untold", ["first_step", "machine"])
def test_a_table_of_a_version_that_did_not_tell_all_is_read(table, tmp_path, untold):
    about = {name: value for name, value in table.about.items() if name != untold}
    LatencyTable(about, table.ms, table.plain_ms).save(tmp_path / "table.json")
    assert read_table(tmp_path / "table.json", table.about).ms == table.ms


def test_a_table_tells_its_processor_and_whether_outputs_are_bounded(monkeypatch):
    about = describe(SPACE, TRANSLATION, SIZE, CPU)
    assert about["machine"] == machine_name(CPU) != "" and "bounded" not in about
    assert describe(SPACE, BOUNDED, SIZE, CPU) == about | {"bounded": True}
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
    assert machine_name(torch.device("cuda")) == "a GPU"


def test_the_sigmoid_of_bounded_outputs_is_timed(monkeypatch):
    given = []

    def no_runs(modules, inputs, device):
        given.append((modules[0], inputs[0]))
        return [lambda: None] * len(modules)

    monkeypatch.setattr(table_module, "actions", no_runs)
    measure_table(SPACE, BOUNDED, SIZE, CPU)
    ending, x = given[0]
    assert x.shape == (1, BOUNDED.output_channels, *SIZE) and torch.equal(ending(x), torch.sigmoid(2 * x))


@pytest.mark.parametrize(("level", "sides"), [(0, (63, 96)), (1, (21, 32)), (2, (11, 16))])
def test_the_maps_of_scale_3_are_timed_at_their_sizes(level, sides):
    part = next(part for part in every_part(wide_space(0)) if part.kind == "operator" and part.level == level)
    channels, span = Stretch([part], X3).source()
    assert random_map(channels, span, (63, 96)).shape == (1, part.width, *sides)


@pytest.mark.parametrize("damage", ["", "[]", '{"about": {}, "ms": {}, "plain_ms": null}'])
def test_a_damaged_table_is_refused(tmp_path, damage):
    (tmp_path / "table.json").write_text(damage)
    with pytest.raises(DamagedFileError, match="is no latency table"):
        read_table(tmp_path / "table.json", {"space": "a"})


def test_a_table_without_a_part_is_damaged(table, tmp_path):
    table.save(tmp_path / "table.json")
    data = json.loads((tmp_path / "table.json").read_text())
    data["ms"].popitem()
    (tmp_path / "table.json").write_text(json.dumps(data))
    with pytest.raises(DamagedFileError, match="is no latency table"):
        read_table(tmp_path / "table.json", describe(SPACE, SUPER_RESOLUTION, SIZE, CPU))
