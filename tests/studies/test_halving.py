import math

import pytest

from evo_c2f.errors import FailedError
from evo_c2f.studies.halving import rungs, successive_halving


@pytest.mark.parametrize(
    ("n", "plan"),
    [
        (1, []),
        (2, [(2, 3200)]),
        (3, [(3, 1600), (2, 3200)]),
        (4, [(4, 1600), (2, 3200)]),
        (5, [(5, 800), (3, 1600), (2, 3200)]),
        (16, [(16, 800), (8, 1600), (4, 3200)]),
    ],
)
def test_candidates_are_halved_and_images_doubled_up_to_the_last_rung(n, plan):
    assert rungs(n, 3200) == plan


def test_no_rung_trains_on_nothing():
    assert rungs(8, 2) == [(8, 1), (4, 1), (2, 2)]


class Race:
    """Networks that come to their quality slowly: score = quality - cost / images."""

    def __init__(self, **quality_and_cost):
        self.known, self.trained = quality_and_cost, []

    def __call__(self, names, images):
        self.trained.append((tuple(names), images))
        return [self.known[name][0] - self.known[name][1] / images for name in names]


def test_the_best_after_the_longest_trial_wins_and_each_rung_trains_the_better_half_alone():
    race = Race(a=(30, 0), b=(31, 400), c=(29, 0), d=(32, 800), e=(28, 0))
    best, trials = successive_halving("abcde", 800, race, -1)
    # After 200 images: a 30, b 29, c 29, d 28, e 28. After 400: a 30, b 30, c 29. After 800: a 30, b 30.5.
    assert race.trained == [(("a", "b", "c", "d", "e"), 200), (("a", "b", "c"), 400), (("a", "b"), 800)]
    assert best == "b"
    assert [trial.candidate for trial in trials if not trial.goes_on] == ["d", "e", "c", "a"]
    assert [trial.score for trial in trials[-2:]] == [30, 30.5]


def test_a_lower_score_wins_where_lower_is_better():
    assert successive_halving("abc", 10, Race(a=(3, 0), b=(1, 0), c=(2, 0)), 1)[0] == "b"


@pytest.mark.parametrize("sign", [1, -1])
def test_a_score_that_is_no_number_is_the_worst(sign):
    assert successive_halving("abc", 10, Race(a=(math.nan, 0), b=(1, 0), c=(-sign * math.inf, 0)), sign)[0] == "b"


def test_if_no_score_is_a_number_nothing_is_chosen():
    with pytest.raises(FailedError, match="none of 2 candidates could be trained"):
        successive_halving("ab", 10, Race(a=(math.nan, 0), b=(math.nan, 0)), -1)


def test_one_of_sixteen_wins_though_it_comes_last():
    names = "abcdefghijklmnop"
    best, trials = successive_halving(names, 80, Race(**{name: (place, 0) for place, name in enumerate(names)}), -1)
    assert best == "p"
    assert [trial.candidate for trial in trials if trial.images == 80] == ["m", "n", "o", "p"]
    assert [trial.candidate for trial in trials if trial.images == 80 and trial.goes_on] == ["p"]


def test_a_tie_goes_to_the_first_whatever_was_ahead_before():
    # After 40 images b is ahead; after 80 a and b tie.
    race = Race(a=(4, 160), b=(3, 80), c=(0, 0))
    best, trials = successive_halving("abc", 80, race, -1)
    assert [trial.score for trial in trials] == [0, 1, 0, 2, 2] and best == "a"


def test_a_tie_goes_to_the_first_and_a_single_candidate_is_not_trained():
    assert successive_halving("ab", 10, Race(a=(1, 0), b=(1, 0)), -1)[0] == "a"
    race = Race(a=(1, 0))
    assert successive_halving("a", 10, race, -1) == ("a", []) and race.trained == []
