"""The engine by itself: what its stages begin with, how its evaluations are divided, and which front it returns."""

import numpy as np
import pytest

from evo_c2f.coarse_to_fine import Problem, coarse_to_fine, fresh, shares
from evo_c2f.engine.budget import Budget
from evo_c2f.engine.problem import Judge
from evo_c2f.objectives import pareto
from evo_c2f.objectives.metric import Limit, metric, minimised
from evo_c2f.space import STAGES

BUDGET = Budget(40, 8)


@pytest.fixture
def problem(large, measure, costs, objectives):
    """asked: every genome that it measured, in order."""
    asked = []

    def measured(architecture):
        asked.append(large.encode(architecture))
        (row,) = measure([architecture])
        return {o.name: row[o.name] for o in objectives if o.kind != "static cost"}

    made = Problem(large, measured, costs, objectives)
    object.__setattr__(made, "asked", asked)
    return made


def judge_of(problem, stage, limits=()):
    return Judge(problem.space, stage, problem.names, problem.objectives, limits, problem.costs)


def macs_of(problem, genomes):
    return np.array([problem.costs(problem.space.decode(genome))["macs"] for genome in genomes])


def test_fresh_subnets_reach_from_the_cheapest_to_the_dearest(problem):
    space, rng = problem.space, np.random.default_rng(0)
    seeds = space.reference[None]
    drawn = fresh(space, judge_of(problem, "joint"), seeds, 16, rng)
    assert len(np.unique(drawn, axis=0)) == 16 and space.is_valid(drawn).all()
    spread, plain = np.sort(np.log(macs_of(problem, drawn))), np.sort(np.log(macs_of(problem, space.random(16, rng))))
    assert np.ptp(spread) > np.ptp(plain) and np.diff(spread).max() < np.diff(plain).max()


def test_fresh_paths_have_one_operator_throughout_and_all_operators_take_turns(problem):
    space = problem.space
    drawn = fresh(space, judge_of(problem, "path"), space.reference[None], 24, np.random.default_rng(0))
    worn = [{cell.operator for cell in space.decode(genome).cells} for genome in drawn]
    assert all(len(names) == 1 for names in worn) and set.union(*worn) == set(space.operators)
    widest = space.complete(drawn, space.free("channel"))
    assert (drawn == widest).all()


def test_fresh_subnets_keep_a_limit_on_a_cost_where_some_can(problem):
    most = float(np.quantile(macs_of(problem, problem.space.random(200, np.random.default_rng(1))), 0.3))
    for limit, kept in ((Limit(metric("macs"), "max", most), True), (Limit(metric("macs"), "max", 1e-3), False)):
        judge = judge_of(problem, "joint", (limit,))
        drawn = fresh(problem.space, judge, problem.space.reference[None], 8, np.random.default_rng(0))
        assert len(drawn) == 8 and (macs_of(problem, drawn) <= limit.value).all() == kept


def test_a_problem_without_costs_is_searched_too(problem, objectives):
    bare = Problem(problem.space, problem.measure, lambda architecture: {}, objectives[:1])
    best = coarse_to_fine(bare, None, BUDGET)
    assert len(best) == 1 and len(problem.asked) > 80


def test_without_costs_the_first_screened_are_taken_as_they_come(problem, objectives):
    bare = Problem(problem.space, problem.measure, lambda architecture: {}, objectives[:1])
    best = coarse_to_fine(bare, None, Budget(16, 8, screen=4))
    assert len(best) == 1 and len({genome.tobytes() for genome in problem.asked}) > 32


def test_each_stage_with_a_choice_has_a_tenth(problem, tiny):
    from evo_c2f.space import SearchSpace

    assert shares(problem.space) == pytest.approx({"path": 0.1, "operator": 0.1, "channel": 0.1, "joint": 0.7})
    alone = SearchSpace(3, {1: (8,)}, ("dense",), (1.0,), (1, 1, 1), "dense")
    assert shares(alone) == pytest.approx({"path": 0.1, "joint": 0.9})
    assert shares(tiny, ()) == {"joint": 1}


@pytest.mark.parametrize("stages", [STAGES, ()], ids=["coarse to fine", "joint"])
def test_the_front_is_that_of_all_subnets_that_any_stage_asked_for(problem, stages):
    best = coarse_to_fine(problem, None, BUDGET, stages=stages)
    names = [o.name for o in problem.objectives]
    scores = [problem.score(problem.space.decode(genome)) for genome in list(problem.asked)]
    values = minimised(np.array([[row[name] for name in names] for row in scores]), problem.objectives)
    front = np.unique(values[pareto.non_dominated(values)], axis=0)
    assert np.unique(minimised(best[names].to_numpy(), problem.objectives), axis=0) == pytest.approx(front)
    n = len({genome.tobytes() for genome in problem.asked})
    assert 0.8 * 3 * BUDGET.evaluations <= n <= 3 * BUDGET.evaluations + 2


def test_the_seed_decides_the_search_and_a_store_saves_all_of_it(problem, tmp_path):
    first = coarse_to_fine(problem, tmp_path / "scores.h5", BUDGET, 1)
    n = len(problem.asked)
    assert coarse_to_fine(problem, tmp_path / "scores.h5", BUDGET, 1).equals(first) and len(problem.asked) == n
    assert coarse_to_fine(problem, None, BUDGET, 1).equals(first)
    assert not coarse_to_fine(problem, None, BUDGET, 2).equals(first)
