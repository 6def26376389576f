"""The search engine for your own supernet or table: takes a space and a measure, returns a Pareto front."""

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from evo_c2f.engine.budget import Budget
from evo_c2f.engine.problem import Costs, Judge
from evo_c2f.engine.search import Progress, Scored, StageResult, evolve, fix_box
from evo_c2f.engine.stage_setup import StageSetup
from evo_c2f.objectives.metric import Limit, Metric
from evo_c2f.scores import analysis
from evo_c2f.scores.layout import Context
from evo_c2f.scores.store import ScoreStore
from evo_c2f.space import STAGES, Architecture, SearchSpace, Stage
from evo_c2f.workers.evaluator import Evaluator
from evo_c2f.workers.processes import Here, Task

Measure = Callable[[Architecture], Mapping[str, float]]


@dataclass(frozen=True)
class Problem:
    """A search problem: a space, a measure, costs, objectives and limits.

    measure: architecture -> its qualities by metric name, NaN for a failure. costs: architecture -> its static costs by
    metric name; they must be exact and cheap, since their limits are checked before a subnet is measured. about: the
    conditions of the scores, in a few words; scores with different conditions are never mixed.
    """

    space: SearchSpace
    measure: Measure
    costs: Costs
    objectives: tuple[Metric, ...]
    limits: tuple[Limit, ...] = ()
    about: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The metrics of each score: those of the objectives and limits, and the static costs."""
        qualities = [m.name for m in (*self.objectives, *(limit.metric for limit in self.limits))]
        return tuple(dict.fromkeys([*qualities, *self.costs(self.space.decode(self.space.reference))]))

    def score(self, architecture: Architecture) -> dict[str, float]:
        return {**self.measure(architecture), **self.costs(architecture)}


def coarse_to_fine(
    problem: Problem,
    store: str | Path,
    budget: Budget,
    seed: int = 0,
    on_progress: Callable[[Stage, Progress], None] = lambda stage, progress: None,
) -> analysis.Frame:
    """Search paths, then operators, then widths. Returns the Pareto front, one row a subnet, best first.

    store: an HDF5 file for all scores, read by `evo_c2f.load_scores`; a repeated call measures nothing again. budget:
    the budget of each stage. The same seed gives the same front. InputError if no subnet meets the limits.
    """
    space, names = problem.space, problem.names
    context = Context(space.to_dict(), problem.about, "", "")
    seeds, known = space.reference[None], space.reference[None]
    with (
        closing(Here(Task(lambda some: [problem.score(a) for a in some], names))) as workers,
        ScoreStore(Path(store), context, {}) as scores,
    ):
        evaluator = Evaluator(space, scores, workers)
        (row,) = evaluator(space.shallowest[None], "reference", 0)
        box, _ = fix_box(evaluator, problem.objectives, dict(zip(names, row.tolist(), strict=True)))
        for number, stage in enumerate(STAGES):
            judge = Judge(space, stage, names, problem.objectives, problem.limits, problem.costs)
            earlier = Scored(known, np.array([evaluator.values(genome) for genome in known]))
            setup = StageSetup(stage, seeds, evaluator, judge, budget)
            rng = np.random.default_rng([seed, number])
            result = evolve(setup, box, earlier, rng, partial(on_progress, stage))
            seeds, known = result.survivors, np.unique(np.concatenate([known, result.genomes]), axis=0)
    return _front(problem, result)


def _front(problem: Problem, result: StageResult) -> analysis.Frame:
    metrics = dict(zip(problem.names, result.metrics[result.front].T, strict=True))
    frame = analysis.front_frame(problem.space, result.genomes[result.front], metrics, result.survivors)
    return analysis.best_first(frame, [o.name for o in problem.objectives])
