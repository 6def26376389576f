"""Searches one stage: ask the algorithm, evaluate, tell, until the stage has asked for enough subnets."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from pymoo.core.population import Population
from pymoo.core.termination import NoTermination

from evo_c2f.engine.algorithms import make_algorithm
from evo_c2f.engine.problem import Judge, StageProblem
from evo_c2f.engine.stage_setup import StageSetup
from evo_c2f.engine.steady import Order, steady
from evo_c2f.engine.surrogate import Screen
from evo_c2f.engine.variation import Variation
from evo_c2f.errors import InputError
from evo_c2f.objectives import pareto
from evo_c2f.objectives.metric import Box, Metric, is_behind, minimised
from evo_c2f.scores.store import Row
from evo_c2f.space import Genomes, SearchSpace
from evo_c2f.space.enumeration import n_reachable, reachable
from evo_c2f.workers.evaluator import Evaluator

RETRY = "once it can be, run evolve --retry-failed"  # a failure is kept, and no training mends it
MATINGS = 20  # of one large brood, instead of pymoo's 100: few parents' last new children take most of the time


@dataclass(frozen=True)
class Scored:
    """Genomes (n, n_genes) and their metrics (n, n_metrics)."""

    genomes: Genomes
    metrics: NDArray[np.float64]


@dataclass
class Progress:
    """The present state of a stage; one object, updated in place."""

    evaluations: int
    asked: int = 0
    generation: int = 0
    hypervolume: float = 0.0
    best: dict[str, float] = field(default_factory=dict)  # each objective's best value so far


@dataclass(frozen=True)
class StageResult:
    """The subnets that a stage asked for, in order, and the indices of its front.

    hypervolumes: before the stage, and after it. seconds: the whole stage; measuring: the measure alone.
    """

    genomes: Genomes
    metrics: NDArray[np.float64]
    front: NDArray[np.int64]
    survivors: Genomes
    hypervolumes: tuple[float, float]
    n_measured: int
    seconds: float
    seconds_measuring: float

    @property
    def overhead(self) -> float:
        """The share of the time that was not spent on measuring."""
        return 1 - self.seconds_measuring / self.seconds


def evolve(
    setup: StageSetup,
    box: Box,
    earlier: Scored,
    rng: np.random.Generator,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    order: Order | None = None,
) -> StageResult:
    """Search one stage, and compute its hypervolume in the box.

    earlier: subnets that the earlier stages asked for in this context, for the hypervolume and the surrogate. All
    randomness comes from rng, so the same call asks for the same subnets. order: search in steady state, and replay
    this order as far as it goes. InputError if no subnet meets the limits.
    """
    stage, budget, evaluator, judge = setup.stage, setup.budget, setup.evaluator, setup.judge
    start, measuring, measured = time.perf_counter(), evaluator.seconds_measuring, evaluator.n_measured
    tally = Tally(Volume(judge, box, earlier.metrics), Progress(budget.evaluations), on_progress)
    before = tally.volume.value

    def score(genomes: Genomes) -> NDArray[np.float64]:
        metrics = evaluator(genomes, stage, tally.progress.generation, tally.step)
        tally.add(genomes, metrics)
        return metrics

    if n_reachable(setup.space, stage, setup.seeds) <= budget.evaluations:
        every = reachable(setup.space, stage, setup.seeds)
        while batch := list(islice(every, budget.population)):
            tally.progress.generation += 1
            score(np.array(batch))
    elif order:
        for genomes, metrics in steady(setup, order, rng):
            tally.progress.generation += 1
            for _ in genomes:
                tally.step()
            tally.add(genomes, metrics)
    else:
        screen = Screen(setup.space, judge, int(rng.integers(2**31)) if budget.screen > 1 else 0)
        choose = partial(tally.choose, screen, earlier)
        for generation in generations(setup, score, tally.asked, choose, rng):
            tally.progress.generation = generation

    asked = tally.scored()
    front = best_front(setup.space, asked.genomes, asked.metrics, judge, evaluator.reason)
    kept = front[pareto.spread(judge.minimised(asked.metrics[front]), budget.survivors)]
    return StageResult(
        asked.genomes,
        asked.metrics,
        front,
        asked.genomes[kept],
        (before, tally.volume.value),
        evaluator.n_measured - measured,
        time.perf_counter() - start,
        evaluator.seconds_measuring - measuring,
    )


def fix_box(evaluator: Evaluator, objectives: tuple[Metric, ...], baseline: Mapping[str, float]) -> tuple[Box, Row]:
    """The box of all searches with the evaluator's weights, and the metrics of the widest subnet.

    The subnets that define the box are measured first, in a stage called `reference`.
    InputError if the widest has no finite score.
    """

    def scored(genome: Genomes) -> Row | None:
        (values,) = evaluator(genome[None], "reference", 0)
        return dict(zip(evaluator.names, values.tolist(), strict=True)) if np.isfinite(values).all() else None

    widest = scored(evaluator.space.reference)
    if widest is None:
        if reason := evaluator.reason(evaluator.space.reference[None]):
            raise InputError(f"the widest subnet could not be measured ({reason}); {RETRY}")
        raise InputError("the widest subnet gives no finite scores; train again with a lower training.learning_rate")
    shallowest = scored(evaluator.space.shallowest) if is_behind(objectives, baseline, widest) else None
    return Box.between(objectives, baseline, widest, shallowest), widest


class Tally:
    """The subnets that a stage has asked for so far, in order, and its progress."""

    def __init__(self, volume: "Volume", progress: Progress, on_progress: Callable[[Progress], None]):
        self.volume, self.progress, self.on_progress = volume, progress, on_progress
        self.asked: dict[bytes, NDArray[np.float64]] = {}
        progress.hypervolume = volume.value

    def step(self) -> None:
        """Count one more subnet, measured or remembered. `add` reports the last one, with its metrics."""
        self.progress.asked += 1
        if self.progress.asked < self.progress.evaluations:
            self.on_progress(self.progress)

    def add(self, genomes: Genomes, metrics: NDArray[np.float64]) -> None:
        """Add genomes (n, n_genes) and their metrics (n, n_metrics)."""
        self.asked.update((genome.tobytes(), row) for genome, row in zip(genomes, metrics, strict=True))
        self.volume.add(metrics)
        self.progress.hypervolume, self.progress.best = self.volume.value, self.volume.best
        if self.progress.asked == self.progress.evaluations:
            self.on_progress(self.progress)

    def scored(self) -> Scored:
        """All subnets so far, at least one."""
        genomes = np.array([np.frombuffer(key, dtype=np.uint8) for key in self.asked])
        return Scored(genomes, np.array(list(self.asked.values())))

    def choose(self, screen: Screen, earlier: Scored, genomes: Genomes, n: int) -> NDArray[np.int64]:
        """Which n of the genomes to measure, given all known scores."""
        if len(genomes) <= n or not self.asked:
            return screen.choose(genomes, n, earlier.genomes, earlier.metrics)
        mine = self.scored()
        known = np.concatenate([earlier.genomes, mine.genomes])
        return screen.choose(genomes, n, known, np.concatenate([earlier.metrics, mine.metrics]))


def generations(
    setup: StageSetup,
    score: Callable[[Genomes], NDArray[np.float64]],
    asked: Collection[bytes],
    choose: Callable[[Genomes, int], NDArray[np.int64]],
    rng: np.random.Generator,
) -> Iterator[int]:
    """Run the algorithm until the budget is spent or no new subnet is found; yields each generation's number before it.

    score: genomes (n, n_genes) -> their metrics; it also adds them to `asked`, the genomes asked for so far. If the
    living population has no new children left, random subnets of the seeds join it. choose: selects the offspring to
    measure, if the budget's `screen` breeds more than that.
    """
    budget, seeds = setup.budget, setup.seeds
    problem, variation = StageProblem(setup.space, setup.judge, score), Variation(setup.space, setup.stage)
    drawn = variation.first_population(budget.screen * budget.population, seeds, rng)
    others = drawn[len(seeds) :]
    first = np.concatenate([seeds, others[choose(others, max(budget.population - len(seeds), 0))]])
    algorithm = make_algorithm(budget, variation, first, asked, budget.screen * budget.population, problem.n_obj)
    algorithm.setup(problem, termination=NoTermination(), seed=rng)
    if budget.screen > 1:
        algorithm.mating.n_max_iterations = MATINGS
    generation = 0
    while len(asked) < budget.evaluations:
        generation += 1
        yield generation
        population = algorithm.ask()
        if generation > 1 and population is not None and len(population):
            population = population[choose(population.get("X").astype(np.uint8), budget.population)]
        if population is None or not len(population):
            drawn = variation.first_population(4 * budget.population, seeds, rng)
            new = [genome for genome in drawn if genome.tobytes() not in asked]
            population = Population.new("X", np.array(new[: budget.population]))
        if not len(population):
            return
        population = population[: budget.evaluations - len(asked)]
        algorithm.evaluator.eval(problem, population)
        algorithm.tell(infills=population)


class Volume:
    """The hypervolume of all rows so far that meet the limits with their measured costs."""

    def __init__(self, judge: Judge, box: Box, metrics: NDArray[np.float64]):
        self.judge, self.box = judge, box
        self.losses = np.empty((0, len(judge.objectives)))  # the front alone: 1 - gain, to be minimised
        self.best: dict[str, float] = {}
        self.add(metrics)

    def add(self, metrics: NDArray[np.float64]) -> None:
        """Add rows of metrics, (n, n_metrics)."""
        values = self.judge.values(metrics[self.judge.meets_all(metrics)])
        losses = np.concatenate([self.losses, 1 - self.box.gains(values)])
        self.losses = losses[pareto.non_dominated(losses)]
        self.value = pareto.hypervolume(self.losses, np.ones(losses.shape[1]))
        for objective, column in zip(self.judge.objectives, values.T, strict=True):
            seen = [*column, self.best[objective.name]] if objective.name in self.best else column
            if len(seen):
                self.best[objective.name] = float(objective.sign * min(objective.sign * np.array(seen)))


def best_front(
    space: SearchSpace,
    genomes: Genomes,
    metrics: NDArray[np.float64],
    judge: Judge,
    reason: Callable[[Genomes], str] = lambda genomes: "",
) -> NDArray[np.int64]:
    """The indices of the Pareto front among the rows that meet the limits, ordered by the first objective, best first.

    If two subnets have the same architecture, the better one stays. reason: why genomes could not be measured, empty
    if they were. InputError if no row meets the limits.
    """
    violations = judge.violations(genomes, metrics).clip(min=0)
    feasible = np.flatnonzero((violations <= 0).all(axis=1))
    if not len(feasible):
        worst = violations[:, -1] == 0
        if not worst.any():
            if why := reason(genomes):
                raise InputError(f"no subnet could be measured ({why}); {RETRY}")
            raise InputError("every subnet failed to give finite scores; train the supernet longer, or lower its rate")
        nearest = violations[worst][violations[worst].sum(axis=1).argmin()]
        broken = ", ".join(f"{limit} by {v:.1%}" for limit, v in zip(judge.limits, nearest, strict=False) if v > 0)
        raise InputError(f"no subnet meets the limits together; the nearest breaks {broken}; loosen one")
    values = judge.minimised(metrics[feasible])
    front = feasible[pareto.non_dominated(values)]
    measured = minimised(judge.values(metrics[front]), judge.objectives)  # without the credit, as it is told
    front = front[np.lexsort(measured.T[::-1])]
    unique: dict[object, int] = {}
    for index in front:
        unique.setdefault(space.decode(genomes[index]).key, int(index))
    return np.array(list(unique.values()))
