"""The search space: its genes, their meaning, and the number of networks.

A genome is one uint8 vector over the genes of all stages:

    path (n_cells)  | operator (n_cells) | inner width (n_cells) | trunk width (n_levels)
    0 skip, k level | index              | index                 | index

The genes of inactive parts (the operator of a skipped cell, the width of a level never visited)
are 0 in the canonical form, and two genomes are the same subnet iff these forms are equal.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from evo_c2f.space import trellis
from evo_c2f.space.architecture import Architecture, Cell, inner_width
from evo_c2f.space.genomes import Genomes
from evo_c2f.space.trellis import SKIP

Stage = Literal["path", "operator", "channel", "joint"]

# Coarse to fine. 'joint' is not one of them: it frees all genes at once, as the search to compare with.
STAGES: tuple[Stage, ...] = ("path", "operator", "channel")

# What the training of each stage deals, by the ledger's names.
DEALT: dict[Stage, tuple[str, ...]] = {
    "joint": ("path", "operator", "inner", "trunk"),
    "path": ("path",),
    "operator": ("operator", "inner", "trunk"),
    "channel": ("inner", "trunk"),
}


@dataclass(frozen=True)
class SearchSpace:
    """The choices of every gene.

    `widths` gives each level its trunk widths, ascending (level 0: output resolution, then coarser ones);
    `reference_path` and `reference_operator` stand in while their dimension is not searched yet.
    """

    __pydantic_config__ = {"extra": "forbid"}  # read by pydantic when a recipe is checked

    n_cells: int
    widths: dict[int, tuple[int, ...]]
    operators: tuple[str, ...]
    inner_ratios: tuple[float, ...]
    reference_path: tuple[int | Literal["skip"], ...]
    reference_operator: str

    def __post_init__(self) -> None:
        if not 2 <= self.n_cells <= 64:
            raise ValueError(f"n_cells is {self.n_cells}; it must lie in 2..64")
        if not self.widths or self.levels != list(range(self.levels[0], self.levels[0] + self.n_levels)):
            raise ValueError(f"the levels of widths are {self.levels}; they must follow one another, as in 1, 2, 3")
        if self.levels[0] < 0 or self.n_levels > 5:
            raise ValueError(f"the levels of widths are {self.levels}; at most 5 of them, none below 0")
        for level, widths in self.widths.items():
            self._check_widths(level, widths)
        if len(set(self.operators)) != len(self.operators) or not self.operators:
            raise ValueError(f"operators are {list(self.operators)}; name at least one, each once")
        if self.reference_operator not in self.operators:
            raise ValueError(f"reference_operator {self.reference_operator!r} is not among {list(self.operators)}")
        if len(self.reference_path) != self.n_cells:
            raise ValueError(f"reference_path has {len(self.reference_path)} cells, the space {self.n_cells}")
        unknown = set(self.reference_path) - set(self.levels) - {"skip"}
        if unknown or not trellis.is_valid(self._reference_levels[None])[0]:
            raise ValueError(f"reference_path {list(self.reference_path)} is no valid path over levels {self.levels}")

    def _check_widths(self, level: int, widths: Sequence[int]) -> None:
        if not widths or any(b <= a for a, b in pairwise(widths)) or any(w < 4 or w % 4 for w in widths):
            raise ValueError(f"widths of level {level} are {list(widths)}; give ascending multiples of 4")
        ratios = self.inner_ratios
        if not ratios or any(b <= a for a, b in pairwise(ratios)) or not all(0 < r <= 4 for r in ratios):
            raise ValueError(f"inner_ratios are {list(ratios)}; give ascending numbers in (0, 4]")
        for width in widths:
            inner = [inner_width(width, r) for r in ratios]
            if len(set(inner)) < len(inner):
                raise ValueError(
                    f"inner_ratios {list(ratios)} of width {width} at level {level} round to {inner}: "
                    "no two choices may be the same"
                )

    # -- genes ---------------------------------------------------------------------------------

    @property
    def levels(self) -> list[int]:
        """The levels, fine to coarse."""
        return sorted(self.widths)

    @property
    def n_levels(self) -> int:
        return len(self.widths)

    @property
    def n_genes(self) -> int:
        return 3 * self.n_cells + self.n_levels

    @property
    def paths(self) -> slice:
        """The columns of the path genes; `blocks`, `inners` and `trunks` are the other genes' columns."""
        return slice(0, self.n_cells)

    @property
    def blocks(self) -> slice:
        return slice(self.n_cells, 2 * self.n_cells)

    @property
    def inners(self) -> slice:
        return slice(2 * self.n_cells, 3 * self.n_cells)

    @property
    def trunks(self) -> slice:
        return slice(3 * self.n_cells, self.n_genes)

    @cached_property
    def n_choices(self) -> NDArray[np.int64]:
        """How many values each gene has, (n_genes,)."""
        n, widths = self.n_cells, [len(self.widths[lv]) for lv in self.levels]
        return np.array([self.n_levels + 1] * n + [len(self.operators)] * n + [len(self.inner_ratios)] * n + widths)

    @property
    def gene_names(self) -> list[str]:
        cells = [f"{gene}_{i}" for gene in ("path", "operator", "inner") for i in range(self.n_cells)]
        return cells + [f"width_{lv}" for lv in self.levels]

    def free(self, stage: Stage) -> NDArray[np.bool_]:
        """Which genes the stage searches, (n_genes,)."""
        mask = np.zeros(self.n_genes, dtype=bool)
        columns = {"path": [self.paths], "operator": [self.blocks], "channel": [self.inners, self.trunks]}
        for part in columns.get(stage, [slice(None)]):
            mask[part] = True
        return mask

    def still_open(self, stage: Stage) -> NDArray[np.bool_]:
        """Which genes only a later stage decides, (n_genes,)."""
        if stage == "joint":
            return np.zeros(self.n_genes, dtype=bool)
        later = STAGES[STAGES.index(stage) + 1 :]
        return np.any([self.free(s) for s in later], axis=0) if later else np.zeros(self.n_genes, dtype=bool)

    def gene_text(self, gene: int, value: int) -> str:
        """A gene's value in words: a level, an operator, a ratio, a width."""
        if gene < self.blocks.start:
            return "skip" if value == SKIP else str(self.levels[value - 1])
        if gene < self.inners.start:
            return self.operators[value]
        if gene < self.trunks.start:
            return f"{self.inner_ratios[value]:g}"
        return str(self.widths[self.levels[gene - self.trunks.start]][value])

    # -- genomes -------------------------------------------------------------------------------

    def active(self, genomes: Genomes) -> NDArray[np.bool_]:
        """Which genes affect their network, (n, n_genes); path genes always do."""
        paths = np.ascontiguousarray(genomes[:, self.paths].T)  # gene after gene: a million are seen fast
        cells = paths != SKIP
        visited = np.stack([(paths == k).any(axis=0) for k in range(1, self.n_levels + 1)])
        return np.concatenate([np.ones_like(cells), cells, cells, visited]).T

    def canonical(self, genomes: Genomes) -> Genomes:
        """Genomes with the genes of inactive parts set to 0; shape (n, n_genes).

        Two genomes are the same subnet iff their canonical forms are equal.
        """
        canonical: Genomes = np.where(self.active(genomes), genomes, 0).astype(np.uint8)
        return canonical

    def is_valid(self, genomes: Genomes) -> NDArray[np.bool_]:
        """Which genomes have a valid path and every gene in its range, (n,)."""
        return (genomes < self.n_choices).all(axis=1) & trellis.is_valid(genomes[:, self.paths])

    @property
    def _reference_levels(self) -> Genomes:
        ranks: dict[int | str, int] = {lv: k for k, lv in enumerate(self.levels, start=1)}
        return np.array([ranks.get(lv, SKIP) for lv in self.reference_path], dtype=np.uint8)

    @cached_property
    def reference(self) -> Genomes:
        """The reference path with the reference operator at all maximum widths: the widest subnet, (n_genes,)."""
        genome = np.zeros(self.n_genes, dtype=np.uint8)
        genome[self.paths] = self._reference_levels
        widest: Genomes = self.complete(genome[None], ~self.free("path"))[0]
        return widest

    @cached_property
    def shallowest(self) -> Genomes:
        """The last cell of the reference path alone, at full width too: a cheap part of the widest, (n_genes,)."""
        genome = self.reference.copy()
        genome[self.paths][: np.flatnonzero(genome[self.paths])[-1]] = SKIP
        alone: Genomes = self.canonical(genome[None])[0]
        return alone

    def complete(self, genomes: Genomes, genes: NDArray[np.bool_]) -> Genomes:
        """Canonical genomes in which `genes` (none of them path genes) take the reference operator and full width."""
        full = (self.n_choices - 1).astype(np.uint8)
        full[self.blocks] = self.operators.index(self.reference_operator)
        return self.canonical(np.where(genes, full, genomes).astype(np.uint8))

    def random(self, n: int, rng: np.random.Generator) -> Genomes:
        """n random subnets, canonical, (n, n_genes)."""
        genomes = rng.integers(0, self.n_choices, size=(n, self.n_genes), dtype=np.uint8)
        genomes[:, self.paths] = trellis.sample(n, self.n_cells, self.n_levels, rng)
        return self.canonical(genomes)

    def decode(self, genome: Genomes) -> Architecture:
        """The architecture of one genome (n_genes,). ValueError if the genome is not of this space."""
        if genome.shape != (self.n_genes,) or not self.is_valid(genome[None])[0]:
            raise ValueError(f"genome {genome.tolist()} is not of this space of {self.n_genes} genes")
        path, blocks, inners = (genome[part].tolist() for part in (self.paths, self.blocks, self.inners))
        trunk = {
            k: self.widths[lv][index]
            for k, (lv, index) in enumerate(zip(self.levels, genome[self.trunks], strict=True), 1)
        }
        cells = tuple(
            Cell(i, self.levels[k - 1], self.operators[blocks[i]], inner_width(trunk[k], self.inner_ratios[inners[i]]))
            for i, k in enumerate(path)
            if k != SKIP
        )
        visited = sorted({k for k in path if k != SKIP})
        return Architecture(cells, tuple((self.levels[k - 1], trunk[k]) for k in visited))

    def encode(self, architecture: Architecture) -> Genomes:
        """The canonical genome of an architecture, (n_genes,). ValueError if the architecture is not of this space."""
        genome = np.zeros(self.n_genes, dtype=np.uint8)
        try:
            for level, width in architecture.widths:
                k = self.levels.index(level)
                genome[self.trunks.start + k] = self.widths[level].index(width)
            for cell in architecture.cells:
                genome[cell.position] = self.levels.index(cell.level) + 1
                genome[self.blocks.start + cell.position] = self.operators.index(cell.operator)
                inner = [inner_width(architecture.width(cell.level), r) for r in self.inner_ratios]
                genome[self.inners.start + cell.position] = inner.index(cell.inner)
            if self.decode(genome) != architecture:
                raise ValueError("it is no valid path, or widths are missing or too many")
        except (ValueError, KeyError, IndexError) as error:
            raise ValueError(f"the space doesn't hold this architecture: {error}") from None
        return genome

    # -- counts and identity -------------------------------------------------------------------

    @property
    def _weights(self) -> tuple[int, list[int]]:
        return len(self.operators) * len(self.inner_ratios), [len(self.widths[lv]) for lv in self.levels]

    @property
    def n_subnets(self) -> int:
        """The exact number of distinct subnets: networks that take different weights of the supernet."""
        return trellis.count(self.n_cells, self.n_levels, *self._weights)

    @property
    def n_architectures(self) -> int:
        """The exact number of distinct architectures: subnets that differ after skipped cells are removed."""
        return trellis.count(self.n_cells, self.n_levels, *self._weights, skips=False)

    def to_dict(self) -> dict[str, Any]:
        """A form for JSON and YAML, read by `from_dict`."""
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "SearchSpace":
        """ValueError if the data describe no valid space."""
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        fields["widths"] = {int(lv): tuple(w) for lv, w in data["widths"].items()}
        return cls(**fields)

    @property
    def digest(self) -> str:
        """A short hash of the whole space."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:12]
