"""A measure that is a plain function of the architecture: costs and a quality without a network."""

from math import sqrt

NAMES = ("psnr_y", "macs", "params", "size_mb")


def cell_cost(cell, width):
    """(parameters, MACs a position). Which operator is cheapest depends on the width, and on the metric."""
    if cell.operator == "thin":
        return 40 * cell.inner, 10 * cell.inner
    factor = {"dense": 1, "deep": 2}[cell.operator]
    return factor * width * cell.inner, factor * width * cell.inner


def cost_of(architecture):
    """Static costs that add up over the parts and grow with every width."""
    params = sum(27 * width for _, width in architecture.widths)
    macs = sum(27 * width * 4 ** (4 - level) for level, width in architecture.widths)
    for cell in architecture.cells:
        cell_params, cell_macs = cell_cost(cell, architecture.width(cell.level))
        params, macs = params + cell_params, macs + cell_macs * 4 ** (4 - cell.level)
    return {"params": float(params), "macs": float(macs), "size_mb": 4 * params / 1e6}


def quality_of(architecture):
    """Grows with width, at less and less return; a later cell does a little more. Square roots: exact everywhere."""
    gain = {"dense": 1.0, "thin": 1.1, "deep": 1.3}
    cells = architecture.cells
    parts = [gain[c.operator] * sqrt(architecture.width(c.level) * c.inner) + c.position / 8 for c in cells]
    return 25 + sqrt(sum(parts)) / 4 + len({c.level for c in cells}) / 8


def measure_each(architectures):
    return [{"psnr_y": quality_of(a), **cost_of(a)} for a in architectures]
