import numpy as np
import pytest

from evo_c2f.engine.problem import WORST, Cheapest, Judge, StageProblem, refuse_unreachable
from evo_c2f.errors import InputError
from evo_c2f.objectives.metric import limits, metric
from evo_c2f.space import SearchSpace
from evo_c2f.space.enumeration import reachable

NAN = float("nan")
STATIC = ("params", "macs", "size_mb")


def cheapest_by_trying(space, stage, costs):
    """{frozen genes: the least cost of each kind over all completions}."""
    frozen = ~space.still_open(stage)
    best = {}
    for genome in reachable(space, "joint", space.reference[None]):
        key, cost = genome[frozen].tobytes(), costs(space.decode(genome))
        best[key] = {name: min(cost[name], best.get(key, cost)[name]) for name in STATIC}
    return best


def agree(space, stage, costs):
    """The cheapest completions of every genome of a stage, found both ways."""
    cheapest, tried = Cheapest(space, stage, costs), cheapest_by_trying(space, stage, costs)
    frozen = ~space.still_open(stage)
    starts = np.unique([np.where(frozen, g, 0) for g in reachable(space, "joint", space.reference[None])], axis=0)
    found = {genome[frozen].tobytes(): {name: cheapest(genome, name) for name in STATIC} for genome in starts}
    return found == tried


@pytest.mark.parametrize("stage", ["path", "operator", "channel"])
def test_the_cheapest_completion_is_the_cheapest_of_all(small, costs, stage):
    assert agree(small, stage, costs)


@pytest.mark.parametrize("stage", ["path", "operator"])
def test_the_cheapest_completion_is_so_at_the_generator_s_own_costs(stage):
    from supernet.network.cost import costs
    from supernet.network.generator import Frame
    from supernet.network.operators import OPERATORS

    widths = {1: (8,), 2: (16, 32), 3: (12, 48)}
    space = SearchSpace(2, widths, tuple(OPERATORS), (0.5, 1.0), (1, 1), "residual")
    for size in ((64, 64), (52, 84)):  # the second is padded on the paths to level 3
        assert agree(space, stage, lambda a, size=size: costs(a, Frame(2, True), size))


def test_the_cheapest_operator_depends_on_the_level_and_on_the_cost(small, costs):
    # At level 2, 48 channels: 'thin' has fewer parameters; at level 1 'dense' has, but 'thin' fewer MACs from 12 on.
    wide = SearchSpace(2, {1: (16,), 2: (48,)}, ("dense", "thin"), (1.0,), (1, 1), "dense")
    cheapest = Cheapest(wide, "path", costs)
    genome = {k: np.array([k, 0, 0, 0, 0, 0, 0, 0], dtype=np.uint8) for k in (1, 2)}
    assert cheapest(genome[1], "params") == 27 * 16 + 16 * 16
    assert cheapest(genome[2], "params") == 27 * 48 + 40 * 48
    assert cheapest(genome[1], "macs") == (27 * 16 + 10 * 16) * 4**3


def test_a_genome_is_left_as_it_is(small, costs):
    genome = small.reference.copy()
    Cheapest(small, "path", costs)(genome, "params")
    assert (genome == small.reference).all()


@pytest.mark.parametrize("name", STATIC)
def test_the_least_cost_is_the_least_in_the_whole_space(small, costs, name):
    every = [costs(small.decode(g))[name] for g in reachable(small, "joint", small.reference[None])]
    assert Cheapest(small, "path", costs).least(name) == min(every)


def test_the_least_cost_may_be_that_of_the_finest_level(costs):
    space = SearchSpace(2, {1: (4,), 2: (16,)}, ("dense", "thin"), (1.0,), (2, 2), "dense")
    every = [costs(space.decode(g))["params"] for g in reachable(space, "joint", space.reference[None])]
    assert Cheapest(space, "path", costs).least("params") == min(every) == 27 * 4 + 4 * 4


# -- limits that nothing can meet ------------------------------------------------------------------


def test_a_limit_below_everything_is_refused_with_the_smallest_figure(small, costs):
    least = Cheapest(small, "path", costs).least("params")
    refuse_unreachable(limits({"params": least}, {}), small, costs)  # just reachable
    with pytest.raises(
        InputError, match=f"no network meets params <= {least - 1:g}: the smallest has params {least:g}"
    ):
        refuse_unreachable(limits({"macs": 1e12, "params": least - 1}, {}), small, costs)


def test_limits_on_what_must_be_measured_wait(small, costs):
    refuse_unreachable(limits({"latency_ms": 1e-9}, {"psnr_y": 99.0}), small, costs)
    with pytest.raises(InputError, match="no network meets params"):
        refuse_unreachable(limits({"latency_ms": 1e-9, "params": 1}, {"psnr_y": 99.0}), small, costs)


# -- the judge -------------------------------------------------------------------------------------

NAMES = ("psnr_y", "macs", "params")
BOTH = metric("psnr_y"), metric("macs")


def judge_of(space, stage, costs, maxima=None, minima=None):
    return Judge(space, stage, NAMES, BOTH, limits(maxima or {}, minima or {}), costs)


def test_objectives_are_picked_by_name_and_turned_to_minimise(small, costs):
    judge = Judge(small, "joint", NAMES, (metric("params"), metric("psnr_y")), (), costs)
    metrics = np.array([[30.0, 7.0, 5.0]])
    assert judge.values(metrics).tolist() == [[5.0, 30.0]]
    assert judge.minimised(metrics).tolist() == [[5.0, -30.0]]


@pytest.mark.parametrize("name", ["psnr_y", "psnr_rgb_full"])
def test_a_psnr_gets_a_credit_for_macs_and_nothing_else_does(small, costs, name):
    others = metric("macs"), metric("lpips")
    judge = Judge(small, "joint", (name, "macs", "lpips"), (metric(name), *others), (), costs, credit=0.5)
    metrics = np.array([[30.0, 1.0, 0.2], [30.0, np.e**2, 0.2], [NAN, 5.0, NAN]])
    assert judge.minimised(metrics)[:2] == pytest.approx(np.array([[-30.0, 1.0, 0.2], [-31.0, np.e**2, 0.2]]))
    assert np.isnan(judge.minimised(metrics)[2, [0, 2]]).all()
    assert np.array_equal(judge.values(metrics), metrics, equal_nan=True)


@pytest.mark.parametrize(
    ("row", "violations", "met"),
    [
        ((30.0, 50.0, 1.0), (-0.5, -0.2, 0.0), True),
        ((25.0, 100.0, 1.0), (0.0, 0.0, 0.0), True),
        ((30.0, 150.0, 1.0), (0.5, -0.2, 0.0), False),
        ((20.0, 50.0, 1.0), (-0.5, 0.2, 0.0), False),
        ((NAN, 50.0, 1.0), (-0.5, 1.0, 1.0), False),
        ((NAN, NAN, NAN), (1.0, 1.0, 1.0), False),
        ((30.0, 50.0, NAN), (-0.5, -0.2, 1.0), False),
    ],
)
@pytest.mark.parametrize("stage", ["channel", "joint"])
def test_in_the_last_stage_limits_bind_on_what_was_measured(small, costs, stage, row, violations, met):
    judge = judge_of(small, stage, costs, {"macs": 100.0}, {"psnr_y": 25.0})
    assert judge.violations(small.reference[None], np.array([row]))[0] == pytest.approx(violations)
    assert judge.meets_all(np.array([row])).tolist() == [met]


def test_no_limits_are_met_by_all_that_did_not_fail(small, costs):
    judge = judge_of(small, "path", costs)
    metrics = np.array([[30.0, 5.0, 1.0], [NAN, 5.0, 1.0]])
    assert judge.meets_all(metrics).tolist() == [True, False]
    assert judge.violations(small.random(2, np.random.default_rng(0)), metrics).tolist() == [[0.0], [1.0]]


@pytest.mark.parametrize("stage", ["path", "operator"])
def test_before_the_last_stage_a_cost_is_that_of_the_cheapest_completion(small, costs, stage):
    genomes = small.complete(small.random(20, np.random.default_rng(0)), small.still_open(stage))
    measured = np.array([[30.0, costs(small.decode(g))["macs"], 1.0] for g in genomes])
    cheapest = Cheapest(small, stage, costs)
    least = np.array([cheapest(g, "macs") for g in genomes])
    limit = float(np.median(least))
    judge = judge_of(small, stage, costs, {"macs": limit})
    assert judge.violations(genomes, measured)[:, 0] == pytest.approx(least / limit - 1)
    assert judge.meets_all(measured).tolist() == (measured[:, 1] <= limit).tolist()
    assert ((least <= limit) & (measured[:, 1] > limit)).any(), "the two don't differ here"


@pytest.mark.parametrize("stage", ["path", "operator", "channel"])
def test_what_a_genome_exceeds_is_known_before_it_is_measured(small, costs, stage):
    genomes = small.complete(small.random(20, np.random.default_rng(0)), small.still_open(stage))
    measured = np.array([[30.0, costs(small.decode(g))["macs"], costs(small.decode(g))["params"]] for g in genomes])
    _, macs, params = np.median(measured, axis=0)
    judge = judge_of(small, stage, costs, {"macs": macs / 4}, {"params": params, "psnr_y": 99.0})
    violations = judge.violations(genomes, measured)[:, :2].clip(min=0)  # of the costs alone
    assert judge.excess(genomes) == pytest.approx(violations.sum(axis=1))
    assert violations.any(axis=0).tolist() == [True, stage == "channel"]


def test_before_the_last_stage_other_limits_wait(small, costs):
    judge = judge_of(small, "path", costs, {"psnr_y": 20.0}, {"psnr_y": 20.0, "params": 1e9})
    violations = judge.violations(small.reference[None], np.array([[35.0, 5.0, 1.0]]))
    assert violations.tolist() == [[0.0, 0.0, 0.0, 0.0]]


def test_pymoo_sees_a_failure_as_the_worst_and_infeasible(small, costs):
    metrics = np.array([[30.0, 5.0, 1.0], [NAN, NAN, NAN]])
    problem = StageProblem(small, judge_of(small, "joint", costs, {"macs": 4.0}), lambda genomes: metrics)
    out = problem.evaluate(small.random(2, np.random.default_rng(0)), return_as_dictionary=True)
    assert out["F"].tolist() == [[-30.0, 5.0], [WORST, WORST]]
    assert out["G"].tolist() == [[0.25, 0.0], [1.0, 1.0]]
