"""The search engine for your own supernet or table: takes a space and a measure, returns a Pareto front."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evo_c2f.engine.budget import Budget
from evo_c2f.engine.problem import Costs, Judge
from evo_c2f.engine.search import Progress, Scored, best_front, evolve, fix_box
from evo_c2f.engine.stage_setup import StageSetup
from evo_c2f.engine.surrogate import farthest
from evo_c2f.engine.variation import different
from evo_c2f.objectives import pareto
from evo_c2f.objectives.metric import Limit, Metric
from evo_c2f.scores import analysis
from evo_c2f.scores.layout import Context
from evo_c2f.scores.memory import MemoryStore
from evo_c2f.scores.store import ScoreStore
from evo_c2f.space import STAGES, Architecture, Genomes, SearchSpace, Stage
from evo_c2f.workers.evaluator import Evaluator
from evo_c2f.workers.processes import Here, Task

SHARE = 0.1  # of the evaluations, for each coarse stage
BROOD = 32  # random subnets for each that is taken for its cost
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
    store: str | Path | None,
    budget: Budget,
    seed: int = 0,
    on_progress: Callable[[Stage, Progress], None] = lambda stage, progress: None,
    stages: Sequence[Stage] = STAGES,
) -> analysis.Frame:
    """Search paths, then operators, then widths, then all genes together. Returns the Pareto front, one row a subnet,
    best first.

    store: an HDF5 file for all scores, read by `evo_c2f.load_scores`; a repeated call measures nothing again. None:
    scores are not kept. budget: a third of the whole search's; `shares` divides the whole. stages: those before that of
    all genes; none is joint search. The same seed gives the same front. InputError if no subnet meets the limits.
    """
    space, names = problem.space, problem.names
    context = Context(space.to_dict(), problem.about, "", "")
    seeds = known = space.reference[None]
    with (
        closing(Here(Task(lambda some: [problem.score(a) for a in some], names))) as workers,
        nullcontext(MemoryStore()) if store is None else ScoreStore(Path(store), context, {}) as scores,
    ):
        evaluator = Evaluator(space, scores, workers, retry_failed=True)
        (row,) = evaluator(space.shallowest[None], "reference", 0)
        box, _ = fix_box(evaluator, problem.objectives, dict(zip(names, row.tolist(), strict=True)))
        whole = len(STAGES) * budget.evaluations
        for number, (stage, share) in enumerate(shares(space, stages).items()):
            judge = Judge(space, stage, names, problem.objectives, problem.limits, problem.costs)
            rng = np.random.default_rng([seed, number])
            new = max(1, whole - len(known) if stage == "joint" else round(share * whole))
            # Survivors are known, and cost nothing.
            part = replace(budget, evaluations=new + len(seeds))
            if stage in ("path", "joint"):
                seeds = np.concatenate([seeds, fresh(space, judge, seeds, min(new, budget.population), rng)])
            setup, earlier = StageSetup(stage, seeds, evaluator, judge, part), Scored(known, valued(evaluator, known))
            result = evolve(setup, box, earlier, rng, partial(on_progress, stage))
            seeds, known = result.survivors, different(np.concatenate([known, result.genomes]))
        return _front(problem, judge, Scored(known, valued(evaluator, known)), budget.survivors)


def shares(space: SearchSpace, stages: Sequence[Stage] = STAGES) -> dict[Stage, float]:
    """The share of the evaluations of each stage: a tenth for each with a choice, and the rest for all genes together.

    In the last stage a path or an operator that was chosen too early can change again (docs/decisions/0017).
    """
    coarse: list[Stage] = [stage for stage in stages if (space.n_choices[space.free(stage)] > 1).any()]
    return {**dict.fromkeys(coarse, SHARE), "joint": 1 - SHARE * len(coarse)}


def fresh(space: SearchSpace, judge: Judge, seeds: Genomes, n: int, rng: np.random.Generator) -> Genomes:
    """At most n random subnets, of costs as far apart and as far from the seeds' as they can be, (at most n, n_genes).

    Where operators are open, each subnet has one operator throughout, and all operators take turns: the front holds
    cheap and dear ones, and the reference is only one of them. A subnet above a limit on a static cost is taken only if
    all are.
    """
    drawn = space.random(BROOD * n, rng)
    if judge.cheapest.open.any():
        drawn = space.complete(drawn, judge.cheapest.open)
        turns = np.arange(len(drawn))[:, None] % len(space.operators)
        drawn[:, space.blocks] = np.where(space.active(drawn)[:, space.blocks], turns, 0)
        drawn = space.canonical(drawn)
    drawn = different(np.concatenate([seeds, drawn]))[len(seeds) :]
    within = judge.excess(drawn) <= 0
    drawn = drawn[within] if within.any() else drawn
    chosen = farthest(judge.log_macs(drawn), judge.log_macs(seeds), min(n, len(drawn)))
    subnets: Genomes = drawn[chosen]
    return subnets


def valued(evaluator: Evaluator, genomes: Genomes) -> NDArray[np.float64]:
    """The metrics of genomes that were asked for, (n, n_metrics)."""
    return np.array([evaluator.values(genome) for genome in genomes])


def _front(problem: Problem, judge: Judge, known: Scored, n: int) -> analysis.Frame:
    """The front of all subnets that any stage asked for."""
    front = best_front(problem.space, known.genomes, known.metrics, judge)
    kept = front[pareto.spread(judge.minimised(known.metrics[front]), n)]
    metrics = dict(zip(problem.names, known.metrics[front].T, strict=True))
    frame = analysis.front_frame(problem.space, known.genomes[front], metrics, known.genomes[kept])
    return analysis.best_first(frame, problem.objectives)
