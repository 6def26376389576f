"""Tables for people: a front on the terminal, a comparison as Markdown."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from rich.console import Console
from rich.table import Table

from evo_c2f.objectives.metric import FULL, METRICS


def print_front(console: Console, rows: Sequence[dict[str, Any]]) -> None:
    """Print a front as a table that fits the console; columns without room are named below it."""
    metrics = [name for name in rows[0] if any(isinstance(row[name], float) for row in rows)]
    left_out: list[str] = []
    # No figure is cut. First goes what a column of the whole images tells better, then what follows from the genome.
    for name in (*sorted(metrics, key=partial(_loss, metrics)), None):
        table = front_table(rows, [m for m in metrics if m not in left_out])
        if console.measure(table, options=console.options.update(width=ANY)).maximum <= console.width or name is None:
            break
        left_out.append(name)
    console.print(table)
    if left_out:
        named = ", ".join(name for name in metrics if name in left_out)
        console.print(f"no room for {named}: a wider terminal, --json or 'front --csv FILE' shows all", style="italic")


ANY = 10_000  # columns: more than any table has


def _loss(metrics: Sequence[str], name: str) -> tuple[int, int]:
    """How much is lost with a metric's column: those that are left out first come first."""
    static = name in METRICS and METRICS[name].kind == "static cost"
    # What a search is for stands before the rest.
    return 0 if name + FULL in metrics else 1 if static else 2, -metrics.index(name)


def front_table(rows: Sequence[dict[str, Any]], metrics: Sequence[str]) -> Table:
    """A front: ids, metrics, and the path with one character a cell (a level, or . for a skip)."""
    table = Table()
    table.add_column("id", no_wrap=True)
    for name in metrics:
        table.add_column(name, no_wrap=True, justify="right")
    table.add_column("path", overflow="fold")
    for row in rows:
        path = "".join(value.replace("skip", ".") for name, value in row.items() if name.startswith("path_"))
        table.add_row(row["id"], *(in_short(row[name]) for name in metrics), path)
    return table


def in_short(value: float | None) -> str:
    """Four or five digits, with k, M or G for thousands, millions or billions; a dash if there is no figure."""
    if value is None:
        return "–"
    for unit, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= unit:
            return f"{value / unit:.4g}{letter}"
    return f"{value:.5g}"


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a Markdown table; missing figures stay empty, lists are left out."""
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
