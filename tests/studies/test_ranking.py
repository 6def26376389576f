import numpy as np
import pytest
from scipy.stats import kendalltau

from evo_c2f.errors import InputError
from evo_c2f.studies import ranking


def test_the_drawn_are_different_sorted_and_evenly_spread_over_the_logarithm_of_macs(large, costs):
    genomes, macs = ranking.draw(large, 60, costs, np.random.default_rng(0))
    assert len({large.decode(genome).key for genome in genomes}) == 60
    assert (np.diff(macs) >= 0).all()
    assert macs.tolist() == [costs(large.decode(genome))["macs"] for genome in genomes]
    third = np.log(macs[-1] / macs[0]) / 3
    counts = np.histogram(np.log(macs), bins=np.log(macs[0]) + third * np.arange(4))[0]
    assert counts.min() >= 15, counts


def test_a_space_that_is_too_small_is_refused(tiny, costs):
    with pytest.raises(InputError, match="only .* different architectures"):
        ranking.draw(tiny, 1400, costs, np.random.default_rng(0))


def test_the_same_share_of_all_neighbours_is_held_out():
    mask = ranking.held_out(100, 0.6, np.random.default_rng(0))
    assert mask.sum() == 60 and (mask.reshape(10, 10).sum(axis=1) == 6).all()
    assert mask.tolist() != ranking.held_out(100, 0.6, np.random.default_rng(1)).tolist()


def test_tau_of_a_known_example():
    assert ranking.tau(np.array([1.0, 2, 3, 4]), np.array([1.0, 3, 2, 4])) == pytest.approx(4 / 6)
    assert ranking.tau(np.arange(5.0), -np.arange(5.0)) == pytest.approx(-1)


def test_the_interval_is_that_of_resampled_pairs():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=60)
    score = truth + rng.normal(size=60)
    low, high = ranking.interval(score, truth, np.random.default_rng(1))
    draws = np.random.default_rng(2).integers(60, size=(2000, 60))
    expected = np.quantile([kendalltau(score[d], truth[d]).statistic for d in draws], [0.025, 0.975])
    assert (low, high) == pytest.approx(tuple(expected), abs=0.03)
    assert low < ranking.tau(score, truth) < high


def test_the_ten_best_that_a_score_finds():
    truth = np.arange(40.0)
    assert ranking.top_overlap(truth, truth) == 1
    assert ranking.top_overlap(-truth, truth) == 0
    assert np.isnan(ranking.top_overlap(-truth[:12], truth[:12]))  # any two tens of 12 share 8
    shifted = np.roll(truth, 5)  # its ten best begin five later, of which five are among the true ones
    assert ranking.top_overlap(shifted, truth) == 0.5


def test_bands_tell_a_score_that_only_sorts_by_cost():
    rng = np.random.default_rng(0)
    macs = np.exp(np.linspace(0, 3, 60))
    truth = np.repeat([0.0, 10.0, 20.0], 20) + rng.normal(size=60)
    by_cost = ranking.compare(macs, truth, macs, np.random.default_rng(1))
    assert by_cost.tau > 0.6 and all(abs(tau) < 0.4 for tau, _, _ in by_cost.bands)
    knowing = ranking.compare(truth + 0.1 * rng.normal(size=60), truth, macs, np.random.default_rng(1))
    assert all(low > 0.6 for _, low, _ in knowing.bands)
    columns = knowing.columns()
    assert columns["band_3_low"] == knowing.bands[2][1] and "bands" not in columns


def test_a_lead_is_the_difference_of_two_taus_on_the_same_resamples():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=60)
    good, poor = truth + rng.normal(size=60) / 4, truth + rng.normal(size=60)
    found = ranking.lead(good[None], poor[None], truth, np.random.default_rng(1))
    assert found["lead"] == pytest.approx(ranking.tau(good, truth) - ranking.tau(poor, truth))
    assert 0 < found["lead_low"] < found["lead"] < found["lead_high"]
    nothing = ranking.lead(good[None], good[None], truth, np.random.default_rng(1))
    assert nothing == {"lead": 0, "lead_low": 0, "lead_high": 0}


def test_several_seeds_are_told_by_their_mean():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=60)
    good, poor = truth + rng.normal(size=(3, 60)) / 4, truth + rng.normal(size=(3, 60))
    each = [[float(ranking.tau(score, truth)) for score in scores] for scores in (good, poor)]
    mean = ranking.mean_tau(good, truth, np.random.default_rng(1))
    assert mean["tau"] == pytest.approx(np.mean(each[0]))
    assert min(each[0]) - 0.2 < mean["low"] < mean["tau"] < mean["high"] < max(each[0]) + 0.2
    found = ranking.lead(good, poor, truth, np.random.default_rng(1))
    assert found["lead"] == pytest.approx(np.mean(each[0]) - np.mean(each[1]))
    one = ranking.lead(good[:1], poor[:1], truth, np.random.default_rng(1))
    assert found["lead_high"] - found["lead_low"] < one["lead_high"] - one["lead_low"]
