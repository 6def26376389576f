"""How much a stage may ask for, and by which of pymoo's optimisers. No pymoo: recipes are read without it."""

from dataclasses import dataclass
from typing import Literal

AlgorithmName = Literal["nsga2", "unsga3", "agemoea"]


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
