"""What the search of one stage is given."""

from dataclasses import dataclass

from evo_c2f.engine.problem import Judge
from evo_c2f.runs.sections import AlgorithmName
from evo_c2f.space import Genomes, SearchSpace, Stage
from evo_c2f.workers.evaluator import Evaluator


@dataclass(frozen=True)
class Budget:
    """How much a stage may ask: distinct subnets, measured or remembered, a population at a time; and how.

    screen: how many offspring are bred for each that is measured; a surrogate chooses. A steady search has none.
    survivors: how many of the front the next stage starts from.
    """

    evaluations: int
    population: int
    algorithm: AlgorithmName = "nsga2"
    screen: int = 1
    survivors: int = 8


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
