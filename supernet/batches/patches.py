"""Training batches of patches, cut at random places of pairs of pictures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from supernet.ranks import ALONE, Ranks

if TYPE_CHECKING:
    from supernet.batches.degradation import Degradation
    from supernet.data.images import LowAndHigh, Pixels

AROUND, BLOCK = 8, 16  # pixels beside a patch that are degraded with it; side of what JPEG compresses together


class Pairs(Protocol):
    """(source, target) pictures by their number. A target is `scale` times as large as its source."""

    scale: int

    @property
    def sizes(self) -> Sequence[tuple[int, int]]: ...  # (height, width) of each source
    @property
    def at_hand(self) -> bool: ...  # whether all are in memory
    def __len__(self) -> int: ...
    def __getitem__(self, number: int, /) -> tuple[Pixels, Pixels]: ...
    def forget(self) -> None: ...  # keep none in memory


class Cut(NamedTuple):
    """A square patch: of which pair, the corner in its source, quarter turns to the left, and then whether mirrored."""

    pair: int
    top: int
    left: int
    turns: int
    mirrored: bool


def laid(pixels: Pixels, turns: int, mirrored: bool) -> Pixels:
    """The square, turned and then mirrored."""
    pixels = np.rot90(pixels, turns)
    return pixels[:, ::-1] if mirrored else pixels


def square(cut: Cut, side: int, unit: int = 1) -> tuple[slice, slice]:
    """The rows and columns of the cut in a picture that is `unit` times as large as the source."""
    rows, columns = (slice(unit * start, unit * (start + side)) for start in (cut.top, cut.left))
    return rows, columns


class Patches(ABC):
    """Training batches. A batch depends only on the seed and its index, so training can resume anywhere."""

    def __init__(self, pairs: Pairs, side: int, batch: int, seed: int | Sequence[int], ranks: Ranks = ALONE):
        """side: of a source's patch in pixels. This process gets its part of each batch."""
        self.pairs, self.side, self.batch, self.part = pairs, side, batch, ranks.part(batch)
        self.seed = [seed] if isinstance(seed, int) else [*seed]

    @abstractmethod
    def draw(self, rng: np.random.Generator) -> Iterator[Cut]:
        """The cuts of a whole batch."""

    def cuts(self, index: int) -> list[Cut]:
        """This process's part of the cuts of a batch."""
        every = self.draw(np.random.default_rng([*self.seed, index]))
        return [cut for position, cut in enumerate(every) if position in self.part]

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """(source (b, c, side, side), target (b, c, scale * side, scale * side)) in 0..1, as channels_last."""
        source, target = self.cut(index)
        return as_floats(source), as_floats(target)

    def cut(self, index: int) -> tuple[Tensor, Tensor]:
        """The same as pixels, (b, side, side, c) and (b, scale * side, scale * side, c)."""
        sources: list[Pixels] = []
        targets: list[Pixels] = []
        for position, cut in zip(self.part, self.cuts(index), strict=True):
            for pixels, into in zip(self.pair(cut, index, position), (sources, targets), strict=True):
                into.append(laid(pixels, cut.turns, cut.mirrored))
        # np.stack would leave patches that are all turned as they lie in memory.
        source, target = (torch.from_numpy(np.ascontiguousarray(np.stack(cut))) for cut in (sources, targets))
        return source, target

    def pair(self, cut: Cut, index: int, position: int) -> tuple[Pixels, Pixels]:
        """(source, target) of a cut, as they lie in their pictures. position: in the batch of this index."""
        source, target = self.pairs[cut.pair]
        return source[square(cut, self.side)], target[square(cut, self.side, self.pairs.scale)]


class PatchPairs(Patches):
    """From photographs: flipped and turned at random, and larger ones are cut more often."""

    def __init__(self, pairs: Pairs, side: int, batch: int, seed: int | Sequence[int], ranks: Ranks = ALONE):
        super().__init__(pairs, side, batch, seed, ranks)
        areas = np.array([height * width for height, width in pairs.sizes], dtype=float)
        self.chances = areas / areas.sum()

    def draw(self, rng: np.random.Generator) -> Iterator[Cut]:
        for number in rng.choice(len(self.chances), size=self.batch, p=self.chances):
            top, left = (int(rng.integers(side - self.side + 1)) for side in self.pairs.sizes[number])
            yield Cut(int(number), top, left, int(rng.integers(4)), bool(rng.integers(2)))


class DegradedPatches(PatchPairs):
    """From photographs that are degraded anew for each patch. The draws depend on the seed, the batch's index and the
    patch's position in the batch.
    """

    def __init__(
        self,
        pairs: LowAndHigh,
        degradation: Degradation,
        side: int,
        batch: int,
        seed: int | Sequence[int],
        ranks: Ranks = ALONE,
    ):
        super().__init__(pairs, side, batch, seed, ranks)
        self.photographs, self.degradation = pairs.photographs, degradation

    def pair(self, cut: Cut, index: int, position: int) -> tuple[Pixels, Pixels]:
        """Degraded together with what lies around it, since the steps look at neighbours. JPEG's blocks lie as in the
        whole photograph.
        """
        rng = np.random.default_rng(np.random.SeedSequence([*self.seed, index], spawn_key=(position,)))
        scale, pixels = self.pairs.scale, self.photographs[cut.pair].pixels
        begins = [max(0, start - AROUND) // BLOCK * BLOCK for start in (cut.top, cut.left)]
        ends = [-(-(start + self.side + AROUND) // BLOCK) * BLOCK for start in (cut.top, cut.left)]
        ends = [min(end, most) for end, most in zip(ends, self.pairs.sizes[cut.pair], strict=True)]
        rows, columns = (slice(scale * begin, scale * end) for begin, end in zip(begins, ends, strict=True))
        source = self.degradation(pixels[rows, columns], scale, rng)
        within = cut._replace(top=cut.top - begins[0], left=cut.left - begins[1])
        return source[square(within, self.side)], pixels[square(cut, self.side, scale)]


class PairBatches(Patches):
    """From aligned pairs: if `flip`, half of them are mirrored."""

    def __init__(
        self, pairs: Pairs, side: int, flip: bool, batch: int, seed: int | Sequence[int], ranks: Ranks = ALONE
    ):
        super().__init__(pairs, side, batch, seed, ranks)
        self.flip = flip

    def draw(self, rng: np.random.Generator) -> Iterator[Cut]:
        for number in rng.integers(len(self.pairs), size=self.batch):
            top, left = (int(rng.integers(side - self.side + 1)) for side in self.pairs.sizes[number])
            yield Cut(int(number), top, left, 0, self.flip and bool(rng.integers(2)))


def as_floats(pixels: Tensor) -> Tensor:
    """Of 8 or 16 bits or floats (..., h, w, c) -> float (..., c, h, w) in 0..1, the same on every device."""
    deep = pixels.dtype in (torch.uint16, torch.int16)
    floats = (signed(pixels).int() & 65535 if deep else pixels).movedim(-1, -3).float()
    if pixels.is_floating_point():
        return floats
    # By a number, CUDA multiplies with its reciprocal, which rounds otherwise.
    return floats / torch.full((), 65535.0 if deep else 255.0, device=pixels.device)


def signed(pixels: Tensor) -> Tensor:
    """The same bits as signed numbers, if they are 16: CUDA can do little with unsigned ones."""
    return pixels.view(torch.int16) if pixels.dtype == torch.uint16 else pixels
