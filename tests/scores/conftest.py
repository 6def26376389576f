"""What the tests of the store share."""

import numpy as np
import pytest


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "scores.h5"


@pytest.fixture(scope="session")
def genomes(tiny):
    """40 different genomes."""
    unique = np.unique(tiny.random(200, np.random.default_rng(0)), axis=0)
    return np.random.default_rng(1).permutation(unique)[:40]
