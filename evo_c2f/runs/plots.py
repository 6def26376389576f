"""Pictures of a run."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from evo_c2f.files import replacing
from evo_c2f.objectives.metric import Metric
from evo_c2f.scores.analysis import Frame


def draw_front(
    everything: Frame,
    front: Frame,
    objectives: tuple[Metric, ...],
    baseline: Mapping[str, float],
    widest: Mapping[str, float],
    title: str,
    path: Path,
) -> None:
    """Write a PNG of all subnets so far, the stage's front, the baseline and the widest subnet.

    The first objective is the vertical axis, the second the horizontal one.
    """
    y, x = objectives[:2]
    figure = Figure(figsize=(7, 4.5), dpi=130)
    axes = figure.add_axes((0.12, 0.12, 0.85, 0.81))  # matplotlib's own layout would take as long as all the rest
    searched = everything[everything["stage"] != "reference"]
    for stage, rows in searched.groupby("stage", sort=False):
        axes.scatter(rows[x.name], rows[y.name], s=10, alpha=0.45, linewidths=0, label=f"{stage}: {len(rows)} subnets")
    ordered = front.sort_values(x.name)
    axes.plot(ordered[x.name], ordered[y.name], "ok-", ms=4, lw=1, drawstyle="steps-post", label="front")
    axes.plot(widest[x.name], widest[y.name], "D", color="tab:red", label="widest subnet")
    if y.name in baseline:
        axes.axhline(baseline[y.name], color="tab:red", linestyle="--", linewidth=1, label="baseline at no cost")
    axes.set(title=title, xlabel=x.label, ylabel=y.label)
    if x.kind != "quality":
        axes.set_xscale("log")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="lower right")
    save_figure(figure, path)


def draw_ranking(frame: Frame, alone: str, scores: Sequence[str], path: Path) -> None:
    """Write a PNG: quality after training alone (vertical) against each score; coloured by MACs, choices hollow."""
    figure = Figure(figsize=(4 * len(scores), 3.8), dpi=110, layout="constrained")
    for axes, score in zip(figure.subplots(1, len(scores), squeeze=False)[0], scores, strict=True):
        for held_out, rows in frame.groupby("held_out"):
            marker = "o" if held_out else "x"
            points = axes.scatter(rows[score], rows[alone], c=rows["macs"], norm="log", s=18, marker=marker, lw=0.8)
        axes.set(title=score, xlabel="with the supernet's weights (dB)", ylabel="trained alone (dB)")
        axes.grid(alpha=0.3)
    figure.colorbar(points, label="MACs")
    save_figure(figure, path)


def draw_operators(frame: Frame, alone: Sequence[str], path: Path) -> None:
    """Write a PNG: quality against MACs of each operator's networks, by training alone and by shared weights."""
    figure = Figure(figsize=(4 * (len(alone) + 1), 3.8), dpi=110, layout="constrained")
    panels = figure.subplots(1, len(alone) + 1)
    for axes, column in zip(panels, (*alone, "shared"), strict=True):
        for (name, rows), marker in zip(frame.groupby("operator", sort=False), cycle("osD^v<>PX*"), strict=False):
            axes.plot(rows["macs"] / 1e9, rows[column], marker=marker, ms=4, lw=0.8, label=name)
        axes.set(title=column.replace("alone_", "alone, rounds: "), xlabel="GMACs", xscale="log")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("quality, higher is better")
    panels[-1].legend(fontsize=6)
    save_figure(figure, path)


def draw_curves(frame: Frame, goal: float, path: Path) -> None:
    """Write a PNG: hypervolume against evaluations, each strategy's median and quartiles over its seeds."""
    figure = Figure(figsize=(7, 4.5), dpi=120, layout="constrained")
    axes = figure.subplots()
    for name, rows in frame.groupby("strategy", sort=False):
        quartiles = rows.groupby("evaluations")["hypervolume"].quantile(np.array([0.25, 0.5, 0.75])).unstack()
        (line,) = axes.plot(quartiles.index, quartiles[0.5], lw=1.5, label=name)
        axes.fill_between(quartiles.index, quartiles[0.25], quartiles[0.75], color=line.get_color(), alpha=0.15, lw=0)
    axes.axhline(goal, color="black", lw=0.8, ls="--")
    axes.set(xlabel="distinct subnets asked for", ylabel="hypervolume")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, loc="lower right")
    save_figure(figure, path)


def save_figure(figure: Figure, path: Path) -> None:
    with replacing(path) as partial:
        figure.savefig(partial)
