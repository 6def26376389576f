from itertools import combinations

import moocore
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pymoo.indicators.hv import HV
from pymoo.operators.survival.rank_and_crowding.metrics import calc_crowding_distance
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

from evo_c2f.objectives import pareto

INF, NAN = float("inf"), float("nan")
# A coarse grid makes ties and equal rows.
grids = hnp.arrays(np.float64, st.tuples(st.integers(1, 12), st.integers(1, 4)), elements=st.integers(0, 4))


def dominates(a, b):
    return bool((a <= b).all() and (a < b).any())


def brute_force(values):
    return [not any(dominates(other, row) for other in values) for row in values]


# -- the front -------------------------------------------------------------------------------------


@given(grids)
def test_the_front_is_what_no_other_row_dominates(values):
    assert pareto.non_dominated(values).tolist() == brute_force(values)


@pytest.mark.parametrize(
    ("values", "front"),
    [
        ([[1, 2]], [True]),
        ([[1, 2], [2, 1]], [True, True]),
        ([[1, 2], [1, 2]], [True, True]),
        ([[1, 2], [1, 1]], [False, True]),
        ([[3], [1], [1]], [False, True, True]),
        ([[NAN, 0], [1, 1]], [False, True]),
        ([[-INF, 0], [1, 1]], [False, True]),
        ([[0, INF], [1, 1]], [False, True]),
        ([[NAN, NAN]], [False]),
    ],
)
def test_ties_stay_and_rows_that_are_not_finite_never_count(values, front):
    assert pareto.non_dominated(np.array(values, dtype=float)).tolist() == front


def test_no_rows_have_no_front():
    empty = np.empty((0, 2))
    assert pareto.non_dominated(empty).shape == (0,)
    assert pareto.ranks(empty).shape == (0,)
    assert pareto.hypervolume(empty, np.ones(2)) == 0


@given(grids)
def test_the_ranks_are_those_of_pymoo_s_sorting(values):
    expected = np.empty(len(values), dtype=int)
    for rank, front in enumerate(NonDominatedSorting().do(values)):
        expected[front] = rank
    assert pareto.ranks(values).tolist() == expected.tolist()


def test_rows_with_nan_rank_after_all_others():
    values = np.array([[NAN, 0.0], [1, 2], [2, 3], [2, 1], [0, NAN]])
    assert pareto.ranks(values).tolist() == [2, 0, 1, 0, 2]


# -- hypervolume -----------------------------------------------------------------------------------


def volume_by_inclusion_and_exclusion(values, reference):
    """The union of boxes as the alternating sum over all sets of them; the definition, in effect."""
    total = 0.0
    for size in range(1, len(values) + 1):
        for rows in combinations(values, size):
            total -= (-1) ** size * np.prod(np.clip(reference - np.max(rows, axis=0), 0, None))
    return total


@pytest.mark.parametrize("m", [2, 3, 4])
@pytest.mark.parametrize("n", [1, 2, 7, 25])
def test_the_hypervolume_is_that_of_pymoo_and_moocore(m, n):
    rng = np.random.default_rng([m, n])
    for round_to in (1, 8):  # one digit makes ties
        values = rng.random((n, m)).round(round_to)
        values[0] = 1.2  # beyond the reference: it adds nothing
        reference = np.ones(m)
        expected = HV(ref_point=reference)(values)
        assert pareto.hypervolume(values, reference) == pytest.approx(expected, abs=1e-12)
        assert moocore.hypervolume(values, ref=reference) == pytest.approx(expected, abs=1e-12)
        assert n == 1 or expected > 0


@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(1, 4)), elements=st.integers(-1, 4)))
def test_the_hypervolume_is_that_of_the_union_of_boxes(values):
    reference = np.full(values.shape[1], 3.0)
    expected = volume_by_inclusion_and_exclusion(values, reference)
    assert pareto.hypervolume(values, reference) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("values", "reference", "volume"),
    [
        ([[0.25]], [1], 0.75),
        ([[0.5, 0.5]], [1, 1], 0.25),
        ([[0.5, 0.5], [0.5, 0.5]], [1, 1], 0.25),
        ([[0.5, 0.0], [0.0, 0.5]], [1, 1], 0.75),
        ([[1.0, 0.0]], [1, 1], 0.0),
        ([[2.0, -9.0]], [1, 1], 0.0),
        ([[-1.0, -1.0]], [1, 1], 4.0),
        ([[NAN, 0.0], [0.5, 0.5]], [1, 1], 0.25),
        ([[0.0, INF], [0.5, 0.5]], [1, 1], 0.25),
        ([[0.5, 0.5, 0.0], [0.5, 0.5, 0.5]], [1, 1, 1], 0.25),
    ],
)
def test_the_hypervolume_of_boxes_that_one_can_draw(values, reference, volume):
    got = pareto.hypervolume(np.array(values, dtype=float), np.array(reference, dtype=float))
    assert got == pytest.approx(volume)


# -- crowding, spread, knee ------------------------------------------------------------------------


@pytest.mark.parametrize("m", [2, 3, 4])
@pytest.mark.parametrize("digits", [1, 8])
def test_the_crowding_distance_is_pymoo_s(m, digits):
    values = np.random.default_rng([m, digits]).random((20, m)).round(digits)
    assert pareto.crowding(values) == pytest.approx(calc_crowding_distance(values))


@pytest.mark.parametrize("n", [1, 2])
def test_the_ends_of_a_front_are_not_crowded(n):
    assert (pareto.crowding(np.arange(2.0 * n).reshape(n, 2)) == INF).all()


def test_a_row_is_as_crowded_as_its_neighbours_are_near():
    values = np.array([[0.0, 4.0], [1.0, 3.0], [2.0, 2.0], [4.0, 0.0]])
    assert pareto.crowding(values).tolist() == [INF, 0.5, 0.75, INF]


@pytest.mark.parametrize(
    ("values", "k", "kept"),
    [
        ([[0, 4], [1, 3], [2, 2], [4, 0]], 8, [0, 1, 2, 3]),
        ([[0, 4], [1, 3], [2, 2], [4, 0]], 3, [0, 2, 3]),
        ([[0, 4], [1, 3], [2, 2], [4, 0]], 2, [0, 3]),
        ([[2, 2]], 1, [0]),
    ],
)
def test_a_spread_drops_the_most_crowded_and_keeps_the_ends(values, k, kept):
    assert pareto.spread(np.array(values, dtype=float), k).tolist() == kept


def test_a_spread_goes_one_at_a_time():
    # Of the close pair in the middle one goes; dropping the two most crowded at once would lose both.
    values = np.array([[x, 10 - x] for x in (0.0, 4.9, 5.1, 8.0, 10.0)])
    kept = set(pareto.spread(values, 4).tolist())
    assert len(kept & {1, 2}) == 1 and {0, 3, 4} <= kept


@pytest.mark.parametrize(
    ("values", "row"),
    [
        ([[0, 1], [0.2, 0.2], [1, 0]], 1),
        ([[0, 1000], [0.4, 100], [1, 0]], 1),
        ([[0, 1], [0.45, 0.5], [0.1, 0.7], [1, 0]], 2),
        ([[3, 7]], 0),
        ([[3, 7], [3, 7]], 0),
        ([[0, 1, 1], [1, 0, 1], [1, 1, 0], [0.5, 0.5, 0.5]], 3),
        # The plane through the extremes of these is x + y + z / 4 = 1, from which the last lies farther than the knee.
        ([[1, 0, 0], [0, 1, 0], [0.05, 0.7, 1], [0.4, 0.1, 0.1], [0.1, 0.3, 0.3]], 3),
    ],
)
def test_the_knee_has_the_least_sum_of_scaled_values(values, row):
    assert pareto.knee(np.array(values, dtype=float)) == row


@given(hnp.arrays(np.float64, st.tuples(st.integers(2, 12), st.just(2)), elements=st.floats(0, 1, width=16)))
def test_with_two_objectives_the_knee_lies_farthest_from_the_line_through_the_ends(values):
    front = np.unique(values[pareto.non_dominated(values)], axis=0)
    scaled = (front - front.min(axis=0)) / np.where(np.ptp(front, axis=0) > 0, np.ptp(front, axis=0), 1)
    (x, y), (dx, dy) = (scaled - scaled[0]).T, scaled[-1] - scaled[0]
    distances = dy * x - dx * y
    assert distances[pareto.knee(front)] == pytest.approx(distances.max())


@given(grids.filter(lambda values: values.shape[1] == 2), st.tuples(st.floats(0.1, 9), st.floats(0.1, 9)))
def test_the_knee_doesn_t_depend_on_the_units(values, units):
    front = values[pareto.non_dominated(values)]
    sums = ((front - front.min(axis=0)) / np.maximum(np.ptp(front, axis=0), 1e-9)).sum(axis=1)
    assert sums[pareto.knee(front * np.array(units))] == pytest.approx(sums.min())
