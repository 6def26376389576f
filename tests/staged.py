"""A run searched stage by stage with a screen, by a measure that trees predict better than lines.

A small module, as Ray's workers import it.
"""

import random
from dataclasses import replace
from math import log

from made_up import NAMES, cost_of, quality_of

from evo_c2f.runs import recipe
from evo_c2f.runs.run import RunFolder
from evo_c2f.runs.stage import Instruments, run_stage
from evo_c2f.scores.layout import Context
from evo_c2f.space import STAGES
from evo_c2f.workers.processes import Here

SPACE = ("space.operators=[dense, thin, deep]", "space.reference_operator=dense")
BASELINE = {"psnr_y": 25.0, "psnr_y_full": 24.0}
BUDGETS = (
    "search.screen=8",
    "search.evaluations={path: 16, operator: 16, channel: 16, joint: 16}",
    "search.survivors={path: 4, operator: 4}",
)


def step(architecture):
    """What goes up and down with the costs, which no line follows."""
    return int(3 * log(cost_of(architecture)["macs"])) % 3


def quality(architecture):
    return quality_of(architecture) + step(architecture)


def measure(architectures):
    return [{"psnr_y": quality(a), "latency_ms": cost_of(a)["params"] ** 0.5, **cost_of(a)} for a in architectures]


def measure_full(architectures):
    return [{"psnr_y_full": quality_of(a) - step(a)} for a in architectures]


class Shuffled(Here):
    """As if three workers measured, each of which may be the first to finish."""

    n = 3

    def __init__(self, task, seed=0):
        super().__init__(task)
        self.chance = random.Random(seed)

    def finished(self, wait):
        self.waiting.rotate(self.chance.randrange(self.n))
        return super().finished(wait)


def begin(folder, *changes):
    """A run in the folder, and its recipe."""
    run = RunFolder.begin(folder, recipe.load("quick", (*SPACE, *BUDGETS, *changes)))
    run.keep_recipe()
    return run


def instruments(run, **changes):
    """All stages are measured with one supernet, so that a stage may learn from those before it."""
    context = Context(run.recipe.space.to_dict(), "weights", "images", "protocol")
    made = Instruments(measure, NAMES, measure_full, ("psnr_y_full",), BASELINE, cost_of, context, Here)
    return replace(made, **changes)


def search(run, *stages, tools=None, seed=0, settings=None, retry_failed=False, **more):
    """What each stage came to."""
    tools = replace(tools or instruments(run), retry_failed=retry_failed)
    run = replace(run, recipe=settings or run.recipe)
    return [run_stage(run, stage, tools, seed, **more) for stage in stages or STAGES]


def fronts(run):
    return {stage: run.front(stage).read_text() for stage in STAGES}
