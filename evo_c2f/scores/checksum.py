"""Checksums of many rows at once; a checksum changes whenever one word of its row does."""

import hashlib

import numpy as np
from numpy.typing import NDArray

Checks = NDArray[np.uint64]

PRIME = 0x100000001B3  # of FNV-1a, here over words of 8 bytes: odd, so that no factor is lost
BLOCK = 1024  # rows that stay in the processor's cache while their words are gone through


def checks(rows: NDArray[np.generic], first: int, salt: str, used: int | None = None) -> Checks:
    """(n,) rows of any type -> (n,), never 0.

    first: the number of the first row. It and the salt (the column) enter the checksum, so a row in the wrong place is
    detected. used: only so many bytes of each row count; the others are taken as 0.
    """
    n, size = len(rows), rows.dtype.itemsize
    used = size if used is None else used
    start = np.uint64(int.from_bytes(hashlib.sha256(salt.encode()).digest()[:8], "little"))
    found = (np.arange(first, first + n, dtype=np.uint64) ^ start) * np.uint64(PRIME)
    n_words = -(-size // 8)
    padded = np.zeros((BLOCK, n_words * 8), dtype=np.uint8)
    for begin in range(0, n, BLOCK):
        block, part = found[begin : begin + BLOCK], rows[begin : begin + BLOCK]
        padded[: len(part), :used] = np.ascontiguousarray(part).view(np.uint8).reshape(len(part), size)[:, :used]
        words = padded.view(np.uint64).T[:, : len(part)]
        n_read = -(-used // 8) if words.any() else 0
        for word in words[:n_read]:
            block ^= word
            block *= np.uint64(PRIME)
        block *= np.uint64(pow(PRIME, n_words - n_read, 2**64))  # the rest are zeros
    found[found == 0] = 1
    return found
