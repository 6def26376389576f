"""Plugins: outside modules that add operators, objectives and datasets, and how they are found.

A plugin is a Python module that uses the functions below when it is imported. It is named by `--plugin`, or listed by
an installed package under the entry points `evo_c2f.plugins`. A run's files never name one, since they may come from
others.
"""

import os
import sys
from collections.abc import Callable, Iterable
from functools import partial
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal, TypeVar

from evo_c2f.errors import InputError
from evo_c2f.objectives.metric import METRICS, Metric
from supernet.batches import degradation as degradations
from supernet.data import pair_data, photographs
from supernet.data.images import Pixels
from supernet.metrics import tasks
from supernet.network import cost
from supernet.network.operators import OPERATORS, Operator
from supernet.teachers.found import PLUGGED, Network

GROUP = "evo_c2f.plugins"

Made = TypeVar("Made")
Images = Callable[[], Iterable[tuple[str, Pixels]]]
Pairs = Callable[[], Path]


def operator(name: str) -> Callable[[type[Operator]], type[Operator]]:
    """Decorates an `Operator`, which `space.operators` may then name. If it computes otherwise, change its name."""
    return lambda made: _add(OPERATORS, name, made, "operator")


def quality(name: str, better: Literal["lower", "higher"], label: str) -> Callable[[tasks.Metric], tasks.Metric]:
    """Decorates a metric of (output, target), each (b, 3, h, w) in 0..1 without the unjudged border -> (b,)."""

    def add(made: tasks.Metric) -> tasks.Metric:
        _add(METRICS, name, Metric(name, better, "quality", label), "metric")
        return _add(tasks.OTHERS, name, made, "metric")

    return add


def price(name: str, label: str) -> Callable[[cost.Price], cost.Price]:
    """Decorates a cost of (architecture, frame, (height, width) of the output) -> float; lower is better."""

    def add(made: cost.Price) -> cost.Price:
        _add(METRICS, name, Metric(name, "lower", "cost", label), "metric")
        return _add(cost.OTHERS, name, made, "metric")

    return add


def images(name: str) -> Callable[[Images], Images]:
    """Decorates a source of photographs, (name, pixels (h, w, c)), which `data.folder` may then name."""
    return lambda made: _add(photographs.SOURCES, name, made, "dataset")


def degradation(name: str) -> Callable[[degradations.Degradation], degradations.Degradation]:
    """Decorates a function of (photograph (h, w, c), scale, numpy's Generator) -> its input (h / scale, w / scale, c),
    of the same numbers, which `data.degradation.plugin` may then name. All its draws must come from the Generator.
    """
    return lambda made: _add(degradations.OTHERS, name, made, "degradation")


def pairs(name: str) -> Callable[[Pairs], Pairs]:
    """Decorates a function that returns (and makes, if missing) an aligned folder, which `data.folder` may name."""
    return lambda made: _add(pair_data.SOURCES, name, made, "dataset")


def teacher(name: str) -> Callable[[Callable[[], Network]], Callable[[], Network]]:
    """Decorates a function that returns a module or function (1, 3, h, w) -> image, which `--teacher` may then name."""
    return lambda made: _add(PLUGGED, name, made, "teacher")


def load(modules: Iterable[str]) -> None:
    """Import the installed plugins and the named ones: modules, or .py files. InputError if one can't be imported."""
    for point in entry_points(group=GROUP):
        _imported(point.value, point.load)
    for module in modules:
        path = Path(module)
        if path.suffix == ".py":
            if not path.is_file():
                raise InputError(f"plugin {path} does not exist")
            sys.path.insert(0, str(path.parent.absolute()))  # worker processes get the same
        name = path.stem if path.suffix == ".py" else module
        _imported(module, partial(import_module, name))
        if path.suffix == ".py" and not path.samefile(getattr(sys.modules[name], "__file__", None) or os.devnull):
            raise InputError(f"plugin {path} is named like another module, {name}; rename it")


def _imported(name: str, load: Callable[[], object]) -> None:
    try:
        load()
    except InputError:
        raise
    except Exception as error:  # whatever somebody's module does
        raise InputError(f"plugin {name} can't be imported: {type(error).__name__}: {error}") from error


def _add(table: dict[str, Any], name: str, made: Made, kind: str) -> Made:
    if name in table:
        raise InputError(f"{kind} {name!r} is there already; the plugin must choose another name")
    table[name] = made
    return made
