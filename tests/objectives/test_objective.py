import numpy as np
import pytest

from evo_c2f.errors import InputError
from evo_c2f.objectives.metric import METRICS, Box, Limit, limits, metric, minimised, on_whole_images

INF, NAN = float("inf"), float("nan")


def test_every_metric_has_a_direction_and_costs_are_lower_the_better():
    assert {m.better for m in METRICS.values() if m.kind != "quality"} == {"lower"}
    assert [METRICS[name].sign for name in ("psnr_y", "ssim_y", "macs", "latency_ms")] == [-1, -1, 1, 1]
    assert METRICS["latency_ms"].kind == "cost", "a measured latency is not known from the genome"


def test_a_metric_on_whole_images_is_the_same_under_its_own_name():
    whole = metric("psnr_y_full")
    assert (whole.name, whole.sign, whole.kind) == ("psnr_y_full", -1, "quality")
    renamed = on_whole_images((metric("psnr_y"), metric("macs"), metric("latency_ms")))
    assert [m.name for m in renamed] == ["psnr_y_full", "macs", "latency_ms"]


@pytest.mark.parametrize("name", ["psnr_x", "", "_full", "PSNR_Y", "macs_full", "latency_ms_full"])
def test_an_unknown_metric_is_named_with_the_known_ones(name):
    with pytest.raises(InputError, match=f"metric '{name}' is unknown; there are psnr_y, .*macs"):
        metric(name)


def test_signs_make_every_column_one_to_minimise():
    values = np.array([[30.0, 5.0], [NAN, 6.0]])
    signed = minimised(values, (metric("psnr_y"), metric("macs")))
    assert signed[0].tolist() == [-30.0, 5.0] and np.isnan(signed[1, 0]) and signed[1, 1] == 6.0
    assert values[0, 0] == 30.0, "the input was changed"


@pytest.mark.parametrize(
    ("side", "value", "measured", "violation"),
    [
        ("max", 2.0, 3.0, 0.5),
        ("max", 2.0, 2.0, 0.0),
        ("max", 2.0, 1.0, -0.5),
        ("min", 20.0, 15.0, 0.25),
        ("min", 20.0, 20.0, 0.0),
        ("min", 20.0, 30.0, -0.5),
        ("max", -2.0, -1.0, 0.5),
        ("max", 2.0, INF, INF),
        ("max", 2.0, NAN, NAN),
    ],
)
def test_a_violation_is_relative_to_the_limit(side, value, measured, violation):
    limit = Limit(metric("macs"), side, value)
    assert limit.violation(np.array([measured])) == pytest.approx([violation], nan_ok=True)


@pytest.mark.parametrize("side", ["max", "min"])
def test_a_limit_of_zero_is_met_at_zero_and_broken_beyond(side):
    beyond = 1.0 if side == "max" else -1.0
    violations = Limit(metric("macs"), side, 0.0).violation(np.array([0.0, beyond, -beyond]))
    assert violations[0] == 0 and np.isfinite(violations).all()
    assert violations[1] > 0 > violations[2]


def test_a_limit_reads_as_one_would_write_it():
    upper, lower = limits({"size_mb": 1.49}, {"psnr_y": 25.0})
    assert (str(upper), str(lower)) == ("size_mb <= 1.49", "psnr_y >= 25")
    assert (upper.metric, lower.metric) == (metric("size_mb"), metric("psnr_y"))


@pytest.mark.parametrize(
    ("maxima", "minima", "named"),
    [
        ({"macs": 1.0}, {"macs": 2.0}, "macs can't be at least 2 and at most 1"),
        ({"mac": 1.0}, {}, "metric 'mac' is unknown"),
        ({}, {"psnr_x": 1.0}, "metric 'psnr_x' is unknown"),
    ],
)
def test_limits_that_make_no_sense_are_refused_by_name(maxima, minima, named):
    with pytest.raises(InputError, match=named):
        limits(maxima, minima)


def test_equal_limits_don_t_contradict():
    assert len(limits({"macs": 2.0}, {"macs": 2.0})) == 2


# -- the box ---------------------------------------------------------------------------------------

BOTH = metric("psnr_y"), metric("macs")


@pytest.mark.parametrize(
    ("values", "gains"),
    [
        ((26.0, 100.0), (0.0, 0.0)),
        ((28.0, 100.0), (1.0, 0.0)),
        ((26.0, 0.0), (0.0, 1.0)),
        ((27.0, 25.0), (0.5, 0.75)),
        ((29.0, 150.0), (1.5, -0.5)),
    ],
)
def test_quality_runs_from_the_baseline_to_the_widest_and_cost_from_the_widest_to_nothing(values, gains):
    box = Box.between(BOTH, {"psnr_y": 26.0}, {"psnr_y": 28.0, "macs": 100.0})
    assert box.gains(np.array([values]))[0] == pytest.approx(gains)


@pytest.mark.parametrize(
    ("widest", "shallowest", "worst", "best"),
    [
        (20.0, 16.0, 15.0, 26.0),  # a tenth of the ten between the worst and the best
        (16.0, 20.0, 15.0, 26.0),
        (20.0, 36.0, 18.4, 36.0),
        (16.0, None, 15.0, 26.0),  # the shallowest failed
        (26.0, 26.0, 25.9, 26.0),  # all the same: a tenth of a unit
    ],
)
def test_where_the_widest_doesn_t_beat_the_baseline_quality_runs_from_what_subnets_surpass(
    widest, shallowest, worst, best
):
    cheap = None if shallowest is None else {"psnr_y": shallowest, "macs": 10.0}
    box = Box.between(BOTH, {"psnr_y": 26.0}, {"psnr_y": widest, "macs": 100.0}, cheap)
    assert (box.worst, box.best) == (pytest.approx((worst, 100.0)), pytest.approx((best, 0.0)))


@pytest.mark.parametrize("sign", [1, -1])
def test_where_every_subnet_is_worse_than_the_baseline_the_better_ones_still_gain_more(sign):
    """Real edges to shoes: the input itself has an LPIPS that no young subnet comes to."""
    quality = metric("lpips" if sign > 0 else "psnr_y")
    baseline, widest, shallowest = ({quality.name: sign * value, "macs": 9.0} for value in (0.3, 0.5, 0.6))
    box = Box.between((quality, metric("macs")), baseline, widest, shallowest)
    gains = box.gains(np.array([[sign * 0.62, 5.0], [sign * 0.55, 5.0], [sign * 0.45, 5.0]]))
    assert (gains > 0).all() and (np.diff(gains[:, 0]) > 0).all() and (gains < 1).all()


def test_a_baseline_that_the_widest_beats_is_the_worst_whatever_the_shallowest_comes_to():
    known = {"psnr_y": 26.0}, {"psnr_y": 28.0, "macs": 100.0}
    assert Box.between(BOTH, *known, {"psnr_y": 20.0, "macs": 10.0}) == Box.between(BOTH, *known)


def test_a_gain_of_what_failed_is_nan():
    box = Box.between(BOTH, {"psnr_y": 26.0}, {"psnr_y": 28.0, "macs": 100.0})
    assert np.isnan(box.gains(np.array([[NAN, 50.0]]))[0, 0])
