from itertools import pairwise, product
from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evo_c2f.space import trellis

SIZES = [(1, 1), (1, 4), (2, 3), (4, 2), (3, 4), (5, 3)]  # cells, levels
seeds = st.integers(0, 2**32 - 1)
any_paths = st.tuples(st.integers(1, 6), st.integers(1, 5)).flatmap(
    lambda size: st.tuples(st.just(size[1]), st.lists(st.integers(0, size[1]), min_size=size[0], max_size=size[0]))
)


def follows_the_grammar(path):
    active = [level for level in path if level]
    return bool(active) and all(abs(b - a) <= 1 for a, b in pairwise(active))


def every_valid_path(n_cells, n_levels):
    return [path for path in product(range(n_levels + 1), repeat=n_cells) if follows_the_grammar(path)]


@pytest.mark.parametrize(("n_cells", "n_levels"), SIZES)
def test_the_enumerated_paths_are_all_that_follow_the_grammar(n_cells, n_levels):
    assert list(trellis.enumerate_paths(n_cells, n_levels)) == every_valid_path(n_cells, n_levels)


@pytest.mark.parametrize(("n_cells", "n_levels"), SIZES)
def test_a_path_is_valid_iff_it_follows_the_grammar(n_cells, n_levels):
    every = list(product(range(n_levels + 1), repeat=n_cells))
    valid = trellis.is_valid(np.array(every, dtype=np.uint8))
    assert valid.tolist() == [follows_the_grammar(path) for path in every]


@pytest.mark.parametrize(("n_cells", "n_levels"), SIZES)
@pytest.mark.parametrize(("per_cell", "per_level"), [(1, [1, 1, 1, 1]), (6, [1, 1, 1, 1]), (2, [3, 1, 5, 2])])
def test_the_count_is_that_of_the_weighted_enumeration(n_cells, n_levels, per_cell, per_level):
    def weight(path):
        visited = set(path) - {trellis.SKIP}
        return per_cell ** sum(level > 0 for level in path) * prod(per_level[level - 1] for level in visited)

    weights = per_level[:n_levels]
    paths = every_valid_path(n_cells, n_levels)
    assert trellis.count(n_cells, n_levels, per_cell, weights) == sum(weight(path) for path in paths)
    without_skips = [p for n in range(1, n_cells + 1) for p in every_valid_path(n, n_levels) if 0 not in p]
    assert trellis.count(n_cells, n_levels, per_cell, weights, skips=False) == sum(map(weight, without_skips))


@pytest.mark.parametrize(("n_cells", "n_levels", "expected"), [(64, 1, 2**64 - 1), (64, 2, 3**64 - 1), (1, 5, 5)])
def test_the_count_is_exact_where_a_closed_form_is_known(n_cells, n_levels, expected):
    assert trellis.count(n_cells, n_levels) == expected


@pytest.mark.parametrize(
    ("last", "n_levels", "expected"),
    [(trellis.SKIP, 3, [1, 2, 3]), (1, 3, [1, 2]), (2, 3, [1, 2, 3]), (3, 3, [2, 3]), (1, 1, [1])],
)
def test_the_next_level_is_at_most_one_away(last, n_levels, expected):
    assert list(trellis.reachable(last, n_levels)) == expected


@given(seeds, st.integers(1, 8), st.integers(1, 5))
def test_sampled_paths_are_valid(seed, n_cells, n_levels):
    paths = trellis.sample(20, n_cells, n_levels, np.random.default_rng(seed))
    assert paths.shape == (20, n_cells) and paths.max() <= n_levels
    assert trellis.is_valid(paths).all()


def test_sampled_paths_have_every_length_equally_often():
    paths = trellis.sample(4000, 4, 3, np.random.default_rng(0))
    lengths = np.bincount((paths != trellis.SKIP).sum(axis=1), minlength=5)
    assert lengths[0] == 0
    assert (abs(lengths[1:] - 1000) < 5 * np.sqrt(750)).all()  # five standard deviations


@pytest.mark.parametrize(("n_cells", "n_levels"), SIZES)
def test_uniform_paths_are_all_valid_ones_equally_often(n_cells, n_levels):
    every = every_valid_path(n_cells, n_levels)
    n = 100 * len(every)
    drawn, counts = np.unique(
        trellis.uniform(n, n_cells, n_levels, np.random.default_rng(0)), axis=0, return_counts=True
    )
    assert drawn.tolist() == [list(path) for path in every]
    assert abs(counts - 100).max() < 50  # five standard deviations


def test_uniform_paths_of_the_largest_spaces_are_drawn_at_once():
    paths = trellis.uniform(1000, 64, 5, np.random.default_rng(0))
    assert trellis.is_valid(paths).all() and len(np.unique(paths, axis=0)) == 1000
    assert (trellis.uniform(1000, 64, 5, np.random.default_rng(0)) == paths).all()


def test_the_seed_decides_what_is_sampled():
    one, same, other = (trellis.sample(9, 6, 3, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert (one == same).all() and (one != other).any()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ([1, 3], [1, 2]),
        ([3, 1], [3, 2]),
        ([1, 0, 4], [1, 0, 2]),
        ([1, 4, 4], [1, 2, 3]),
        ([4, 1, 1, 4], [4, 3, 2, 3]),
        ([0, 2, 3], [0, 2, 3]),
    ],
)
def test_a_repaired_jump_is_a_step_in_its_direction(path, expected):
    assert trellis.repair(np.array([path], dtype=np.uint8), 4, np.random.default_rng(0)).tolist() == [expected]


@given(any_paths, seeds)
def test_repair_keeps_valid_paths_and_makes_others_valid(path, seed):
    n_levels, levels = path
    before = np.array([levels], dtype=np.uint8)
    kept = before.copy()
    after = trellis.repair(before, n_levels, np.random.default_rng(seed))
    assert (before == kept).all(), "the input was changed"
    assert trellis.is_valid(after).all() and after.max() <= n_levels
    if trellis.is_valid(before)[0]:
        assert (after == before).all()
    if before.any():
        assert ((after == trellis.SKIP) == (before == trellis.SKIP)).all()
    else:
        assert (after != trellis.SKIP).sum() == 1


def test_paths_are_repaired_one_like_many():
    paths = np.random.default_rng(0).integers(0, 5, (200, 6)).astype(np.uint8)
    whole = trellis.repair(paths, 4, np.random.default_rng(1))
    alone = [trellis.repair(path[None], 4, np.random.default_rng(1))[0] for path in paths]
    kept = paths.any(axis=1)
    assert (whole[kept] == np.array(alone)[kept]).all()


def test_a_draw_is_that_of_choice():
    paths = trellis.sample(50, 5, 3, np.random.default_rng(0))
    rng = np.random.default_rng(0)
    for path in paths:
        last = trellis.SKIP
        n_active = rng.integers(1, 6)
        for cell in sorted(rng.permutation(5)[:n_active]):
            last = int(rng.choice(trellis.reachable(last, 3)))
            assert path[cell] == last
