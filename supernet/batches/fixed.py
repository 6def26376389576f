"""Fixed batches to judge networks on. They are read when needed: all at once may not fit in memory."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from math import prod
from typing import Any

import torch
from torch import Tensor

from supernet.batches.ahead import READERS, in_order
from supernet.batches.on_device import SHARE, free_bytes

Batch = tuple[Tensor, Tensor]  # (source, target)
Shape = tuple[int, ...]  # (b, c, h, w)

KEPT_BYTES = 1 << 30  # of float32; a set that is larger, and larger than a GPU's share, is read anew for each network


class Fixed(Sequence[Batch]):
    """Batches whose shapes are known, and which are read at each use."""

    def __init__(self, shapes: Sequence[tuple[Shape, Shape]], read: Callable[[int], Batch]):
        """shapes: of each batch's source and target. read: the batch of a number."""
        self.shapes, self.read = list(shapes), read

    def __len__(self) -> int:
        return len(self.shapes)

    def __getitem__(self, number: Any) -> Any:
        chosen = range(len(self))[number]
        return [*map(self.read, chosen)] if isinstance(chosen, range) else self.read(chosen)

    def __iter__(self) -> Iterator[Batch]:
        """In order; threads read the next ones meanwhile, if these fit in memory."""
        largest = max(map(bytes_of, self.shapes), default=1)
        return in_order(self.read, range(len(self)), max(1, min(READERS, KEPT_BYTES // (2 * largest))))

    def fits(self, device: torch.device) -> bool:
        """Whether all may be kept on the device."""
        return sum(map(bytes_of, self.shapes)) <= max(KEPT_BYTES, SHARE * free_bytes(device))


def bytes_of(shapes: tuple[Shape, Shape]) -> int:
    """What a batch takes."""
    return sum(4 * prod(shape) for shape in shapes)


class Side(Sequence[Tensor]):
    """The sources of some batches, or their targets."""

    def __init__(self, batches: Sequence[Batch], side: int):
        """side: 0 for the sources, 1 for the targets."""
        self.batches, self.side = batches, side

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: Any) -> Any:
        return self.batches[number][self.side]

    def __iter__(self) -> Iterator[Tensor]:
        return (batch[self.side] for batch in self.batches)

    @property
    def shapes(self) -> list[Shape]:
        if isinstance(self.batches, Fixed):
            return [shapes[self.side] for shapes in self.batches.shapes]
        return [tuple(tensor.shape) for tensor in self]


def shapes_of(tensors: Sequence[Tensor]) -> list[Shape]:
    """Their shapes; they are not read for it."""
    return tensors.shapes if isinstance(tensors, Side) else [tuple(tensor.shape) for tensor in tensors]


def count_images(tensors: Sequence[Tensor]) -> int:
    """How many images they hold."""
    return sum(shape[0] for shape in shapes_of(tensors))


def images_at(batches: Sequence[Batch], numbers: Iterable[int]) -> Iterator[tuple[Tensor, Tensor]]:
    """(source, target), each (c, h, w), of the images of these numbers, which count through all batches."""
    ends = [*accumulate(shape[0] for shape in Side(batches, 0).shapes)]
    read = lru_cache(1)(batches.__getitem__)
    for number in numbers:
        at = bisect_right(ends, number)
        source, target = read(at)
        yield source[number - ends[at]], target[number - ends[at]]
