"""Scores the networks of paths.csv and operators.csv with a run's shared weights, and fills their columns `shared`.

python results/quick-alone/shared.py RUN
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))  # started as a file, as cli.py is

from evo_c2f.runs.run import RunFolder  # noqa: E402
from evo_c2f.space import Stage  # noqa: E402
from evo_c2f.workers.machine import Machine  # noqa: E402
from evo_c2f.workflows.session import make_job  # noqa: E402

run = RunFolder.open(Path(sys.argv[1]))
job = make_job(run.recipe, Machine("cpu", threads=1), run=run)
space = job.space


def shared(stage: Stage, genomes: list[np.ndarray]) -> list[float]:
    """Their scores with the weights of a stage."""
    measure = job.measure(job.trained(run.weights_for(stage)), ["psnr_y"], run.recipe.search.output_size)
    return [measure([space.decode(space.canonical(genome[None])[0])])[0]["psnr_y"] for genome in genomes]


def on_path(digits: str) -> np.ndarray:
    """With the reference operator at full width; a digit a cell, 0 skips."""
    genome = space.reference.copy()
    genome[space.paths] = [int(digit) for digit in digits]
    return space.complete(genome[None], space.still_open("path"))[0]


def of_operator(operator: str, trunk: int) -> np.ndarray:
    """On the reference path, at the largest inner width."""
    genome = space.reference.copy()
    genome[space.blocks] = space.operators.index(operator)
    genome[space.trunks] = [widths.index(trunk) if trunk in widths else 0 for widths in space.widths.values()]
    return genome


paths = pd.read_csv(HERE / "paths.csv", dtype={"path": str})
paths["shared"] = np.round(shared("path", [on_path(path) for path in paths["path"]]), 4)
paths.to_csv(HERE / "paths.csv", index=False)
operators = pd.read_csv(HERE / "operators.csv")
pairs = zip(operators["operator"], operators["trunk"], strict=True)
operators["shared"] = np.round(shared("operator", [of_operator(*pair) for pair in pairs]), 4)
operators.to_csv(HERE / "operators.csv", index=False)
