"""Coarse-to-fine evolutionary search of small image generators; exports what a notebook needs."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from evo_c2f._version import __version__

if TYPE_CHECKING:
    from evo_c2f.api import Model, Run, load_model, load_run, search
    from evo_c2f.scores.analysis import load_scores
    from evo_c2f.workers.machine import Machine

__all__ = ["Machine", "Model", "Run", "__version__", "load_model", "load_run", "load_scores", "search"]

# Loaded on first use: the command line starts without pandas.
HOMES = {
    "Machine": "evo_c2f.workers.machine",
    "Model": "evo_c2f.api",
    "Run": "evo_c2f.api",
    "load_model": "evo_c2f.api",
    "load_run": "evo_c2f.api",
    "load_scores": "evo_c2f.scores.analysis",
    "search": "evo_c2f.api",
}


def __getattr__(name: str) -> Any:
    if name in HOMES:
        return getattr(import_module(HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
