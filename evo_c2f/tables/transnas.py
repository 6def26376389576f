"""TransNAS-Bench-101 (arXiv 2105.11871), macro: 4 to 6 modules that halve the resolution or double the channels."""

import ast
from pathlib import Path

from evo_c2f.space import Architecture, Cell, SearchSpace
from evo_c2f.tables.reading import reading, zipped_json
from evo_c2f.tables.table import MACS, WIDTH, Table, quality

FILE = "transnas-bench-101_macro.zip"
TASKS = {"autoencoder": "SSIM", "normal": "SSIM", "room_layout": "negative loss"}
TASKS |= dict.fromkeys(("segmentsemantic", "class_object", "class_scene", "jigsaw"), "accuracy (%)")
N_NETWORKS = 3256
MODULES, HALVINGS, DOUBLINGS = 4, 4, 3  # at least; 1 to; 1 to
# A path has one cell a module; level 2 halves the resolution. A skipped cell is an absent module.
SPACE = SearchSpace(6, {1: (WIDTH,), 2: (WIDTH,)}, ("keep", "double"), (1.0,), (1,) * 6, "double")


def network(architecture: Architecture) -> tuple[int, ...]:
    """The modules' codes, each 1 plus 1 if it doubles the channels plus 2 if it halves the resolution.

    What would break a bound of the table is left out: a third absent module, a fifth halving, a fourth doubling; where
    there is none at all, the last module does it.
    """
    cells = {cell.position: cell for cell in architecture.cells}
    absent = [i for i in range(SPACE.n_cells) if i not in cells][: SPACE.n_cells - MODULES]
    modules = [cells.get(i) for i in range(SPACE.n_cells) if i not in absent]
    halves = _bounded([bool(cell and cell.level == 2) for cell in modules], HALVINGS)
    doubles = _bounded([bool(cell and cell.operator == "double") for cell in modules], DOUBLINGS)
    return tuple(1 + double + 2 * half for half, double in zip(halves, doubles, strict=True))


def _bounded(marks: list[bool], most: int) -> list[bool]:
    kept = [mark and sum(marks[:i]) < most for i, mark in enumerate(marks)]
    return kept if any(kept) else [*kept[1:], True]


def example(code: tuple[int, ...]) -> Architecture:
    """An architecture of that code; its absent modules come last."""
    levels = [1 + (module > 2) for module in code]
    names = ["keep" if module % 2 else "double" for module in code]
    cells = [Cell(i, level, name, WIDTH) for i, (level, name) in enumerate(zip(levels, names, strict=True))]
    return Architecture(tuple(cells), tuple((level, WIDTH) for level in sorted({*levels})))


def costs(code: tuple[int, ...]) -> dict[str, float]:
    """MACs and parameters of the backbone for 256x256 pixels: computed by the published definition, since the table
    doesn't tell them.

    A stem of two 3x3 convolutions of stride 2 to 64 channels; two residual blocks of two 3x3 convolutions a module;
    a 1x1 convolution where a block changes its input's shape. Each convolution has a batch norm.
    """
    convolutions = [(3, 3, 32, 128), (3, 32, 64, 64)]  # kernel, channels in and out, side of the output
    channels, side = 64, 64
    for module in code:
        wide, small = channels * (2 - module % 2), side // (2 if module > 2 else 1)
        if module > 1:
            convolutions.append((1, channels, wide, small))
        convolutions += [(3, channels, wide, small), *[(3, wide, wide, small)] * 3]
        channels, side = wide, small
    weights = [k * k * a * b for k, a, b, _ in convolutions]
    macs = sum(w * s * s for w, (_, _, _, s) in zip(weights, convolutions, strict=True))
    return {"macs": float(macs), "params": float(sum(weights) + sum(2 * b for _, _, b, _ in convolutions))}


def read(folder: Path, task: str) -> Table:
    """A task's quality against the backbone's MACs."""
    path = folder / FILE
    with reading(path):
        found = {ast.literal_eval(row["arch"]): float(row["val_accuracy"]) for row in zipped_json(path, f"--{task}--")}
        if len(found) != N_NETWORKS:
            raise ValueError(f"it holds {len(found)} networks of {task}, not {N_NETWORKS}")
        rows = {code: {"quality": value, **costs(code)} for code, value in found.items()}
    return Table(f"TransNAS-Bench-101, {task}", SPACE, (quality(TASKS[task]), MACS), network, example, rows)
