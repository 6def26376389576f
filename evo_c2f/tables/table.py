"""A table of trained networks: its search space, each network's metrics, and the front that a search can attain."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evo_c2f.coarse_to_fine import Problem
from evo_c2f.objectives import pareto
from evo_c2f.objectives.metric import METRICS, Metric, minimised
from evo_c2f.objectives.pareto import Values
from evo_c2f.space import Architecture, Cell, Genomes, SearchSpace

MARGIN = 0.1  # of the true front's span, by which the worst corner of the hypervolume is worse than the front

MACS, PARAMS, LATENCY = METRICS["macs"], METRICS["params"], METRICS["latency_ms"]
ENERGY = Metric("energy_mj", "lower", "cost", "energy (mJ)")
WIDTH = 16  # of everything, where a table has no widths


def quality(label: str) -> Metric:
    """The quality that a table tells of its networks; higher is better."""
    return Metric("quality", "higher", "quality", label)


@dataclass(frozen=True)
class TableSpace(SearchSpace):
    """A space in which several genomes may be the same network; one of them is canonical.

    network: architecture -> the network's name. example: name -> an architecture of that name.
    """

    network: Callable[[Architecture], Any] = field(kw_only=True, compare=False)
    example: Callable[[Any], Architecture] = field(kw_only=True, compare=False)
    _decoded: dict[bytes, Architecture] = field(default_factory=dict, init=False, compare=False, repr=False)
    _canonical: dict[bytes, Genomes] = field(default_factory=dict, init=False, compare=False, repr=False)

    def canonical(self, genomes: Genomes) -> Genomes:
        """Genomes with the genes of inactive parts set to 0, and one genome for each network; shape (n, n_genes)."""
        plain = super().canonical(genomes)
        for i, genome in enumerate(plain):
            key = genome.tobytes()
            if key not in self._canonical:
                self._canonical[key] = self.encode(self.example(self.network(self.decode(genome))))
            plain[i] = self._canonical[key]
        return plain

    def decode(self, genome: Genomes) -> Architecture:
        """The architecture of one genome (n_genes,); cached."""
        key = genome.tobytes()
        if key not in self._decoded:
            self._decoded[key] = super().decode(genome)
        return self._decoded[key]

    def to_dict(self) -> dict[str, Any]:
        """That of the space without its table."""
        return self.plain.to_dict()

    @property
    def plain(self) -> SearchSpace:
        ours = SearchSpace.__dataclass_fields__
        return SearchSpace(**{name: getattr(self, name) for name in ours})


@dataclass(frozen=True)
class Table:
    """Networks and their metrics, each trained once and for all.

    plain: the genes. network, example: as in `TableSpace`. rows: each network's metrics by name: those of the
    objectives, and further static costs.
    """

    name: str
    plain: SearchSpace
    objectives: tuple[Metric, ...]
    network: Callable[[Architecture], Any]
    example: Callable[[Any], Architecture]
    rows: Mapping[Any, Mapping[str, float]]

    @cached_property
    def space(self) -> TableSpace:
        ours = SearchSpace.__dataclass_fields__
        genes = {name: getattr(self.plain, name) for name in ours}
        return TableSpace(**genes, network=self.network, example=self.example)

    @cached_property
    def names(self) -> list[Any]:
        """The networks' names, by row number."""
        return list(self.rows)

    @cached_property
    def numbers(self) -> dict[Any, int]:
        """Each network's row number."""
        return {name: number for number, name in enumerate(self.rows)}

    @cached_property
    def records(self) -> list[Mapping[str, float]]:
        return list(self.rows.values())

    @cached_property
    def genomes(self) -> Genomes:
        """Each network's genome, (n, n_genes)."""
        return np.array([self.space.encode(self.example(name)) for name in self.rows], dtype=np.uint8)

    @cached_property
    def values(self) -> Values:
        """Each network's objectives, (n, m)."""
        return np.array([[row[o.name] for o in self.objectives] for row in self.records])

    def problem(self, scores: Values | None = None, ask: Callable[[int], None] = lambda number: None) -> Problem:
        """The search problem. scores: measured instead of the first objective, one a row. ask: is told of each
        measurement, by row number.
        """
        first, *others = (o.name for o in self.objectives if o.kind != "static cost")
        static = [name for name in self.records[0] if name in METRICS and METRICS[name].kind == "static cost"]

        def measure(architecture: Architecture) -> dict[str, float]:
            number = self.numbers[self.network(architecture)]
            ask(number)
            row = self.records[number]
            return {
                first: row[first] if scores is None else float(scores[number]),
                **{name: row[name] for name in others},
            }

        def costs(architecture: Architecture) -> dict[str, float]:
            row = self.rows[self.network(architecture)]
            return {name: row[name] for name in static}

        return Problem(self.space, measure, costs, self.objectives, about=self.name)

    # -- the truth -----------------------------------------------------------------------------

    @cached_property
    def losses(self) -> Values:
        """Each network's objectives, (n, m): 0 is the true front's best, 1 the worst corner of the hypervolume."""
        values = minimised(self.values, self.objectives)
        front = values[pareto.non_dominated(values)]
        best, worst = front.min(axis=0), front.max(axis=0)
        losses: Values = (values - best) / ((1 + MARGIN) * np.where(worst > best, worst - best, 1))
        return losses

    @cached_property
    def front(self) -> NDArray[np.int64]:
        """The row numbers of the true Pareto front."""
        return np.flatnonzero(pareto.non_dominated(self.losses))

    @cached_property
    def attainable(self) -> float:
        """The hypervolume of the true front."""
        return self.volume(self.front)

    def volume(self, numbers: Sequence[int] | NDArray[np.int64]) -> float:
        """The hypervolume of some networks (row numbers) by their true metrics."""
        losses = self.losses[np.asarray(numbers, dtype=np.int64)]
        losses = losses[pareto.non_dominated(losses)]
        return pareto.hypervolume(losses, np.ones(losses.shape[1]))


def one_level(cells: Mapping[int, tuple[str, int]]) -> Architecture:
    """The architecture of active cells at one level: position -> operator and inner width."""
    found = tuple(Cell(position, 1, operator, inner) for position, (operator, inner) in sorted(cells.items()))
    return Architecture(found, ((1, WIDTH),))
