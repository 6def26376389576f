"""Searches of other makers on a table: random, regularised evolution, and optuna's NSGA-II."""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from evo_c2f.engine.variation import Variation
from evo_c2f.errors import InputError
from evo_c2f.objectives import pareto
from evo_c2f.objectives.pareto import Values
from evo_c2f.space import Genomes, SearchSpace, trellis

# genome (n_genes,) -> its objectives to minimise, (m,)
Score = Callable[[Genomes], Values]
POPULATION = 16
LIVING, SAMPLE = 32, 8  # of regularised evolution


def regularised_evolution(space: SearchSpace, score: Score, n: int, rng: np.random.Generator) -> None:
    """Ageing evolution (Real et al. 2019, arXiv 1802.01548) with Pareto ranks: of a sample of the living, one of the
    first front has a child, and the oldest dies. Scores n networks, with repetition.
    """
    variation = Variation(space, "joint")
    living = deque((genome, score(genome)) for genome in space.random(LIVING, rng))
    for _ in range(n - LIVING):
        drawn = [living[i] for i in rng.choice(LIVING, SAMPLE, replace=False)]
        best = np.flatnonzero(pareto.non_dominated(np.array([values for _, values in drawn])))
        (child,) = variation.mutate(drawn[rng.choice(best)][0][None], rng)
        living.append((child, score(child)))
        living.popleft()


def optuna_search(space: SearchSpace, score: Score, n: int, rng: np.random.Generator) -> None:
    """optuna's NSGA-II on the genes as categorical parameters; those of inactive parts aren't asked for.

    A path with a jump is repaired. InputError without optuna.
    """
    try:
        import optuna
    except ImportError:
        raise InputError("this contestant needs optuna; run 'pip install optuna'") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    n_objectives = len(score(space.reference))
    sampler = optuna.samplers.NSGAIISampler(population_size=POPULATION, seed=int(rng.integers(2**31)))
    study = optuna.create_study(directions=["minimize"] * n_objectives, sampler=sampler)
    for _ in range(n - 1):
        trial, genome = study.ask(), np.zeros(space.n_genes, dtype=np.uint8)
        _draw(trial, space, genome, range(space.n_cells))
        genome[space.paths] = trellis.repair(genome[None, space.paths], space.n_levels, rng)[0]
        active = space.active(genome[None])[0] & (space.n_choices > 1) & ~space.free("path")
        _draw(trial, space, genome, np.flatnonzero(active).tolist())
        study.tell(trial, score(space.canonical(genome[None])[0]).tolist())


def _draw(trial: Any, space: SearchSpace, genome: Genomes, genes: Iterable[int]) -> None:
    """Set these genes of the genome to what the trial suggests."""
    for gene in genes:
        genome[gene] = trial.suggest_categorical(space.gene_names[gene], [*range(int(space.n_choices[gene]))])
