"""Search strategies for one space with one measure, to compare their hypervolume after each number of subnets.

Each takes an arena and a random generator, and returns the genomes that it asked for, in order, (n, n_genes).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.problem import Problem
from pymoo.core.termination import NoTermination
from pymoo.operators.crossover.sbx import SBX
from pymoo.operators.mutation.pm import PM
from pymoo.operators.repair.rounding import RoundingRepair
from pymoo.operators.sampling.rnd import IntegerRandomSampling

from evo_c2f.engine.budget import AlgorithmName, Budget
from evo_c2f.engine.problem import Costs, Judge
from evo_c2f.engine.search import Scored, StageResult, Volume, evolve
from evo_c2f.engine.stage_setup import StageSetup
from evo_c2f.engine.surrogate import Screen
from evo_c2f.engine.variation import Variation, different
from evo_c2f.objectives import pareto
from evo_c2f.objectives.metric import Box
from evo_c2f.objectives.pareto import Values
from evo_c2f.space import STAGES, Genomes, SearchSpace, Stage, trellis
from evo_c2f.workers.evaluator import Evaluator

IDLE = 10  # generations without a new subnet, after which a search of others' codes ends
Strategy = Callable[["Arena", np.random.Generator], Genomes]


@dataclass(frozen=True)
class Arena:
    """The common conditions: the space, the measure, the box, the number of subnets, and the size of a generation."""

    space: SearchSpace
    evaluator: Evaluator
    box: Box
    costs: Costs
    evaluations: int
    population: int

    def judge(self, stage: Stage) -> Judge:
        return Judge(self.space, stage, self.evaluator.names, self.box.objectives, (), self.costs)

    def curve(self, strategy: Strategy, rng: np.random.Generator) -> Values:
        """The hypervolume after each distinct subnet, (evaluations,)."""
        genomes = strategy(self, rng)[: self.evaluations]
        volume, values = Volume(self.judge("joint"), self.box, np.empty((0, len(self.evaluator.names)))), []
        for row in self.evaluator(genomes, "search", 0):
            volume.add(row[None])
            values.append(volume.value)
        return np.pad(values, (0, self.evaluations - len(values)), mode="edge")

    def evolve(
        self, stage: Stage, seeds: Genomes, asked: Genomes, budget: Budget, rng: np.random.Generator
    ) -> StageResult:
        """Search a stage; asked: genomes (n, n_genes) from the previous stages."""
        earlier = Scored(asked, self.evaluator(asked, "search", 0))
        return evolve(StageSetup(stage, seeds, self.evaluator, self.judge(stage), budget), self.box, earlier, rng)


def coarse_to_fine(
    arena: Arena,
    rng: np.random.Generator,
    shares: Sequence[float] = (1 / 3, 1 / 3, 1 / 3),
    algorithm: AlgorithmName = "nsga2",
    screen: int = 1,
    population: int | None = None,
) -> Genomes:
    """The three stages, each from the previous survivors and the reference; shares of the evaluations.

    A fourth share searches all genes at once, from the survivors of the last stage. population: size of a
    generation; None: the arena's.
    """
    seeds = arena.space.reference[None]
    asked = seeds[:0]
    for stage, share in zip((*STAGES, "joint"), shares, strict=False):
        n = round(share * arena.evaluations) + len(seeds) - (not len(asked))
        budget = Budget(n, min(population or arena.population, n), algorithm, screen)
        result = arena.evolve(stage, seeds, asked, budget, rng)
        asked = different(np.concatenate([asked, result.genomes]))
        seeds = different(np.concatenate([result.survivors, arena.space.reference[None]]))
    return asked


def joint(
    arena: Arena,
    rng: np.random.Generator,
    algorithm: AlgorithmName = "nsga2",
    screen: int = 1,
    population: int | None = None,
) -> Genomes:
    """All genes at once, with the same variation."""
    seeds = arena.space.reference[None]
    budget = Budget(arena.evaluations, population or arena.population, algorithm, screen)
    return arena.evolve("joint", seeds, seeds[:0], budget, rng).genomes


def at_random(arena: Arena, rng: np.random.Generator) -> Genomes:
    """Random subnets of all lengths."""
    return different(arena.space.random(2 * arena.evaluations, rng))[: arena.evaluations]


def integer_codes(arena: Arena, rng: np.random.Generator) -> Genomes:
    """NSGA-II with SBX and polynomial mutation on the genes as integers, like DyNAS-T (arXiv 2202.12954)."""
    space, asked = arena.space, dict[bytes, Genomes]()

    def settle(x: NDArray[np.int64]) -> Genomes:
        genomes = x.astype(np.uint8)
        genomes[:, space.paths] = trellis.repair(genomes[:, space.paths], space.n_levels, rng)
        return space.canonical(genomes)

    class Codes(Problem):  # type: ignore[misc]
        def _evaluate(self, x: NDArray[np.int64], out: dict[str, Values], *args: object, **kwargs: object) -> None:
            genomes = settle(x)
            asked.update((genome.tobytes(), genome) for genome in genomes)
            unique, back = np.unique(genomes, axis=0, return_inverse=True)
            out["F"] = arena.judge("joint").minimised(arena.evaluator(unique, "search", 0))[back]

    problem = Codes(n_var=space.n_genes, n_obj=len(arena.box.objectives), xl=0, xu=space.n_choices - 1, vtype=int)
    repair = RoundingRepair()
    algorithm = NSGA2(
        pop_size=arena.population,
        sampling=IntegerRandomSampling(),
        crossover=SBX(prob=0.9, eta=15, vtype=float, repair=repair),
        mutation=PM(eta=20, vtype=float, repair=repair),
        eliminate_duplicates=True,
    )
    algorithm.setup(problem, termination=NoTermination(), seed=rng)
    idle = 0  # a population of copies may have no new children for ever
    while len(asked) < arena.evaluations and idle < IDLE:
        before = len(asked)
        algorithm.next()
        idle = idle + 1 if len(asked) == before else 0
    return np.array(list(asked.values()))


def predictor_loop(arena: Arena, rng: np.random.Generator, generations: int = 8) -> Genomes:
    """LINAS, as in DyNAS-T (arXiv 2202.12954): a predictor learns from all measured subnets, a genetic search runs on
    its predictions alone, its best subnets are measured, and so on.
    """
    space, variation, judge = arena.space, Variation(arena.space, "joint"), arena.judge("joint")
    screen = Screen(space, judge, int(rng.integers(2**31)))
    asked = different(space.random(2 * arena.population, rng))[: arena.population]
    while len(asked) < arena.evaluations:
        metrics, pool = arena.evaluator(asked, "search", 0), asked
        for _ in range(generations):
            best = np.argsort(pareto.ranks(screen.predict(pool, asked, metrics)), kind="stable")
            parents = pool[best[: 2 * arena.population]]
            mothers, fathers = (parents[rng.integers(len(parents), size=len(parents))] for _ in range(2))
            pool = different(
                np.concatenate([parents, variation.mutate(variation.cross(mothers, fathers, rng)[0], rng)])
            )
        known = {genome.tobytes() for genome in asked}
        unseen = np.array([genome for genome in pool if genome.tobytes() not in known] or space.random(1, rng))
        chosen = unseen[screen.choose(unseen, arena.population, asked, metrics)]
        asked = different(np.concatenate([asked, chosen]))
    return asked


def once_for_all(arena: Arena, rng: np.random.Generator, limits: int = 4) -> Genomes:
    """One objective under several limits on the cost in turn, as Once-for-All searches (arXiv 1908.09791).

    The best quarter of the measured subnets under a limit has offspring, half by mutation and half by crossover. The
    limits are evenly spread over the logarithm of the costs of random subnets.
    """
    space, variation = arena.space, Variation(arena.space, "joint")
    cost = arena.box.objectives[1].name
    judge = arena.judge("joint")

    def within(genomes: Genomes, limit: float) -> Genomes:
        return genomes[[arena.costs(space.decode(genome))[cost] <= limit for genome in genomes]]

    prices = [arena.costs(space.decode(genome))[cost] for genome in space.random(200, rng)]
    asked: list[Genomes] = []
    for limit in np.exp(np.quantile(np.log(prices), np.linspace(0.25, 1, limits))):
        mine = different(within(space.random(8 * arena.population, rng), limit))[: arena.population]
        while len(mine) < arena.evaluations // limits:
            scores = judge.minimised(arena.evaluator(mine, "search", 0))[:, 0]
            parents = mine[np.argsort(scores, kind="stable")[: max(2, len(mine) // 4)]]
            mothers, fathers = (parents[rng.integers(len(parents), size=arena.population)] for _ in range(2))
            children = np.concatenate([variation.mutate(mothers, rng), variation.cross(mothers, fathers, rng)[0]])
            children = within(children[rng.permutation(len(children))], limit)
            mine = different(np.concatenate([mine, children]))[: len(mine) + arena.population]
        asked.append(mine[: arena.evaluations // limits])
    return different(np.concatenate(asked))


STRATEGIES: dict[str, Strategy] = {
    "coarse to fine": coarse_to_fine,
    "coarse to fine, soon narrow": partial(coarse_to_fine, shares=(0.1, 0.1, 0.8)),
    "coarse to fine, then all genes": partial(coarse_to_fine, shares=(0.1, 0.1, 0.2, 0.6)),
    "coarse to fine, screened": partial(coarse_to_fine, screen=8),
    "coarse to fine, soon narrow, screened hard": partial(
        coarse_to_fine, shares=(0.1, 0.1, 0.8), population=8, screen=64
    ),
    "coarse to fine, then all genes, screened": partial(coarse_to_fine, shares=(0.1, 0.1, 0.2, 0.6), screen=8),
    "coarse to fine, then all genes, screened hard": partial(
        coarse_to_fine, shares=(0.05, 0.05, 0.1, 0.8), population=8, screen=64
    ),
    "joint": joint,
    "joint, screened": partial(joint, screen=8),
    "joint, screened hard": partial(joint, population=8, screen=64),
    "joint, U-NSGA-III": partial(joint, algorithm="unsga3"),
    "joint, AGE-MOEA": partial(joint, algorithm="agemoea"),
    "random": at_random,
    "integer codes (DyNAS-T)": integer_codes,
    "predictor loop (LINAS, DyNAS-T)": predictor_loop,
    "evolution under limits (Once-for-All)": once_for_all,
}
