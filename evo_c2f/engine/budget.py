"""How much a stage may ask for, and by which of pymoo's optimisers. No pymoo: recipes are read without it."""

from dataclasses import dataclass
from typing import Literal

AlgorithmName = Literal["nsga2", "unsga3", "agemoea"]


@dataclass(frozen=True)
class Budget:
    """How many distinct subnets a stage may ask for (measured or remembered), a population at a time, and how.

    screen: offspring bred for each one that is measured; a surrogate chooses. Ignored by a steady-state search.
    survivors: how many subnets of the front the next stage starts from.
    """

    evaluations: int
    population: int
    algorithm: AlgorithmName = "nsga2"
    screen: int = 1
    survivors: int = 8
