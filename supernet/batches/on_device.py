"""Pictures that lie on the training's device as their files' numbers, and patches that are cut there."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from supernet.batches.ahead import Ahead, in_order, sent
from supernet.batches.patches import Cut, Pairs, Patches, as_floats, laid, signed
from supernet.pictures.decoding import Levels

Pair = tuple[Levels, Levels]

SHARE = 0.25  # of a GPU's free memory that pictures may take
CORNERS = np.moveaxis(np.indices((2, 2), dtype=np.uint8), 0, -1)  # (row, column) of the pixels of a 2x2 square


def way(turns: int, mirrored: bool) -> NDArray[np.int64]:
    """Where a laid square begins, 0 or 1 for the first or last (row, column), and its steps down and to the right."""
    square = laid(CORNERS, turns, mirrored).astype(np.int64)
    return np.stack([square[0, 0], square[1, 0] - square[0, 0], square[0, 1] - square[0, 0]])


WAYS = np.array([[way(turns, mirrored) for mirrored in (False, True)] for turns in range(4)])


class Stored:
    """All pairs on one device: the pixels of all sources in one tensor, and those of all targets."""

    def __init__(self, pairs: Pairs, device: torch.device, first: Pair | None = None):
        """first: the first pair, if it is read already."""
        self.device, self.units = device, (1, pairs.scale)
        first = first or pairs[0]
        sizes = np.array(pairs.sizes, dtype=np.int64)
        self.widths, areas = sizes[:, 1], sizes.prod(axis=1)
        self.starts = areas.cumsum() - areas
        self.pixels = [
            torch.empty(int(areas.sum()) * unit**2, pixel.shape[-1], dtype=pixel.dtype, device=device)
            for unit, pixel in zip(self.units, pixels_of(first), strict=True)
        ]
        others = in_order(pairs.__getitem__, range(1, len(pairs)), torch.get_num_threads())
        for start, area, (source, target) in zip(self.starts, areas, chain([first], others), strict=True):
            for pixels, picture, unit in zip(self.pixels, (source, target), self.units, strict=True):
                flat = signed(torch.from_numpy(np.array(picture))).flatten(0, 1)
                pixels[start * unit**2 : (start + area) * unit**2] = flat

    def addresses(self, cuts: list[Cut], side: int) -> NDArray[np.int64]:
        """Where the patches begin, and their steps down and to the right, as numbers of pixels.

        side: of a source's patch. Shape: (sources and targets, these 3, cuts).
        """
        numbers, tops, lefts, turns, mirrored = np.array(cuts).T
        addresses = []
        for unit in self.units:
            widths = unit * self.widths[numbers]
            steps = np.stack([widths, np.ones_like(widths)], axis=1)  # to the next row and to the next column
            begins, downs, rights = (WAYS[turns, mirrored] * steps[:, None]).sum(axis=2).T
            corners = unit**2 * self.starts[numbers] + unit * tops * widths + unit * lefts
            addresses.append([corners + (unit * side - 1) * begins, downs, rights])
        return np.array(addresses)

    def cut(self, cuts: list[Cut], side: int) -> tuple[Tensor, Tensor]:
        """The patches, as `Patches` has them, by one gather for the sources and one for the targets."""
        addresses = sent(torch.from_numpy(self.addresses(cuts, side)), self.device)[..., None, None]
        batch = []
        for pixels, (begins, downs, rights), unit in zip(self.pixels, addresses, self.units, strict=True):
            steps = torch.arange(unit * side, device=self.device)
            batch.append(as_floats(pixels[begins + downs * steps[:, None] + rights * steps]))
        return batch[0], batch[1]


class OnDevice:
    """Batches that are cut on the device."""

    def __init__(self, patches: Patches, stored: Stored):
        self.patches, self.stored = patches, stored

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.stored.cut(self.patches.cuts(index), self.patches.side)

    def close(self) -> None:
        """Does nothing: it has no threads."""


def pixels_of(pair: Pair) -> list[Tensor]:
    """A pixel of the source and one of the target: all others have as many channels of such numbers."""
    return [signed(torch.from_numpy(np.array(picture[:1, :1]))) for picture in pair]


def bytes_of(pairs: Pairs, first: Pair) -> int:
    """What all pictures take."""
    source, target = (pixel.nbytes for pixel in pixels_of(first))
    return sum(height * width for height, width in pairs.sizes) * (source + target * pairs.scale**2)


def free_bytes(device: torch.device) -> int:
    """What is free of a GPU's memory; 0 for other devices, where pictures stay as they are."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0


class Places:
    """Chooses where the patches of some pairs are cut: on the training's device if all its pairs fit there."""

    def __init__(self, pairs: Pairs, free: Callable[[torch.device], int] = free_bytes):
        self.pairs, self.free = pairs, free
        self.stored = dict[torch.device, Stored | None]()

    def __reduce__(self) -> tuple[object, ...]:
        return Places, (self.pairs, self.free)  # another process stores its own

    def batches(self, patches: Patches, device: torch.device) -> Ahead | OnDevice:
        """The batches of these patches, on the device. The pairs are stored there once, for all trainings."""
        if device not in self.stored:
            free = SHARE * self.free(device)
            first = self.pairs[0] if free else None
            fits = first is not None and bytes_of(self.pairs, first) <= free
            self.stored[device] = Stored(self.pairs, device, first) if fits else None
            if fits:
                self.pairs.forget()
        stored = self.stored[device]
        return OnDevice(patches, stored) if stored else Ahead(patches, device)
