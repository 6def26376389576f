"""NAS-Bench-201 (arXiv 2001.00326) with latency and energy measured on a Raspberry Pi 5 (HW-NAS-Bench-360)."""

from pathlib import Path

from evo_c2f.space import Architecture, SearchSpace
from evo_c2f.tables.reading import csv_table, parquet_table, reading
from evo_c2f.tables.table import ENERGY, LATENCY, WIDTH, Table, one_level, quality

FILE, MEASURED = "nas-bench-201.csv", "hw-nas-bench-360.parquet"
KERNELS = {"skip_connect": 0, "nor_conv_1x1": 1, "nor_conv_3x3": 3, "avg_pool_3x3": 0}
# A cell of the space is an edge of the table's one cell; a skipped one is the table's operator `none`.
SPACE = SearchSpace(6, {1: (WIDTH,)}, tuple(KERNELS), (1.0,), (1,) * 6, "nor_conv_3x3")
COSTS = {"latency": (LATENCY, "lat_ms_median"), "energy": (ENERGY, "energy_mj")}


def network(architecture: Architecture) -> str:
    names = ["none"] * SPACE.n_cells
    for cell in architecture.cells:
        names[cell.position] = cell.operator
    return "|{}~0|+|{}~0|{}~1|+|{}~0|{}~1|{}~2|".format(*names)


def example(name: str) -> Architecture:
    edges = [edge.partition("~")[0] for edge in name.replace("+", "").split("|") if edge]
    return one_level({i: (edge, WIDTH) for i, edge in enumerate(edges) if edge != "none"})


def costs(name: str) -> dict[str, float]:
    """MACs and parameters of the convolutions in all 15 cells, by the published definition (16, 32, 64 channels)."""
    weights = sum(kernel**2 * name.count(operator) for operator, kernel in KERNELS.items())
    return {"macs": 1.0 + 15 * 512**2 * weights, "params": 1.0 + 5 * (16**2 + 32**2 + 64**2) * weights}


def read(folder: Path, cost: str) -> Table:
    """Test accuracy on CIFAR-100 against latency or energy (LiteRT). Without the cell that has no edge."""
    metric, column = COSTS[cost]
    path, measured = folder / FILE, folder / MEASURED
    with reading(path), reading(measured):
        names = [row["ArchitectureString"] for row in csv_table(path)]
        where = {"device": "pi5", "framework": "litert", "task": "cifar100", "status": "ok"}
        found = {names[row["arch_idx"]]: row for row in parquet_table(measured, where)}
        rows = {
            name: {"quality": float(row["accuracy"]), metric.name: float(row[column]), **costs(name)}
            for name, row in found.items()
            if name != network(Architecture((), ()))
        }
        if len(rows) != SPACE.n_subnets:
            raise ValueError(f"it holds {len(rows)} networks, not {SPACE.n_subnets}")
    objectives = (quality("accuracy on CIFAR-100 (%)"), metric)
    return Table(f"NAS-Bench-201, {cost}", SPACE, objectives, network, example, rows)
