"""A teacher as it was found in its file: how it is called, and what is known of it before it has run."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

Range = Literal["0..1", "-1..1", "0..255"]
RANGES: dict[Range, tuple[float, float]] = {"0..1": (0.0, 1.0), "-1..1": (-1.0, 1.0), "0..255": (0.0, 255.0)}
Network = Callable[[Tensor], Tensor]  # (1, 3, h, w) -> (1, 3, scale * h, scale * w), in a range of its own
PLUGGED: dict[str, Callable[[], Network]] = {}  # teachers that plugins add, by name


@dataclass(frozen=True)
class Found:
    """A network, and what its file says of it.

    words: its kind, for people. range: of its input and output; None: it must be tried. size: (height, width) of the
    images that it accepts; None: any.
    """

    run: Network
    words: str
    range: Range | None = None
    size: tuple[int, int] | None = None
