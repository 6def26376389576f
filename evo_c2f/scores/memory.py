"""Scores kept in memory alone, for measures that cost nothing."""

from collections.abc import Sequence

import numpy as np

from evo_c2f.scores.layout import Failed
from evo_c2f.scores.store import Row
from evo_c2f.space import Genomes


class MemoryStore:
    """A map from genome to raw metrics, with the contract of `ScoreStore` but for its file."""

    def __init__(self) -> None:
        self.rows: dict[bytes, Row] = {}
        self.failures: dict[bytes, Failed] = {}

    def get(self, genome: Genomes) -> Row | None:
        """The known metrics of a canonical genome, or None if it was never measured."""
        return self.rows.get(genome.tobytes())

    def failed(self, genome: Genomes) -> Failed:
        """The metrics of the genome that were measured without a finite value, each with its reason."""
        return self.failures.get(genome.tobytes(), {})

    def append(
        self,
        genomes: Genomes,
        rows: Sequence[Row],
        stage: str,
        generation: int | Sequence[int],
        seconds: Sequence[float],
        reasons: Sequence[str] = (),
    ) -> None:
        """Add genomes with their metrics; a value is never overwritten."""
        for genome, row, reason in zip(genomes, rows, reasons or [""] * len(rows), strict=True):
            known = self.rows.setdefault(genome.tobytes(), {})
            known.update((name, value) for name, value in row.items() if np.isfinite(value) and name not in known)
            failed = {name: reason for name in row if name not in known}
            self.failures[genome.tobytes()] = {
                name: why for name, why in {**self.failed(genome), **failed}.items() if name not in known
            }
