"""The inputs of one stage's search."""

from dataclasses import dataclass

from evo_c2f.engine.budget import Budget
from evo_c2f.engine.problem import Judge
from evo_c2f.space import Genomes, SearchSpace, Stage
from evo_c2f.workers.evaluator import Evaluator


@dataclass(frozen=True)
class StageSetup:
    """One stage, its seeds (n, n_genes), its evaluator, its judge and its budget.

    The seeds are the survivors of the previous stage, or the reference.
    """

    stage: Stage
    seeds: Genomes
    evaluator: Evaluator
    judge: Judge
    budget: Budget

    @property
    def space(self) -> SearchSpace:
        return self.evaluator.space
