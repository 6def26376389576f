"""Everything a stage can reach, for spaces small enough to be enumerated instead of evolved."""

from collections.abc import Iterator
from itertools import product

import numpy as np

from evo_c2f.space import Genomes, SearchSpace, Stage, trellis


def n_reachable(space: SearchSpace, stage: Stage, seeds: Genomes) -> int:
    """The number of genomes that `reachable` gives, without computing them."""
    if stage == "path":
        return trellis.count(space.n_cells, space.n_levels)
    if stage == "joint":
        return space.n_subnets
    genes = space.active(seeds) & space.free(stage)
    return sum(int(np.prod(space.n_choices[row], dtype=object)) for row in genes)


def reachable(space: SearchSpace, stage: Stage, seeds: Genomes) -> Iterator[Genomes]:
    """Every canonical genome that the stage can reach: all paths, or the free genes of each seed."""
    free = space.free(stage)
    if free[space.paths].any():
        paths = np.array(list(trellis.enumerate_paths(space.n_cells, space.n_levels)), dtype=np.uint8)
        seeds = np.zeros((len(paths), space.n_genes), dtype=np.uint8)
        seeds[:, space.paths] = paths
        seeds = space.complete(seeds, ~space.free("path"))
        free[space.paths] = False
    for seed, genes in zip(seeds, space.active(seeds) & free, strict=True):
        columns = np.flatnonzero(genes)
        for values in product(*(range(n) for n in space.n_choices[columns])):
            genome = seed.copy()
            genome[columns] = values
            yield genome
