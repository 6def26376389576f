"""The searches that are compared on tables, each with the same number of networks."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.random import Generator

from evo_c2f.coarse_to_fine import Problem, coarse_to_fine
from evo_c2f.contest.rivals import POPULATION, Score, optuna_search, regularised_evolution
from evo_c2f.engine.budget import Budget
from evo_c2f.objectives.metric import Box, minimised
from evo_c2f.objectives.pareto import Values
from evo_c2f.scores.memory import MemoryStore
from evo_c2f.space import STAGES, SearchSpace, Stage
from evo_c2f.studies import strategies
from evo_c2f.studies.strategies import Arena, Strategy
from evo_c2f.tables.table import Table
from evo_c2f.workers.evaluator import Evaluator
from evo_c2f.workers.processes import Here, Task

SCREEN = 8
SPARE = 3  # times as many genomes as networks may be asked for: several may be the same network

# (table, its problem, number of networks, seed): searches. It is stopped when it has asked for so many different ones.
Contestant = Callable[[Table, Problem, int, int], object]


class Enough(Exception):  # noqa: N818
    """As many networks were asked for as are allowed."""


@dataclass
class Asked:
    """The networks that a search asks for, by row number, each once, in order. Raises Enough after n of them."""

    n: int
    numbers: dict[int, None] = field(default_factory=dict)

    def __call__(self, number: int) -> None:
        self.numbers[number] = None
        if len(self.numbers) >= self.n:
            raise Enough


def networks_of(table: Table, contestant: Contestant, n: int, seed: int, scores: Values | None = None) -> list[int]:
    """The row numbers of at most n different networks that a search asks for, in order.

    scores: what it sees instead of the table's quality, one a row.
    """
    asked = Asked(n)
    with suppress(Enough):
        contestant(table, table.problem(scores, asked), n, seed)
    return list(asked.numbers)


def ours(table: Table, problem: Problem, n: int, seed: int, screen: int = 1, stages: Sequence[Stage] = STAGES) -> None:
    """Coarse to fine through the Python API."""
    budget = Budget(n // len(STAGES), POPULATION, screen=screen)
    coarse_to_fine(problem, None, budget, seed, stages=stages)


def in_arena(table: Table, problem: Problem, n: int, seed: int, strategy: Strategy) -> None:
    """A strategy of `study search`."""
    space = problem.space
    evaluator = Evaluator(
        space, MemoryStore(), Here(Task(lambda some: [problem.score(a) for a in some], problem.names))
    )
    # No strategy looks at the box: it serves curves alone, which are drawn here from the table's truth.
    box = Box(problem.objectives, (1.0,) * len(problem.objectives), (0.0,) * len(problem.objectives))
    arena = Arena(space, evaluator, box, problem.costs, n, POPULATION)
    evaluator(strategy(arena, np.random.default_rng([seed, 1])), "search", 0)  # some leave the last to the caller


def by_scores(
    table: Table, problem: Problem, n: int, seed: int, search: Callable[[SearchSpace, Score, int, Generator], None]
) -> None:
    """A search that asks for one network after another."""

    def score(genome: Any) -> Any:
        row = problem.score(problem.space.decode(genome))
        return minimised(np.array([[row[o.name] for o in problem.objectives]]), problem.objectives)[0]

    search(problem.space, score, SPARE * n, np.random.default_rng([seed, 1]))


def at_random(table: Table, problem: Problem, n: int, seed: int) -> None:
    """Every network of the table is as likely as every other."""
    for number in np.random.default_rng([seed, 1]).permutation(len(table.rows)):
        problem.score(table.example(table.names[number]))


def _arena(strategy: Strategy) -> Contestant:
    return partial(in_arena, strategy=strategy)


OURS, JOINT, SPREAD, OPTUNA = "coarse to fine", "joint", "joint, costs spread", "optuna, NSGA-II"
CONTESTANTS: dict[str, Contestant] = {OURS: ours, JOINT: _arena(strategies.joint), "random": at_random}
# Those that learn a model after each generation.
SLOW: dict[str, Contestant] = {
    "coarse to fine, screened": partial(ours, screen=SCREEN),
    "joint, screened": _arena(partial(strategies.joint, screen=SCREEN)),
    "predictor loop (LINAS, DyNAS-T)": _arena(strategies.predictor_loop),
}
# Those of some tables alone.
MORE: dict[str, Contestant] = {
    SPREAD: partial(ours, stages=()),
    "regularised evolution": partial(by_scores, search=regularised_evolution),
    "joint, U-NSGA-III": _arena(partial(strategies.joint, algorithm="unsga3")),
    OPTUNA: partial(by_scores, search=optuna_search),
    **SLOW,
}
