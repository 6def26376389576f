"""What the search of one stage is given."""

from dataclasses import dataclass

from evo_c2f.engine.budget import Budget
from evo_c2f.engine.problem import Judge
from evo_c2f.space import Genomes, SearchSpace, Stage
from evo_c2f.workers.evaluator import Evaluator


@dataclass(frozen=True)
class StageSetup:
    """One stage, the seeds (n, n_genes) that it starts from, who measures, who judges, and how much it may ask.

    The seeds are the survivors of the stage before, or the reference.
    """

    stage: Stage
    seeds: Genomes
    evaluator: Evaluator
    judge: Judge
    budget: Budget

    @property
    def space(self) -> SearchSpace:
        return self.evaluator.space
