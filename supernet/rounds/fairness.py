"""Fair rounds: which subnets train together, so that every choice gets the same number of updates.

Strict fairness (FairNAS, arXiv 1907.01845, sec. 4): the subnets of one round use every choice exactly once, and their
gradients make one update. Here that holds for the path choices of every cell. A cell's operators and inner widths, and
a level's trunk widths, are dealt from decks, so that their counts never differ by more than one.
"""

from collections.abc import Sequence
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evo_c2f.errors import InputError
from evo_c2f.space import DEALT, Genomes, SearchSpace, Stage, subnet_ids
from evo_c2f.space.trellis import SKIP, reachable


class Deck:
    """Cards 0..n-1, shuffled, dealt without replacement, reshuffled when empty."""

    def __init__(self, n: int):
        self.n = n
        self.cards: list[int] = []

    def deal(self, rng: np.random.Generator) -> int:
        if not self.cards:
            self.cards = rng.permutation(self.n).tolist()
        return self.cards.pop()


def fair_paths(n_cells: int, n_levels: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """n_levels + 1 valid paths that together use {skip, every level} exactly once at each cell.

    At each cell a random one among the permutations that keep all paths valid. One always exists:
    after the first cell every level is some path's last one, so 'each stays, one skips' is valid.
    """
    m = n_levels + 1
    choices = list(permutations(range(m)))
    paths = np.zeros((m, n_cells), dtype=np.uint8)
    last = [SKIP] * m
    for cell in range(n_cells):
        is_final = cell == n_cells - 1

        def fits(choice: Sequence[int], last: Sequence[int] = tuple(last), is_final: bool = is_final) -> bool:
            return all(
                not (is_final and before == SKIP) if after == SKIP else after in reachable(before, n_levels)
                for before, after in zip(last, choice, strict=True)
            )

        valid = [choice for choice in choices if fits(choice)]
        chosen = valid[rng.integers(len(valid))]
        paths[:, cell] = chosen
        last = [after or before for before, after in zip(last, chosen, strict=True)]
    return paths


class Ledger:
    """How many times training ran each choice; 'stem', 'head' and 'transition' are listed, but need not be fair."""

    def __init__(self, space: SearchSpace, stage: Stage = "joint"):
        n, levels, ratios = space.n_cells, space.n_levels, len(space.inner_ratios)
        widest = max(len(widths) for widths in space.widths.values())
        self.space, self.stage = space, stage
        self.rounds = 0
        self.counts = {
            "path": np.zeros((n, levels + 1), dtype=np.int64),
            "operator": np.zeros((n, levels, len(space.operators)), dtype=np.int64),
            "inner": np.zeros((n, levels, ratios), dtype=np.int64),
            "trunk": np.zeros((levels, widest), dtype=np.int64),
            "stem": np.zeros(levels, dtype=np.int64),
            "transition": np.zeros((levels, levels), dtype=np.int64),
            "head": np.zeros(levels, dtype=np.int64),
        }

    def record(self, genomes: Genomes) -> None:
        """Count the subnets of one round, (m, n_genes)."""
        space, counts = self.space, self.counts
        self.rounds += 1
        for genome in genomes:
            path = genome[space.paths].astype(int)
            counts["path"][np.arange(space.n_cells), path] += 1
            cells = np.flatnonzero(path)
            levels = path[cells] - 1
            counts["operator"][cells, levels, genome[space.blocks][cells]] += 1
            counts["inner"][cells, levels, genome[space.inners][cells]] += 1
            visited = np.unique(levels)
            counts["trunk"][visited, genome[space.trunks][visited]] += 1
            counts["stem"][visited] += 1
            moves = levels[1:] != levels[:-1]
            np.add.at(counts["transition"], (levels[:-1][moves], levels[1:][moves]), 1)
            counts["head"][levels[-1]] += 1

    def gaps(self) -> dict[str, int]:
        """Dimension -> the largest difference between the counts of two choices that compete in one place."""
        widths = [len(self.space.widths[level]) for level in self.space.levels]
        trunk = [int(np.ptp(row[:n])) for row, n in zip(self.counts["trunk"], widths, strict=True)]
        others = {name: int(np.ptp(self.counts[name], axis=-1).max()) for name in ("path", "operator", "inner")}
        return others | {"trunk": max(trunk)}

    def unfair(self) -> dict[str, int]:
        """The gaps above 1 among the dimensions that the stage deals; empty after fair training."""
        return {name: gap for name, gap in self.gaps().items() if name in DEALT[self.stage] and gap > 1}

    def to_dict(self) -> dict[str, Any]:
        counts = {name: array.tolist() for name, array in self.counts.items()}
        return {"rounds": self.rounds, "unfair": self.unfair(), **counts}

    def restore(self, data: dict[str, Any]) -> None:
        self.rounds = data["rounds"]
        self.counts = {name: np.array(data[name], dtype=np.int64) for name in self.counts}


class FairRounds:
    """Deals the genomes of each round, and keeps the ledger.

    Stages 'joint' and 'path' draw all paths fairly; 'path' keeps the reference operator and full width. A later stage
    takes one survivor of the previous stage for each round, and trains one subnet on it for each operator (or width).
    """

    def __init__(self, space: SearchSpace, stage: Stage, survivors: Genomes | None, rng: np.random.Generator):
        """survivors (n, n_genes), needed only by the stages 'operator' and 'channel'."""
        is_first = stage in ("joint", "path")
        if is_first == (survivors is not None):
            raise ValueError(f"stage {stage} {'takes no' if is_first else 'needs'} survivors")
        nodes = [(cell, level) for cell in range(space.n_cells) for level in range(space.n_levels)]
        self.space, self.stage, self.survivors, self.rng = space, stage, survivors, rng
        self.ledger = Ledger(space, stage)
        self.operators = {node: Deck(len(space.operators)) for node in nodes}
        self.inners = {node: Deck(len(space.inner_ratios)) for node in nodes}
        self.trunks = [Deck(len(space.widths[level])) for level in space.levels]
        self.order = Deck(0 if survivors is None else len(survivors))

    def deal(self) -> Genomes:
        """The canonical genomes of the next round, (m, n_genes); the ledger counts them all."""
        genomes = self.draw()
        self.ledger.record(genomes)
        return genomes

    def draw(self) -> Genomes:
        """A fair round, (m, n_genes), not counted yet."""
        space = self.space
        if self.survivors is None:
            genomes = np.zeros((space.n_levels + 1, space.n_genes), dtype=np.uint8)
            genomes[:, space.paths] = fair_paths(space.n_cells, space.n_levels, self.rng)
            if self.stage == "path":
                return space.complete(genomes, space.still_open("path"))
        else:
            widths = max(len(space.inner_ratios), *(len(w) for w in space.widths.values()))
            m = len(space.operators) if self.stage == "operator" else widths
            genomes = np.repeat(self.survivors[self.order.deal(self.rng)][None], m, axis=0)
        for genome in genomes:
            self._fill(genome)
        return genomes

    def _fill(self, genome: Genomes) -> None:
        path, rng = genome[self.space.paths].astype(int), self.rng
        for cell in np.flatnonzero(path):
            node = (int(cell), int(path[cell]) - 1)
            if self.stage != "channel":
                genome[self.space.blocks][cell] = self.operators[node].deal(rng)
            genome[self.space.inners][cell] = self.inners[node].deal(rng)
        for level in np.unique(path[path != SKIP]) - 1:
            genome[self.space.trunks][level] = self.trunks[level].deal(rng)

    def state(self) -> dict[str, Any]:
        """Everything that the next rounds depend on, as JSON."""
        decks = [list(d.cards) for d in self._decks()]
        known = {"decks": decks, "rng": self.rng.bit_generator.state, "ledger": self.ledger.to_dict()}
        return known if self.survivors is None else known | {"survivors": subnet_ids(self.survivors)}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a `state`. InputError if it has other survivors, or does not name its survivors."""
        if self.survivors is not None and state.get("survivors") != subnet_ids(self.survivors):
            raise InputError(
                f"the training of stage {self.stage} that was stopped had other survivors of the stage before than its "
                "front has now"
            )
        for deck, cards in zip(self._decks(), state["decks"], strict=True):
            deck.cards = list(cards)
        self.rng.bit_generator.state = state["rng"]
        self.ledger.restore(state["ledger"])

    def _decks(self) -> list[Deck]:
        return [*self.operators.values(), *self.inners.values(), *self.trunks, self.order]
