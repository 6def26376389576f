"""Coarse-to-fine evolutionary search: spaces, scores, NSGA-II in stages, and their analysis. No torch."""

from typing import Any

from evo_c2f._version import __version__

__all__ = ["__version__", "load_scores"]


def __getattr__(name: str) -> Any:
    # pandas is loaded when it is first asked for: the search itself does without.
    if name == "load_scores":
        from evo_c2f.scores.analysis import load_scores

        return load_scores
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
