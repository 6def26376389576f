"""Genomes as arrays, and their names: short identifiers, keys and texts."""

import hashlib

import numpy as np
from numpy.typing import NDArray

Genomes = NDArray[np.uint8]  # (n, n_genes), or (n_genes,) of one


def subnet_id(genome: Genomes) -> str:
    """The short name of a subnet: 10 hexadecimal digits of its canonical genome's hash."""
    return subnet_ids(genome[None])[0]


def subnet_ids(genomes: Genomes) -> list[str]:
    """Short names of many genomes, (n, n_genes)."""
    return [digest.hexdigest()[:10] for digest in map(hashlib.sha256, genome_keys(genomes))]


def genome_keys(genomes: Genomes) -> list[bytes]:
    """`tobytes` of each genome, (n, n_genes)."""
    if not len(genomes):  # of a front without rows, which has no columns either
        return []
    keys: list[bytes] = np.ascontiguousarray(genomes).view(f"V{genomes.shape[1]}").ravel().tolist()
    return keys


def genome_texts(genomes: Genomes) -> list[str]:
    """Two hexadecimal digits a gene for each genome, (n, n_genes)."""
    return list(map(bytes.hex, genome_keys(genomes)))
