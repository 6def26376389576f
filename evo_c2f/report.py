"""Pictures of a run."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from evo_c2f.analysis import Frame
from evo_c2f.objective import Metric


def draw_front(
    everything: Frame,
    front: Frame,
    objectives: tuple[Metric, ...],
    baseline: Mapping[str, float],
    widest: Mapping[str, float],
    title: str,
    path: Path,
) -> None:
    """All subnets so far, the stage's front, the trivial baseline and the widest subnet, as PNG.

    The first objective is drawn upwards and the second to the right.
    """
    y, x = objectives[:2]
    figure = Figure(figsize=(7, 4.5), dpi=130, layout="constrained")
    axes = figure.subplots()
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
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
