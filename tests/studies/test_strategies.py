from dataclasses import replace

import numpy as np
import pytest

from evo_c2f.objectives.metric import Box
from evo_c2f.scores.memory import MemoryStore
from evo_c2f.scores.store import ScoreStore
from evo_c2f.space import SearchSpace
from evo_c2f.studies.strategies import STRATEGIES, Arena, integer_codes
from evo_c2f.workers.evaluator import Evaluator
from evo_c2f.workers.processes import Here, Task

EVALUATIONS = 60
FEW = 36  # where each is run three times


@pytest.fixture
def arena(tmp_path, large, measure, names, objectives, costs, context_of):
    (widest,) = measure([large.decode(large.reference)])
    box = Box.between(objectives, {"psnr_y": 25.0}, widest)
    with ScoreStore(tmp_path / "scores.h5", context_of(large)) as store:
        yield Arena(large, Evaluator(large, store, Here(Task(measure, names))), box, costs, EVALUATIONS, 12)


def needs_numba(name):
    if "AGE" in name:
        pytest.importorskip("numba")


@pytest.mark.parametrize("name", STRATEGIES)
def test_each_asks_for_different_valid_subnets_and_about_as_many(arena, name):
    needs_numba(name)
    genomes = STRATEGIES[name](arena, np.random.default_rng(0))
    space = arena.space
    assert space.is_valid(genomes).all() and (space.canonical(genomes) == genomes).all()
    assert len(np.unique(genomes, axis=0)) == len(genomes)
    assert 0.7 * EVALUATIONS <= len(genomes) <= EVALUATIONS + arena.population


@pytest.mark.parametrize("name", STRATEGIES)
def test_its_curve_grows_and_follows_from_its_seed_alone(arena, name):
    needs_numba(name)
    arena = replace(arena, evaluations=FEW)
    curve = arena.curve(STRATEGIES[name], np.random.default_rng(3))
    assert curve.shape == (FEW,) and (np.diff(curve) > -1e-12).all() and curve[-1] > 0
    assert (curve == arena.curve(STRATEGIES[name], np.random.default_rng(3))).all()
    assert curve.tolist() != arena.curve(STRATEGIES[name], np.random.default_rng(4)).tolist()


def test_searching_beats_drawing(arena):
    finals = {
        name: np.median([arena.curve(STRATEGIES[name], np.random.default_rng(seed))[-1] for seed in range(5)])
        for name in ("random", "joint", "coarse to fine")
    }
    assert finals["random"] < min(finals["joint"], finals["coarse to fine"]), finals


def test_codes_of_a_space_with_few_subnets_are_not_searched_for_ever(arena, measure, names, costs):
    space = SearchSpace(3, {1: (8,)}, ("dense",), (1.0,), (1, 1, 1), "dense")
    evaluator = Evaluator(space, MemoryStore(), Here(Task(measure, names)))
    found = integer_codes(replace(arena, space=space, evaluator=evaluator, population=4), np.random.default_rng(0))
    assert 1 < len(found) <= space.n_subnets == 7
