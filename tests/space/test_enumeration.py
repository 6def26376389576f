from itertools import product

import numpy as np
import pytest

from evo_c2f.space import SearchSpace
from evo_c2f.space.enumeration import n_reachable, reachable


def every_genome(space):
    """All canonical genomes of a small space, by trying every combination of genes."""
    product_of_genes = np.array(list(product(*map(range, space.n_choices))), dtype=np.uint8)
    return np.unique(space.canonical(product_of_genes[space.is_valid(product_of_genes)]), axis=0)


def reached(space, stage, seeds):
    return np.array(list(reachable(space, stage, seeds)))


@pytest.mark.parametrize("name", ["tiny", "small"])
def test_the_counts_are_exact(name, request):
    space = request.getfixturevalue(name)
    every = every_genome(space)
    assert space.n_subnets == len(every)
    assert space.n_architectures == len({space.decode(genome).key for genome in every})


@pytest.mark.parametrize("name", ["tiny", "small"])
def test_joint_reaches_every_subnet_once(name, request):
    space = request.getfixturevalue(name)
    genomes = reached(space, "joint", space.reference[None])
    assert len(genomes) == n_reachable(space, "joint", space.reference[None])
    assert (np.unique(genomes, axis=0) == every_genome(space)).all()
    assert len(genomes) == space.n_subnets


def test_the_counts_of_a_space_that_is_known_by_heart():
    # Two cells at one level of one width: both active 4 x 4, one of them 4 + 4.
    space = SearchSpace(2, {0: (8,)}, ("dense", "thin"), (0.5, 1.0), (0, 0), "dense")
    assert (space.n_subnets, space.n_architectures) == (16 + 8, 16 + 4)


def test_the_path_stage_reaches_all_paths_at_the_reference_operator_and_full_width(small):
    genomes = reached(small, "path", small.reference[None])
    every = every_genome(small)
    paths = np.unique(every[:, small.paths], axis=0)
    assert (genomes[:, small.paths] == paths).all()
    assert len(genomes) == n_reachable(small, "path", small.reference[None])
    for genome in genomes:
        architecture = small.decode(genome)
        assert {cell.operator for cell in architecture.cells} == {"thin"}
        assert all(width == small.widths[level][-1] for level, width in architecture.widths)
        assert all(cell.inner == architecture.width(cell.level) for cell in architecture.cells)


@pytest.mark.parametrize("stage", ["operator", "channel"])
def test_a_later_stage_reaches_what_shares_a_seed_s_frozen_genes(small, stage):
    rng = np.random.default_rng(3)
    pool = small.random(60, rng)
    frozen = ~small.free(stage)
    _, first = np.unique(pool[:, frozen], axis=0, return_index=True)
    seeds = pool[np.sort(first)[:3]]
    expected = [g for g in every_genome(small) if (g[frozen] == seeds[:, frozen]).all(axis=1).any()]
    genomes = reached(small, stage, seeds)
    assert len(genomes) == len(expected) == n_reachable(small, stage, seeds)
    assert (np.unique(genomes, axis=0) == np.array(expected)).all()
    assert (genomes == seeds[:, None]).all(axis=2).any(axis=1).sum() == len(seeds), "a seed is not among them"


def test_counting_takes_no_enumeration(large):
    assert n_reachable(large, "joint", large.reference[None]) == large.n_subnets > 10**8
    # 5 inner widths and 1 trunk width of 3 choices each
    assert n_reachable(large, "channel", large.reference[None]) == 3**6
