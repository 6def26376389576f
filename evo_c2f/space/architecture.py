"""A decoded genome: the active cells in order, and the trunk widths of the levels that they visit."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Cell:
    """An active cell: its position in the supernet, its level, block, and inner width in channels."""

    position: int
    level: int
    operator: str
    inner: int


@dataclass(frozen=True)
class Architecture:
    """A decoded genome: the active cells in order, and (level, trunk width) of each visited level."""

    cells: tuple[Cell, ...]
    widths: tuple[tuple[int, int], ...]

    def width(self, level: int) -> int:
        """The trunk width, in channels, of a visited level."""
        return dict(self.widths)[level]

    @property
    def key(self) -> tuple[Any, ...]:
        """A key that is equal for two subnets if they differ only in which cells they skip."""
        return tuple((c.level, c.operator, c.inner) for c in self.cells), self.widths

    def to_dict(self) -> dict[str, Any]:
        """A form for JSON, read by `from_dict`."""
        return {"cells": [asdict(c) for c in self.cells], "widths": [list(w) for w in self.widths]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Architecture":
        return cls(tuple(Cell(**c) for c in data["cells"]), tuple((lv, w) for lv, w in data["widths"]))


def inner_width(trunk: int, ratio: float) -> int:
    """Inner width in channels: the ratio of the trunk's, rounded to a multiple of 4, at least 4."""
    return max(4, 4 * int(trunk * ratio / 4 + 0.5))
