"""Offspring: crossover and mutation of the free genes of a stage, and their pymoo wrappers.

A child inherits its frozen genes from its own parent, so survivors of a coarser stage coexist. Genes are categorical:
values are exchanged or redrawn, never interpolated.
"""

from collections.abc import Container
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymoo.core.crossover import Crossover
from pymoo.core.duplicate import DuplicateElimination
from pymoo.core.mutation import Mutation
from pymoo.core.population import Population

from evo_c2f.space import Genomes, SearchSpace, Stage, trellis


class Variation:
    """The two steps that make offspring, for one stage of one space."""

    def __init__(self, space: SearchSpace, stage: Stage):
        self.space = space
        self.free = space.free(stage)
        self.closed = space.still_open(stage)

    def cross(self, mothers: Genomes, fathers: Genomes, rng: np.random.Generator) -> tuple[Genomes, Genomes]:
        """Two children of each pair, (n, n_genes) each, canonical and valid.

        A free gene is exchanged, with probability one half, only if it is active in both parents: a canonical zero is
        not a choice. Path genes are exchanged up to a random cell.
        """
        space = self.space
        swap = rng.random(mothers.shape) < 0.5
        cut = rng.integers(1, space.n_cells, size=(len(mothers), 1))
        swap[:, space.paths] = np.arange(space.n_cells) < cut
        swap &= self.free & space.active(mothers) & space.active(fathers)
        daughters, sons = np.where(swap, fathers, mothers), np.where(swap, mothers, fathers)
        return self._settle(mothers, daughters, rng), self._settle(fathers, sons, rng)

    def mutate(self, genomes: Genomes, rng: np.random.Generator) -> Genomes:
        """Each genome with, on average, one of its free active genes redrawn; at least one if it has any.

        If the new path has a jump, its repair may undo the mutation.
        """
        space = self.space
        genes = space.active(genomes) & self.free & (space.n_choices > 1)
        n_genes = genes.sum(axis=1, keepdims=True)
        chosen = genes & (rng.random(genes.shape) < 1 / np.maximum(n_genes, 1))
        # One gene for sure: an unchanged copy would only be thrown away as a duplicate.
        forced = np.argmax(rng.random(genes.shape) * genes, axis=1)
        untouched = ~chosen.any(axis=1) & genes.any(axis=1)
        chosen[np.flatnonzero(untouched), forced[untouched]] = True
        steps = rng.integers(1, np.maximum(space.n_choices, 2), size=genomes.shape)
        redrawn = (genomes + steps) % space.n_choices
        return self._settle(genomes, np.where(chosen, redrawn, genomes).astype(np.uint8), rng)

    def _settle(self, parents: Genomes, children: Genomes, rng: np.random.Generator) -> Genomes:
        """Children with valid paths, whose newly active genes have got a value."""
        space = self.space
        children = children.copy()
        if self.free[space.paths].any():
            children[:, space.paths] = trellis.repair(children[:, space.paths], space.n_levels, rng)
        new = space.active(children) & ~space.active(parents)
        random = rng.integers(0, space.n_choices, size=children.shape, dtype=np.uint8)
        children = np.where(new, random, children).astype(np.uint8)
        reference = space.complete(children, ~space.free("path"))
        return space.canonical(np.where(new & self.closed, reference, children).astype(np.uint8))

    def first_population(self, n: int, seeds: Genomes, rng: np.random.Generator) -> Genomes:
        """Up to n different genomes, (n, n_genes): the seeds first, then random ones.

        A later stage draws from each of its seeds in turn. If only widths are free, the narrowest come first, so that
        the population has subnets within a limit on costs from the start. 'path' and 'joint' draw paths of all lengths.
        """
        space = self.space
        if self.free[space.paths].any():
            drawn = space.random(4 * n, rng)
            drawn = space.complete(drawn, self.closed) if self.closed.any() else drawn
        else:
            parents = seeds[np.arange(4 * n) % len(seeds)]
            random = rng.integers(0, space.n_choices, size=parents.shape, dtype=np.uint8)
            if not self.free[space.blocks].any():
                random[: len(seeds)] = 0
            drawn = space.canonical(np.where(self.free, random, parents).astype(np.uint8))
        return different(np.concatenate([seeds, drawn]))[: max(n, len(seeds))]


def different(genomes: Genomes) -> Genomes:
    """The genomes (n, n_genes), in order, without repetitions."""
    _, first = np.unique(genomes, axis=0, return_index=True)
    unique: Genomes = genomes[np.sort(first)]
    return unique


class StageCrossover(Crossover):  # type: ignore[misc]
    """`Variation.cross` as pymoo calls it."""

    def __init__(self, variation: Variation):
        super().__init__(n_parents=2, n_offsprings=2)
        self.variation = variation

    def _do(
        self, problem: Any, x: NDArray[Any], *args: Any, random_state: np.random.Generator, **kwargs: Any
    ) -> NDArray[np.uint8]:
        mothers, fathers = x.astype(np.uint8)
        return np.stack(self.variation.cross(mothers, fathers, random_state))


class StageMutation(Mutation):  # type: ignore[misc]
    """`Variation.mutate` as pymoo calls it."""

    def __init__(self, variation: Variation):
        super().__init__()
        self.variation = variation

    def _do(
        self, problem: Any, x: NDArray[Any], *args: Any, random_state: np.random.Generator, **kwargs: Any
    ) -> NDArray[np.uint8]:
        return self.variation.mutate(x.astype(np.uint8), random_state)


class NewSubnetsOnly(DuplicateElimination):  # type: ignore[misc]
    """Passes only subnets that the stage has not asked for yet, each once.

    pymoo compares offspring with the living population alone; this also compares with the dead.
    """

    def __init__(self, asked: Container[bytes]):
        super().__init__()
        self.asked = asked

    def do(self, pop: Population, *args: Any, to_itself: bool = True, **kwargs: Any) -> Population:
        others = [population.get("X") for population in args if population is not None and len(population)]
        seen = {x.astype(np.uint8).tobytes() for xs in others for x in xs}
        keep = []
        for index, x in enumerate(pop.get("X")):
            key = x.astype(np.uint8).tobytes()
            if key not in seen and key not in self.asked:
                keep.append(index)
                seen.add(key)
        return pop[keep]
