"""NAS-Bench-Macro (arXiv 2103.11922): 8 layers on CIFAR-10, each absent or one of two operators."""

from pathlib import Path

from evo_c2f.space import Architecture, SearchSpace
from evo_c2f.tables.reading import json_table, reading
from evo_c2f.tables.table import MACS, PARAMS, WIDTH, Table, one_level, quality

FILE = "nas-bench-macro_cifar10.json"
OPERATORS = ("MB3_K3", "MB6_K5")  # digits 1 and 2; 0 is an absent layer
SPACE = SearchSpace(8, {1: (WIDTH,)}, OPERATORS, (1.0,), (1,) * 8, "MB6_K5")
COSTS = {"FLOPs": MACS, "parameters": PARAMS}


def network(architecture: Architecture) -> str:
    digits = ["0"] * SPACE.n_cells
    for cell in architecture.cells:
        digits[cell.position] = str(1 + OPERATORS.index(cell.operator))
    return "".join(digits)


def example(name: str) -> Architecture:
    return one_level({i: (OPERATORS[int(digit) - 1], WIDTH) for i, digit in enumerate(name) if digit != "0"})


def read(folder: Path, cost: str) -> Table:
    """Accuracy, the mean of three trainings, against a cost. Without the network that has no layer at all."""
    path = folder / FILE
    with reading(path):
        rows = {
            name: {"quality": float(row["mean_acc"]), "macs": float(row["flops"]), "params": float(row["params"])}
            for name, row in json_table(path).items()
            if name.strip("0")
        }
        if len(rows) != SPACE.n_subnets:
            raise ValueError(f"it holds {len(rows)} networks, not {SPACE.n_subnets}")
    objectives = (quality("accuracy (%)"), COSTS[cost])
    return Table(f"NAS-Bench-Macro, {cost}", SPACE, objectives, network, example, rows)
