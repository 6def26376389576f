"""Decoded pictures that are kept while they fit in memory."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from supernet.data.images import Pixels


class Kept:
    """Pictures by key, made on first use. The first ones are kept, up to a number of bytes; threads may share it.

    A kept picture is never dropped for a new one: patches are drawn at random, so all are as likely to be needed.
    """

    def __init__(self, most_bytes: int, partly: bool = True):
        """partly: whether some are kept where not all fit."""
        self.most_bytes, self.partly, self.bytes = most_bytes, partly, 0
        self.complete = True  # until a picture did not fit, or clear() was called
        self.known: dict[Hashable, tuple[Pixels, ...]] = {}
        self.memory: NDArray[np.uint8] | None = None
        self.lock = Lock()

    def __len__(self) -> int:
        return len(self.known)

    def __reduce__(self) -> tuple[object, ...]:
        return Kept, (self.most_bytes, self.partly)  # another process reads the pictures itself

    def get(self, key: Hashable, make: Callable[[], tuple[Pixels, ...]]) -> tuple[Pixels, ...]:
        """The pictures of this key. Two threads may make the same ones, which does no harm."""
        found = self.known.get(key)
        if found is None:
            found = make()
            self.put(key, found)
        return found

    def put(self, key: Hashable, pictures: tuple[Pixels, ...]) -> None:
        """Keep copies of the pictures of this key if they fit."""
        size = sum(pixels.nbytes for pixels in pictures)
        with self.lock:
            if key in self.known or not (self.complete or self.partly):
                return
            if self.bytes + size > self.most_bytes:
                self.complete = False
                if not self.partly:
                    self._drop()
                return
            self.known[key] = tuple(self._copy(pixels) for pixels in pictures)

    def _copy(self, pixels: Pixels) -> Pixels:
        """In one block: kept between the short-lived arrays of decoding, pictures would cut the memory into pieces."""
        if self.memory is None:
            self.memory = np.empty(self.most_bytes, np.uint8)  # takes memory only as it is filled
        copy = self.memory[self.bytes : self.bytes + pixels.nbytes].view(pixels.dtype).reshape(pixels.shape)
        copy[...] = pixels
        self.bytes += pixels.nbytes
        return copy

    def clear(self) -> None:
        """Keep none of the pictures so far."""
        with self.lock:
            self._drop()
            self.complete = False

    def _drop(self) -> None:
        self.known.clear()
        self.memory, self.bytes = None, 0
