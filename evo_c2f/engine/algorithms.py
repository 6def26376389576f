"""The pymoo optimisers that can search a stage, all with this project's variation."""

from collections.abc import Container
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.algorithms.moo.unsga3 import UNSGA3
from pymoo.util.ref_dirs import get_reference_directions

from evo_c2f.engine.budget import Budget
from evo_c2f.engine.variation import NewSubnetsOnly, StageCrossover, StageMutation, Variation
from evo_c2f.errors import InputError
from evo_c2f.space import Genomes


def make_algorithm(
    budget: Budget, variation: Variation, first: Genomes, asked: Container[bytes], offspring: int, n_objectives: int
) -> Any:
    """A fresh algorithm that starts from the genomes `first` (n, n_genes) and asks for nothing in `asked`.

    budget: sets the algorithm and how many survive. offspring: how many are bred each time, of which the caller may
    take some.

    nsga2: Deb 2002; unsga3: Seada and Deb 2016; agemoea: Panichella 2019, which needs numba (InputError without).
    MOEA/D is not offered: pymoo's version supports no constraints, and a failed subnet is one.
    """
    shared = {
        "pop_size": budget.population,
        "n_offsprings": offspring,
        "sampling": first,
        "crossover": StageCrossover(variation),
        "mutation": StageMutation(variation),
        "eliminate_duplicates": NewSubnetsOnly(asked),
    }
    if budget.algorithm == "nsga2":
        return NSGA2(**shared)
    if budget.algorithm == "unsga3":
        return UNSGA3(_directions(n_objectives, budget.population).copy(), **shared)
    return agemoea()(**shared)


def agemoea() -> Any:
    """AGE-MOEA's class. InputError without numba."""
    try:
        from pymoo.algorithms.moo.age import AGEMOEA
    except Exception as error:  # pymoo raises no narrower one
        raise InputError("algorithm agemoea needs numba; run 'pip install numba'") from error
    return AGEMOEA


@cache
def _directions(n_objectives: int, n: int) -> NDArray[np.float64]:
    """The reference directions of NSGA-III; they take seconds."""
    directions: NDArray[np.float64] = get_reference_directions("reduction", n_objectives, n, seed=1)
    return directions
