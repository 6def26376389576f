"""Checksums of many rows at once: one that changes whenever one word of its row does."""

import hashlib

import numpy as np
from numpy.typing import NDArray

Checks = NDArray[np.uint64]

PRIME = np.uint64(0x100000001B3)  # of FNV-1a, here over words of 8 bytes: odd, so that no factor is lost


def checks(rows: NDArray[np.generic], first: int, salt: str) -> Checks:
    """(n,) rows of any type -> (n,), never 0.

    first: the number of the first row; it and the salt (whose rows they are) enter: a row in the place of another is
    found.
    """
    n, size = len(rows), rows.dtype.itemsize
    padded = np.zeros((n, -(-size // 8) * 8), dtype=np.uint8)
    padded[:, :size] = np.ascontiguousarray(rows).view(np.uint8).reshape(n, size)
    start = int.from_bytes(hashlib.sha256(salt.encode()).digest()[:8], "little")
    found = (np.arange(first, first + n, dtype=np.uint64) ^ np.uint64(start)) * PRIME
    for word in padded.view(np.uint64).T:
        found = (found ^ word) * PRIME
    found[found == 0] = 1
    return found
