"""NAS-Bench-Graph (arXiv 2206.09166): graph networks of 4 cells in one of 9 link structures, on nine graphs."""

from itertools import chain
from pathlib import Path

from evo_c2f.space import Architecture, Cell, SearchSpace
from evo_c2f.tables.reading import in_package, plain_pickle, reading
from evo_c2f.tables.table import LATENCY, PARAMS, WIDTH, Table, quality

PACKAGE = "nas_bench_graph"
GRAPHS = ("cora", "citeseer", "pubmed", "cs", "physics", "photo", "computers", "arxiv", "proteins")
OPERATORS = ("gat", "gcn", "gin", "cheb", "sage", "arma", "graph", "fc", "skip")  # the digits of a name after the first
FEW = ("gcn", "sage", "arma", "fc", "skip")  # those on proteins
# Each cell's input: 0 is the graph's features, i the output of cell i. A name's first digit.
LINKS = [(0, *i) for i in ((0, 0, 0), (0, 0, 1), (0, 1, 1), (0, 1, 2), (0, 1, 3), (1, 1, 1), (1, 1, 2), (1, 2, 2))]
LINKS += [(0, 1, 2, 3)]


def links(architecture: Architecture) -> tuple[list[int], list[str]]:
    """Each cell's input and operator. A cell's level is its depth in the tree of links: it takes the output of the last
    cell one level above it. A skipped cell is a shortcut in front of all. No network has shortcuts alone.
    """
    n_absent = 4 - len(architecture.cells)
    found, last = list(range(n_absent)), [n_absent]  # last: the last cell of each depth so far
    for number, cell in enumerate(architecture.cells, n_absent + 1):
        depth = min(cell.level, len(last))
        found.append(last[depth - 1])
        last[depth:] = [number]
    names = ["skip"] * n_absent + [cell.operator for cell in architecture.cells]
    return found, names if {*names} != {"skip"} else [*names[:-1], "gcn"]


def network(architecture: Architecture) -> int:
    from nas_bench_graph.architecture import Arch

    arch = Arch(*links(architecture)).regularize()
    arch.move_skip_op()
    arch.equalpart_sort()
    return int(arch.hash_arch())


def example(name: int) -> Architecture:
    """An architecture of that name: its cells depth first, the smallest branch first, so that no level is left out."""
    structure, *digits = map(int, f"{name:05d}")
    inputs, operators, first = LINKS[structure], [OPERATORS[digit] for digit in digits], 0
    while operators[first] == "skip" and inputs.count(first) == 1:
        first += 1

    def walk(cell: int, depth: int) -> list[tuple[int, int]]:
        branches = [walk(number, depth + 1) for number, above in enumerate(inputs, 1) if above == cell]
        return [(cell, depth), *chain(*sorted(branches, key=len))]

    cells = [Cell(i, depth, operators[cell - 1], WIDTH) for i, (cell, depth) in enumerate(walk(first, 0)[1:], first)]
    return Architecture(tuple(cells), tuple((level, WIDTH) for level in sorted({cell.level for cell in cells})))


def read(folder: Path, graph: str) -> Table:
    """Validation accuracy against measured latency and parameters. The file lies in `folder`, or in the package."""
    packed, mine = in_package(PACKAGE, "light", f"{graph}.bench"), folder / f"{graph}.bench"
    path = mine if mine.is_file() else packed
    with reading(path):
        rows = {
            name: {"quality": 100 * row["valid_perf"], "latency_ms": 1e3 * row["latency"], "params": 1e6 * row["para"]}
            for name, row in plain_pickle(path).items()
        }
    widths: dict[int, tuple[int, ...]] = {level: (WIDTH,) for level in range(1, 5)}
    space = SearchSpace(4, widths, FEW if graph == "proteins" else OPERATORS, (1.0,), (1, 2, 3, 4), "gcn")
    objectives = (quality("validation accuracy (%)"), LATENCY, PARAMS)
    return Table(f"NAS-Bench-Graph, {graph}", space, objectives, network, example, rows)
