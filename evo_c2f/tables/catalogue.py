"""The tables that the contest knows, and where their files are had."""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

from evo_c2f.errors import InputError
from evo_c2f.tables import cells, channels, graph, macro, transnas
from evo_c2f.tables.reading import in_package
from evo_c2f.tables.table import Table

READERS: dict[str, Callable[[Path], Table]] = {
    **{f"NAS-Bench-Macro, {cost}": partial(macro.read, cost=cost) for cost in macro.COSTS},
    **{f"TransNAS-Bench-101, {task}": partial(transnas.read, task=task) for task in transnas.TASKS},
    **{f"Channel-Bench-Macro, {kind}": partial(channels.read, kind=kind) for kind in channels.FILES},
    **{f"NAS-Bench-Graph, {name}": partial(graph.read, graph=name) for name in graph.GRAPHS},
    **{f"NAS-Bench-201, {cost}": partial(cells.read, cost=cost) for cost in cells.COSTS},
}
# The files of each family, and where they come from.
FILES = {
    "NAS-Bench-Macro": ((macro.FILE,), "github.com/xiusu/NAS-Bench-Macro"),
    "TransNAS-Bench-101": ((transnas.FILE,), "github.com/automl/NASLib, branch experiments"),
    "Channel-Bench-Macro": ((*channels.FILES.values(),), "github.com/xiusu/Channel-Bench-Macro"),
    "NAS-Bench-201": (
        (cells.FILE, cells.MEASURED),
        "github.com/v-tao/nats-bench-landscape and github.com/roldebijvank/HW-NAS-Bench-360",
    ),
}


def family(name: str) -> str:
    return name.partition(",")[0]


def is_there(folder: Path, name: str) -> bool:
    """Whether the files of a table lie in the folder, or in its package."""
    if family(name) in FILES:
        return all((folder / file).is_file() for file in FILES[family(name)][0])
    try:
        return in_package(graph.PACKAGE).is_dir()
    except InputError:
        return False


def available(folder: Path) -> list[str]:
    """The tables whose files are there. InputError if there are none."""
    found = [name for name in READERS if is_there(folder, name)]
    if not found:
        told = "; ".join(f"{', '.join(files)} from {source}" for files, source in FILES.values())
        raise InputError(f"{folder} holds no table; put there {told}; or run 'pip install nas-bench-graph'")
    return found


@cache
def load(folder: Path, name: str) -> Table:
    """A table, read once in a process."""
    return READERS[name](folder)
