"""Each adapter: genomes and networks belong together one to one, and the table's best is what its authors published."""

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from evo_c2f.objectives import pareto
from evo_c2f.objectives.metric import METRICS
from evo_c2f.tables import cells, channels, graph, macro, transnas
from evo_c2f.tables.table import Table, quality

PUBLIC = Path(__file__).parents[3] / "shared" / "data" / "nas"
there = pytest.mark.skipif(not (PUBLIC / macro.FILE).is_file(), reason="the public tables are not here")

EDGES = ("none", *cells.KERNELS)
NAMES = {
    macro: ["".join(digits) for digits in product("012", repeat=8)][1:],
    channels: ["".join(digits) for digits in product("1234", repeat=7)][1:],
    cells: ["|{}~0|+|{}~0|{}~1|+|{}~0|{}~1|{}~2|".format(*edges) for edges in product(EDGES, repeat=6)][1:],
    transnas: [
        code
        for n in (4, 5, 6)
        for code in product((1, 2, 3, 4), repeat=n)
        if 1 <= sum(m > 2 for m in code) <= 4 and 1 <= sum(m % 2 == 0 for m in code) <= 3
    ],
}


def table_of(adapter, names):
    rows = {name: {"quality": float(i), "macs": 1.0 + i} for i, name in enumerate(names)}
    return Table("made", adapter.SPACE, (quality("q"), METRICS["macs"]), adapter.network, adapter.example, rows)


@pytest.mark.parametrize("adapter", NAMES, ids=lambda module: module.__name__.rpartition(".")[2])
def test_each_network_has_one_genome_and_each_genome_a_network(adapter):
    names = NAMES[adapter][:: 1 if adapter is transnas else 5]
    assert [adapter.network(adapter.example(name)) for name in names] == names
    if adapter is transnas:
        assert len(names) == transnas.N_NETWORKS
    else:
        assert len(NAMES[adapter]) == adapter.SPACE.n_subnets
    table = table_of(adapter, NAMES[adapter])
    genomes = table.space.random(200, np.random.default_rng(0))
    found = [adapter.network(table.space.decode(genome)) for genome in genomes]
    assert set(found) <= set(NAMES[adapter])
    assert len(set(found)) == len(np.unique(genomes, axis=0))  # no network by two genomes
    assert (table.space.canonical(genomes) == genomes).all() and table.space.is_valid(genomes).all()


def test_a_search_may_move_anywhere_among_the_canonical_genomes():
    from evo_c2f.engine.variation import Variation

    table, rng = table_of(transnas, NAMES[transnas]), np.random.default_rng(0)
    genomes = table.space.random(40, rng)
    for stage in ("path", "operator", "joint"):
        children = Variation(table.space, stage).mutate(genomes, rng)
        assert (table.space.canonical(children) == children).all() and (children != genomes).any()


def test_graphs_have_nine_link_structures_and_names_of_the_package():
    pytest.importorskip("nas_bench_graph")
    from nas_bench_graph.architecture import Arch, link_list

    assert [list(links) for links in graph.LINKS] == link_list
    rng, seen = np.random.default_rng(0), set()
    for _ in range(300):
        drawn = Arch(link_list[rng.integers(9)], [str(name) for name in rng.choice(graph.OPERATORS, 4)])
        if set(drawn.ops) == {"skip"}:
            continue
        name = drawn.valid_hash()
        seen.add(name // 10**4)
        assert graph.network(graph.example(name)) == name
    assert seen == set(range(9))


def test_the_cost_of_a_backbone_is_that_of_torch():
    torch = pytest.importorskip("torch")
    from torch import nn

    code, n_macs = (2, 1, 4, 3), 0

    def conv(k, a, b, stride):
        return nn.Sequential(nn.Conv2d(a, b, k, stride, k // 2, bias=False), nn.BatchNorm2d(b))

    def count(module, x):
        nonlocal n_macs
        y = module(x)
        n_macs += module[0].weight.numel() * y.shape[2] * y.shape[3]
        parts.append(module)
        return y

    parts, width = [], 64
    x = count(conv(3, 3, 32, 2), torch.zeros(1, 3, 256, 256))
    x = count(conv(3, 32, 64, 2), x)
    for module in code:
        wide, stride = width * (2 if module in (2, 4) else 1), 2 if module in (3, 4) else 1
        short = count(conv(1, width, wide, stride), x) if module != 1 else x
        x = count(conv(3, wide, wide, 1), count(conv(3, width, wide, stride), x)) + short
        x = count(conv(3, wide, wide, 1), count(conv(3, wide, wide, 1), x)) + x
        width = wide
    params = sum(p.numel() for part in parts for p in part.parameters())
    assert transnas.costs(code) == {"macs": n_macs, "params": params}


@there
def test_the_best_of_nas_bench_macro_is_the_published_one():
    table = macro.read(PUBLIC, "FLOPs")
    assert table.values[:, 0].max() == pytest.approx(93.13, abs=0.005)  # MCT-NAS, table 1
    assert len(table.rows) == 6560 and table.names[int(table.values[:, 0].argmax())] == "22212220"


@there
@pytest.mark.parametrize(
    ("task", "best"),
    [("class_object", 47.42), ("jigsaw", 97.02), ("normal", 0.6435), ("autoencoder", 0.7488), ("room_layout", -0.5822)],
)
def test_the_best_of_transnas_is_that_of_its_file(task, best):
    table = transnas.read(PUBLIC, task)
    assert len(table.rows) == 3256 and table.values[:, 0].max() == pytest.approx(best, abs=0.005 * max(1, best / 10))


@there
def test_widths_explain_flops_of_the_channel_tables():
    table = channels.read(PUBLIC, "ResNet")
    assert len(table.rows) == 16383
    widest = table.rows["4444444"]
    assert all(row["macs"] <= widest["macs"] for row in table.rows.values())


@there
@pytest.mark.parametrize("kind", channels.FILES)
def test_the_best_of_the_channel_tables_is_that_of_their_file(kind):
    rows, table = json.loads((PUBLIC / channels.FILES[kind]).read_text()), channels.read(PUBLIC, kind)
    best = max(rows, key=lambda name: np.mean(rows[name]["acc"]))
    assert table.names[int(table.values[:, 0].argmax())] == best
    assert table.rows[table.network(table.example(best))]["macs"] == rows[best]["flops"]


@pytest.mark.parametrize("name", ["cora", "proteins"])
def test_the_front_of_a_graph_is_that_of_its_package(name, tmp_path):
    light_read = pytest.importorskip("nas_bench_graph").light_read
    theirs, table = light_read(name), graph.read(tmp_path, name)
    values = np.array([[-row["valid_perf"], row["latency"], row["para"]] for row in theirs.values()])
    front = {key for key, kept in zip(theirs, pareto.non_dominated(values), strict=True) if kept}
    assert {table.names[number] for number in table.front} == front


@there
def test_the_best_of_nas_bench_201_is_the_published_one():
    pytest.importorskip("pyarrow")
    table = cells.read(PUBLIC, "latency")
    assert table.values[:, 0].max() == pytest.approx(73.51, abs=0.005)  # CIFAR-100, the paper's optimum
    assert len(table.rows) == 15624
