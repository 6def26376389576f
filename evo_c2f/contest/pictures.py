"""Pictures of the contest."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from evo_c2f.contest.outcome import AFTER
from evo_c2f.runs.plots import save_figure

Band = tuple[float, float, float]  # a median and its interval


def draw_curves(curves: Mapping[str, Mapping[str, Sequence[Band]]], path: Path) -> None:
    """Write a PNG: share of the attainable hypervolume against networks. curves: table -> contestant -> its bands."""
    figure = Figure(figsize=(6 * len(curves), 4.6), dpi=110, layout="constrained")
    for axes, (table, contestants) in zip(
        figure.subplots(1, len(curves), squeeze=False)[0], curves.items(), strict=True
    ):
        for name, bands in contestants.items():
            middle, low, high = np.array(bands).T
            (line,) = axes.plot(AFTER[: len(bands)], middle, lw=1.4, label=name)
            axes.fill_between(AFTER[: len(bands)], low, high, color=line.get_color(), alpha=0.15, lw=0)
        axes.axhline(0.95, color="black", lw=0.8, ls="--")
        axes.set(title=table, xlabel="networks", ylabel="share of the attainable hypervolume", ylim=(0.5, 1.005))
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7, loc="lower right")
    save_figure(figure, path)


def draw_gains(points: Mapping[str, tuple[float, Band]], path: Path) -> None:
    """Write a PNG. points: table -> (share of the variance that paths explain, lead over joint and its interval)."""
    figure = Figure(figsize=(7, 4.6), dpi=110, layout="constrained")
    axes = figure.subplots()
    for name, (explained, (lead, low, high)) in points.items():
        axes.errorbar(explained, lead, [[lead - low], [high - lead]], fmt="o", ms=4, lw=1)
        axes.annotate(name, (explained, lead), fontsize=5, xytext=(3, 3), textcoords="offset points")
    axes.axhline(0, color="black", lw=0.8)
    axes.set(xlabel="share of the quality's variance that paths explain", ylabel="final share, minus that of joint")
    axes.grid(alpha=0.3)
    save_figure(figure, path)


def draw_noise(lines: Mapping[str, Sequence[tuple[float, Band]]], path: Path) -> None:
    """Write a PNG. lines: name -> (tau of the scores, true share of the front that was found, with its interval)."""
    figure = Figure(figsize=(7, 4.6), dpi=110, layout="constrained")
    axes = figure.subplots()
    for name, points in lines.items():
        taus, bands = [tau for tau, _ in points], np.array([band for _, band in points])
        (line,) = axes.plot(taus, bands[:, 0], "o-", ms=4, lw=1.4, label=name)
        axes.fill_between(taus, bands[:, 1], bands[:, 2], color=line.get_color(), alpha=0.15, lw=0)
    axes.set(xlabel="tau of the scores", ylabel="share of the attainable hypervolume, by true quality")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, loc="lower right")
    save_figure(figure, path)
