"""How the subnets of a round are drawn: fairly, or as in other methods, for comparison."""

from typing import Any, Literal

import numpy as np

from evo_c2f.space import Genomes, SearchSpace, Stage
from evo_c2f.space.trellis import uniform as uniform_paths
from supernet.rounds.fairness import FairRounds, Ledger

Sampler = Literal["fair", "fair_widest", "widest_first", "uniform", "sandwich"]


class SampledRounds:
    """Rounds with some fixed subnets and some drawn uniformly; also keeps the ledger."""

    def __init__(self, space: SearchSpace, always: Genomes, n_random: int, rng: np.random.Generator):
        """always: the fixed subnets, (n, n_genes); n may be 0."""
        self.space, self.always, self.n_random, self.rng = space, always, n_random, rng
        self.ledger = Ledger(space)

    def deal(self) -> Genomes:
        """The canonical genomes of the next round, (n + n_random, n_genes)."""
        genomes = np.concatenate([self.always, uniform(self.space, self.n_random, self.rng)])
        self.ledger.record(genomes)
        return genomes

    def state(self) -> dict[str, Any]:
        """Everything that the next rounds depend on, as JSON."""
        return {"rng": self.rng.bit_generator.state, "ledger": self.ledger.to_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        self.rng.bit_generator.state = state["rng"]
        self.ledger.restore(state["ledger"])


class FairAndWidest(FairRounds):
    """Fair rounds, with the reference network in each.

    Not fair: the reference's operator and path get many more updates than any other, and shared scores then hardly
    distinguish the other operators (docs/decisions/0013).
    """

    def draw(self) -> Genomes:
        """A round with the reference last, (m + 1, n_genes)."""
        return np.concatenate([super().draw(), self.space.reference[None]])


class WidestFirst(FairAndWidest):
    """The reference beside each round of the first training; strictly fair rounds in all later ones."""

    def draw(self) -> Genomes:
        return super().draw() if self.stage == "joint" else FairRounds.draw(self)


Rounds = FairRounds | SampledRounds
FAIR: dict[Sampler, type[FairRounds]] = {"fair": FairRounds, "fair_widest": FairAndWidest, "widest_first": WidestFirst}


def make_rounds(
    sampler: Sampler, space: SearchSpace, stage: Stage, survivors: Genomes | None, rng: np.random.Generator
) -> Rounds:
    """'uniform': one random subnet a round (single path one-shot, arXiv 1904.00420).

    'sandwich': the widest, the narrowest and two random ones (arXiv 1903.05134, sec. 3.1). Both work only in the stage
    'joint'. 'fair_widest': a fair round and the reference.
    'widest_first': the same in the first training, and fair rounds after it.
    """
    if sampler in FAIR:
        return FAIR[sampler](space, stage, survivors, rng)
    if stage != "joint":
        raise ValueError(f"sampler {sampler} has no stage {stage}")
    if sampler == "uniform":
        return SampledRounds(space, space.reference[None][:0], 1, rng)
    return SampledRounds(space, np.stack([space.reference, narrowest(space)]), 2, rng)


def uniform(space: SearchSpace, n: int, rng: np.random.Generator) -> Genomes:
    """n subnets, canonical, (n, n_genes): each gene uniform, its path uniform among all valid ones."""
    genomes = rng.integers(0, space.n_choices, size=(n, space.n_genes), dtype=np.uint8)
    genomes[:, space.paths] = uniform_paths(n, space.n_cells, space.n_levels, rng)
    return space.canonical(genomes)


def narrowest(space: SearchSpace) -> Genomes:
    """The first cell of the reference path alone, at the smallest widths, (n_genes,)."""
    first = np.flatnonzero(space.reference[space.paths])[0]
    genome = np.zeros(space.n_genes, dtype=np.uint8)
    for part in (space.paths, space.blocks):
        genome[part.start + first] = space.reference[part.start + first]
    return genome
