"""Draws docs/fairness.png: the updates of every choice in a run's ledger, and of as many subnets drawn uniformly.

python docs/fairness.py [RUN] [PICTURE]
"""

import json
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from evo_c2f.files import replacing
from evo_c2f.runs.recipe import load_run
from supernet.rounds.fairness import Ledger
from supernet.rounds.sampling import uniform

HERE = Path(__file__).parent
FAIR, UNIFORM = "#0072B2", "#D55E00"  # of Okabe and Ito, told apart by the colour-blind


def ledgers(run: Path) -> dict[str, Ledger]:
    """The ledger of the run's first training, and that of as many subnets drawn uniformly from the same space."""
    recipe = load_run(run / "recipe.yaml")
    fair, drawn = Ledger(recipe.space), Ledger(recipe.space)
    fair.restore(json.loads((run / "ledger.json").read_text(encoding="utf-8"))["joint"])
    n_subnets = int(fair.counts["path"][0].sum())
    drawn.record(uniform(recipe.space, n_subnets, np.random.default_rng(recipe.seed)))
    return {f"fair: {fair.rounds:,} rounds": fair, f"uniform: {n_subnets:,} subnets": drawn}


def in_words(ledger: Ledger) -> str:
    """The spread of the counts: of a cell's paths, and of the operators at a place."""
    spreads = [int(np.ptp(ledger.counts[name], axis=-1).max()) for name in ("path", "operator")]
    return "at most {} updates apart in a cell's paths, {} in a place's operators".format(*spreads)


def draw(found: dict[str, Ledger], path: Path) -> None:
    """A PNG: left the choices of path of each cell, right the operators of every place, in order."""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for (title, ledger), colour in zip(found.items(), (FAIR, UNIFORM), strict=True):
        paths, operators = ledger.counts["path"], np.sort(ledger.counts["operator"].ravel())
        cells, mark = np.arange(len(paths)), "o" if colour == FAIR else "x"
        left.plot(cells, paths, mark, color=colour, label=title)
        right.plot(operators, color=colour, label=title)
    left.set(xlabel="cell", ylabel="updates", title="of skip and of each level, in each cell", ylim=(0, None))
    right.set(xlabel="operators of all places, in order", title="of each operator at each place", ylim=(0, None))
    handles, labels = right.get_legend_handles_labels()
    right.legend(handles, labels, frameon=False, loc="lower right")
    with replacing(path) as partial:
        figure.savefig(partial, dpi=110)


def main(run: Path, picture: Path) -> None:
    found = ledgers(run)
    for title, ledger in found.items():
        print(f"{title}: {in_words(ledger)}")
    draw(found, picture)


if __name__ == "__main__":
    given = [Path(word) for word in sys.argv[1:3]]
    main(*[*given, *[HERE.parent / "results" / "openmoji", HERE / "fairness.png"][len(given) :]])
