"""Channel-Bench-Macro: 7 layers on CIFAR-10, each of one of four widths, as a ResNet and as a MobileNet."""

from pathlib import Path

from evo_c2f.space import Architecture, SearchSpace
from evo_c2f.tables.reading import json_table, reading
from evo_c2f.tables.table import MACS, WIDTH, Table, one_level, quality

FILES = {"ResNet": "channel-bench-macro_resnet.json", "MobileNet": "channel-bench-macro_mobilenet.json"}
# A path is where the network is wide at all: a skipped cell has the narrowest width, digit 1.
SPACE = SearchSpace(7, {1: (WIDTH,)}, ("layer",), (0.5, 0.75, 1.0), (1,) * 7, "layer")


def network(architecture: Architecture) -> str:
    digits = ["1"] * SPACE.n_cells
    for cell in architecture.cells:
        digits[cell.position] = str(4 * cell.inner // WIDTH)
    return "".join(digits)


def example(name: str) -> Architecture:
    return one_level({i: ("layer", int(digit) * WIDTH // 4) for i, digit in enumerate(name) if digit != "1"})


def read(folder: Path, kind: str) -> Table:
    """Accuracy, the mean of three trainings, against FLOPs. Without the network that is narrow everywhere."""
    path = folder / FILES[kind]
    with reading(path):
        rows = {
            name: {"quality": float(row["mean"]), "macs": float(row["flops"]), "params": float(row["params"])}
            for name, row in json_table(path).items()
            if name.strip("1")
        }
        if len(rows) != SPACE.n_subnets:
            raise ValueError(f"it holds {len(rows)} networks, not {SPACE.n_subnets}")
    objectives = (quality("accuracy (%)"), MACS)
    return Table(f"Channel-Bench-Macro, {kind}", SPACE, objectives, network, example, rows)
