import numpy as np
import pytest

from evo_c2f.engine.problem import Judge
from evo_c2f.engine.surrogate import LEAST, Screen, farthest, most_promising
from evo_c2f.objectives import pareto
from evo_c2f.objectives.metric import limits, metric


@pytest.fixture
def judge(large, names, objectives, costs):
    return Judge(large, "joint", names, objectives, (), costs)


def metrics_of(space, genomes, measure, names):
    return np.array([[row[name] for name in names] for row in measure([space.decode(g) for g in genomes])])


def test_it_predicts_subnets_that_it_never_saw(large, judge, measure, names):
    rng = np.random.default_rng(0)
    known, unseen = large.random(96, rng), large.random(200, rng)
    predicted = Screen(large, judge, 0).predict(unseen, known, metrics_of(large, known, measure, names))
    truth = judge.minimised(metrics_of(large, unseen, measure, names))
    assert np.corrcoef(predicted[:, 0], truth[:, 0])[0, 1] > 0.95
    assert (predicted[:, 1] == truth[:, 1]).all()  # a static cost is known, not predicted


def test_inactive_genes_count_for_nothing(large, judge):
    genome = large.random(1, np.random.default_rng(0))
    row = Screen(large, judge, 0).features(genome)[0, : large.n_choices.sum()]
    assert row.sum() == large.active(genome).sum()


@pytest.mark.parametrize("seed", range(5))
def test_it_sees_the_network_as_a_whole(large, judge, seed):
    genome = large.random(1, np.random.default_rng(seed))[0]
    network, whole = large.decode(genome), Screen(large, judge, 0).whole(genome)
    cells = whole[:-2].reshape(len(large.levels), -1)
    assert cells[:, :-2].sum() == len(network.cells)
    assert cells[:, -2].sum() == pytest.approx(sum(np.log(cell.inner) for cell in network.cells))
    for level, width in network.widths:
        assert cells[large.levels.index(level), -1] == pytest.approx(np.log(width))


def test_what_it_chooses_is_better_than_chance(large, judge, measure, names):
    rng = np.random.default_rng(0)
    known, pool = large.random(64, rng), large.random(200, rng)
    metrics = metrics_of(large, known, measure, names)
    chosen = Screen(large, judge, 0).choose(pool, 20, known, metrics)
    assert len(set(chosen.tolist())) == 20

    ceiling = judge.minimised(metrics_of(large, np.concatenate([known, pool]), measure, names)).max(axis=0)

    def volume(genomes):
        values = judge.minimised(np.concatenate([metrics, metrics_of(large, genomes, measure, names)]))
        return pareto.hypervolume(values, ceiling)

    by_chance = [volume(pool[rng.permutation(200)[:20]]) for _ in range(20)]
    assert volume(pool[chosen]) > max(by_chance)


def test_with_too_little_known_costs_are_spread(large, judge, measure, names):
    rng = np.random.default_rng(0)
    known, pool = large.random(LEAST + 4, rng), large.random(200, rng)
    metrics = metrics_of(large, known, measure, names)
    metrics[:5, 0] = np.nan  # failed ones teach nothing
    screen = Screen(large, judge, 0)
    chosen = screen.choose(pool, 10, known, metrics)
    assert len(set(chosen.tolist())) == 10
    assert chosen.tolist() == farthest(judge.log_macs(pool), judge.log_macs(known), 10).tolist()
    metrics[0, 0] = 30.0  # enough
    assert screen.choose(pool, 10, known, metrics).tolist() != chosen.tolist()
    assert screen.choose(pool[:3], 10, known, metrics).tolist() == [0, 1, 2]


def test_failed_ones_teach_nothing(large, judge, measure, names):
    rng = np.random.default_rng(0)
    known, pool = large.random(40, rng), large.random(100, rng)
    metrics = metrics_of(large, known, measure, names)
    metrics[::4] = np.nan
    screen, whole = Screen(large, judge, 0), np.isfinite(metrics[:, 0])
    chosen = screen.choose(pool, 10, known, metrics)
    assert chosen.tolist() == screen.choose(pool, 10, known[whole], metrics[whole]).tolist()


def test_a_line_is_learned_as_a_line(large, judge):
    rng = np.random.default_rng(0)
    known, unseen = large.random(200, rng), large.random(50, rng)
    screen = Screen(large, judge, 0)
    guess = screen.guess(unseen, known, screen.judge.log_macs(known)[:, None])[:, 0]
    assert guess == pytest.approx(screen.judge.log_macs(unseen), abs=0.05)


def test_a_cost_that_must_be_measured_is_predicted(large, names, measure, costs):
    rng = np.random.default_rng(0)
    known, unseen = large.random(60, rng), large.random(50, rng)
    judge = Judge(large, "joint", (*names, "latency_ms"), (metric("psnr_y"), metric("latency_ms")), (), costs)
    metrics = metrics_of(large, known, measure, names)
    metrics = np.column_stack([metrics, metrics[:, names.index("macs")] ** 0.5])
    predicted = Screen(large, judge, 0).predict(unseen, known, metrics)[:, 1]
    truth = metrics_of(large, unseen, measure, names)[:, names.index("macs")] ** 0.5
    assert np.corrcoef(predicted, truth)[0, 1] > 0.9


def test_what_it_learns_depends_neither_on_the_order_of_the_rows_nor_on_their_repetition(large, judge):
    rng = np.random.default_rng(0)
    known, unseen = np.unique(large.random(60, rng), axis=0), large.random(50, rng)
    screen = Screen(large, judge, 0)
    macs = screen.judge.log_macs(known)
    values = abs(macs - macs.mean())[:, None]  # which trees learn, and lines don't
    guess = screen.guess(unseen, known, values)
    assert (guess != Screen(large, judge, 1).guess(unseen, known, values)).any(), "the trees were not taken"
    for order in (rng.permutation(len(known)), [*range(len(known)), 3, 0]):
        assert (screen.guess(unseen, known[order], values[order]) == guess).all()


@pytest.mark.parametrize("n_known", [60, LEAST - 1])
@pytest.mark.parametrize(("stage", "side"), [("joint", "max"), ("joint", "min"), ("operator", "max")])
def test_what_breaks_a_limit_on_a_cost_is_chosen_where_too_few_others_are_there(
    large, measure, names, objectives, costs, stage, side, n_known
):
    rng, sign = np.random.default_rng(0), 1 if side == "max" else -1
    known, pool = (large.complete(large.random(n, rng), large.still_open(stage)) for n in (n_known, 200))
    free = Judge(large, stage, names, objectives, (), costs)
    costs_of_pool = sign * np.array([free.cheapest(genome, "params") for genome in pool])
    limit = {"params": sign * np.sort(costs_of_pool)[20]}
    limited = Judge(large, stage, names, objectives, limits(*(limit, {})[::sign]), costs)
    kept = np.flatnonzero(costs_of_pool <= np.sort(costs_of_pool)[20])

    def chosen(judge, n, pool=pool):
        return Screen(large, judge, 0).choose(pool, n, known, metrics_of(large, known, measure, names)).tolist()

    assert chosen(limited, 10) == kept[chosen(limited, 10, pool[kept])].tolist()
    assert not {*chosen(free, 10)} <= {*kept}
    n = len(kept) + 5
    assert {*chosen(limited, n)} == {*np.argsort(costs_of_pool, kind="stable")[:n]}


def test_what_breaks_a_limit_shadows_nothing(large, measure, names, objectives, costs):
    """Known subnets that are too large are none that children must beat."""
    rng = np.random.default_rng(0)
    known, pool = large.random(60, rng), large.random(100, rng)
    metrics = metrics_of(large, known, measure, names)
    sizes, macs = metrics[:, names.index("params")], names.index("macs")
    limited = Judge(large, "joint", names, objectives, limits({"params": float(np.median(sizes))}, {}), costs)
    cheap = metrics.copy()
    cheap[sizes > np.median(sizes), macs] = metrics[:, macs].min()  # so they would dominate almost all
    chosen = [Screen(large, limited, 0).choose(pool, 10, known, some).tolist() for some in (metrics, cheap)]
    assert chosen[0] == chosen[1]


def test_the_farthest_come_one_after_another():
    values = np.array([0.0, 1.0, 2.0, 9.0, 10.0])
    assert farthest(values, np.array([0.0]), 3).tolist() == [4, 2, 1]
    assert farthest(values, np.array([]), 2).tolist() == [0, 4]
    assert sorted(farthest(np.zeros(3), np.array([]), 3).tolist()) == [0, 1, 2]


def test_the_most_promising_are_those_of_a_greedy_search():
    rng = np.random.default_rng(0)
    known, predicted = rng.random((15, 2)), rng.random((60, 2)) - 0.2
    front, left, expected = known, list(range(60)), []
    reference = np.full(2, 1.1)
    for _ in range(6):
        volumes = [pareto.hypervolume(np.vstack([front, predicted[i]]), reference) for i in left]
        expected.append(left.pop(int(np.argmax(volumes))))
        front = np.vstack([front, predicted[expected[-1]]])
    assert most_promising(predicted, known, 6) == expected


def test_what_adds_nothing_is_not_promising():
    assert most_promising(np.array([[0.5, 0.5], [0.1, 0.9]]), np.array([[0.2, 0.2]]), 2) == [1]
