"""Tables for people: a front on the terminal, a comparison as Markdown."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table


def front_table(rows: Sequence[dict[str, Any]]) -> Table:
    """A front: ids, metrics, and the path with one sign a cell (a level, or . for a skip)."""
    metrics = [name for name, value in rows[0].items() if isinstance(value, float)]
    table = Table()
    for name in ("id", *metrics, "path"):
        table.add_column(name, no_wrap=True, justify="right" if name in metrics else "left")
    for row in rows:
        path = "".join(value.replace("skip", ".") for name, value in row.items() if name.startswith("path_"))
        table.add_row(row["id"], *(in_short(row[name]) for name in metrics), path)
    return table


def in_short(value: float) -> str:
    """Four or five digits, with k, M or G for thousands, millions or milliards."""
    for unit, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= unit:
            return f"{value / unit:.4g}{letter}"
    return f"{value:.5g}"


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a Markdown table; a figure that a row lacks stays empty, lists are left out."""
    names = [
        n
        for n in dict.fromkeys(name for row in rows for name in row)
        if not any(isinstance(r.get(n), list) for r in rows)
    ]
    lines = [names, ["---"] * len(names)]
    for row in rows:
        values = (row.get(name, "") for name in names)
        lines.append([in_short(v) if isinstance(v, int | float) else str(v) for v in values])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
