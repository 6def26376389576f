from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from evo_c2f.engine.budget import Budget
from evo_c2f.engine.problem import Cheapest, Judge
from evo_c2f.engine.search import Scored, Volume, best_front, evolve
from evo_c2f.engine.stage_setup import StageSetup
from evo_c2f.errors import InputError
from evo_c2f.objectives import pareto
from evo_c2f.objectives.metric import Box, limits, metric
from evo_c2f.scores.store import ScoreStore
from evo_c2f.space import subnet_id
from evo_c2f.space.enumeration import n_reachable, reachable
from evo_c2f.workers.evaluator import Evaluator
from evo_c2f.workers.processes import Here, Task

NAN = float("nan")
BASELINE = {"psnr_y": 25.0}


@dataclass
class Searched:
    """What a search gave, and all that it said on its way."""

    result: object
    judge: Judge
    box: Box
    seeds: np.ndarray
    steps: list = field(default_factory=list)  # (asked, generation, hypervolume, best) at each step

    @property
    def front(self):
        return self.result.genomes[self.result.front]

    @property
    def ids(self):
        return [subnet_id(genome) for genome in self.front]

    def volume_of(self, metrics):
        """The hypervolume, computed from nothing."""
        values = self.judge.values(metrics[self.judge.meets_all(metrics)])
        return pareto.hypervolume(1 - self.box.gains(values), np.ones(values.shape[1]))


@pytest.fixture
def search(tmp_path, measure, names, objectives, costs, context_of):
    """Search a stage of a space with the shared measure, or another one."""
    stores = iter(range(100))

    def run(
        space,
        stage,
        *,
        seed=0,
        evaluations=60,
        population=12,
        maxima=None,
        minima=None,
        seeds=None,
        earlier=None,
        algorithm="nsga2",
        screen=1,
        measure=measure,
        path: Path | None = None,
        interrupt_after=None,
        survivors=8,
    ):
        seeds = space.reference[None] if seeds is None else seeds
        judge = Judge(space, stage, names, objectives, limits(maxima or {}, minima or {}), costs)
        (widest,) = measure([space.decode(space.reference)])
        box = Box.between(objectives, BASELINE, widest)
        searched = Searched(None, judge, box, seeds)

        def on_progress(progress):
            searched.steps.append((progress.asked, progress.generation, progress.hypervolume, dict(progress.best)))
            if progress.asked == interrupt_after:
                raise KeyboardInterrupt

        with ScoreStore(path or tmp_path / f"{next(stores)}.h5", context_of(space)) as store:
            evaluator = Evaluator(space, store, Here(Task(measure, names)))
            nothing = Scored(seeds[:0], np.empty((0, len(names))))
            budget, rng = Budget(evaluations, population, algorithm, screen, survivors), np.random.default_rng(seed)
            setup = StageSetup(stage, seeds, evaluator, judge, budget)
            searched.result = evolve(setup, box, earlier or nothing, rng, on_progress)
        return searched

    return run


@pytest.fixture
def survivors(large):
    """Three paths at the reference operator and full width."""
    paths = [[2, 2, 2, 2, 2], [1, 0, 2, 3, 0], [3, 3, 2, 0, 0]]
    genomes = np.zeros((3, large.n_genes), dtype=np.uint8)
    genomes[:, large.paths] = paths
    return large.complete(genomes, ~large.free("path"))


# -- what is asked for -----------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["path", "operator", "channel", "joint"])
@pytest.mark.parametrize(("evaluations", "population"), [(60, 12), (70, 16), (9, 12)])
def test_a_stage_asks_for_exactly_so_many_different_subnets(search, large, survivors, stage, evaluations, population):
    found = search(large, stage, evaluations=evaluations, population=population, seeds=survivors)
    genomes = found.result.genomes
    assert len(genomes) == len(np.unique(genomes, axis=0)) == found.result.n_measured == evaluations
    assert large.is_valid(genomes).all() and (large.canonical(genomes) == genomes).all()
    assert {s.tobytes() for s in survivors} <= {g.tobytes() for g in genomes}
    assert [step[0] for step in found.steps] == list(range(1, evaluations + 1))
    frozen = ~large.free(stage)
    if stage in ("operator", "channel"):
        assert (genomes[:, None, frozen] == survivors[None][:, :, frozen]).all(axis=2).any(axis=1).all()
    if stage == "path":
        assert (genomes == large.complete(genomes, frozen)).all()


@pytest.mark.parametrize(("algorithm", "screen"), [("unsga3", 1), ("agemoea", 1), ("nsga2", 6), ("unsga3", 6)])
def test_every_algorithm_and_a_screen_ask_for_exactly_as_many_and_repeat_themselves(search, large, algorithm, screen):
    if algorithm == "agemoea":
        pytest.importorskip("numba")
    found = search(large, "joint", evaluations=60, algorithm=algorithm, screen=screen)
    genomes = found.result.genomes
    assert len(genomes) == len(np.unique(genomes, axis=0)) == found.result.n_measured == 60
    again = search(large, "joint", evaluations=60, algorithm=algorithm, screen=screen)
    assert (again.result.genomes == genomes).all()
    usual = search(large, "joint", evaluations=60)
    assert not (usual.result.genomes == genomes).all()


def test_a_screened_search_comes_further(search, large):
    finals = {
        screen: np.median(
            [search(large, "joint", seed=s, evaluations=120, screen=screen).result.hypervolumes[1] for s in range(5)]
        )
        for screen in (1, 8)
    }
    assert finals[8] > finals[1], finals


def test_the_last_that_is_told_of_a_stage_is_what_came_of_it(search, large, names):
    found = search(large, "path", evaluations=30)
    assert [asked for asked, *_ in found.steps] == [*range(1, 31)]
    *_, hypervolume, best = found.steps[-1]
    assert hypervolume == found.result.hypervolumes[1]
    assert best["psnr_y"] == found.result.metrics[:, names.index("psnr_y")].max()


@pytest.mark.parametrize("screen", [1, 4])
def test_a_stage_that_finds_nothing_new_ends(search, large, screen):
    n = n_reachable(large, "operator", large.reference[None])
    found = search(large, "operator", evaluations=n - 1, screen=screen)
    assert 0.9 * n < len(found.result.genomes) < n


def test_a_stage_most_of_whose_families_die_out_still_asks_for_all(search, large):
    seeds = large.complete(large.random(6, np.random.default_rng(10)), large.still_open("operator"))
    assert n_reachable(large, "operator", seeds) == 450
    found = search(large, "operator", seed=1, evaluations=225, seeds=seeds)
    assert len(found.result.genomes) == 225


@pytest.mark.parametrize("stage", ["path", "operator", "channel", "joint"])
def test_a_small_stage_is_enumerated(search, tiny, stage):
    n = n_reachable(tiny, stage, tiny.reference[None])
    found = search(tiny, stage, evaluations=n, population=50)
    genomes, metrics = found.result.genomes, found.result.metrics
    assert len(np.unique(genomes, axis=0)) == len(genomes) == n
    values = found.judge.minimised(metrics)
    expected = {tiny.decode(g).key for g in genomes[pareto.non_dominated(values)]}
    assert {tiny.decode(g).key for g in found.front} == expected
    assert [step[1] for step in found.steps] == [i // 50 + 1 for i in range(n)]


def test_the_same_seed_gives_the_same_search_and_another_seed_another(search, large):
    one, same, other = (search(large, "joint", seed=seed) for seed in (4, 4, 5))
    assert (one.result.genomes == same.result.genomes).all() and one.ids == same.ids
    assert one.steps == same.steps
    assert (one.result.genomes != other.result.genomes).any()


def test_a_search_finds_more_than_chance_does(search, large, measure, names):
    found = search(large, "joint", evaluations=300, population=24)
    drawn = np.unique(large.random(400, np.random.default_rng(0)), axis=0)[:300]
    at_random = np.array([[row[name] for name in names] for row in measure([large.decode(g) for g in drawn])])
    assert found.volume_of(found.result.metrics) > 1.05 * found.volume_of(at_random)


# -- the front and the survivors -------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["path", "channel", "joint"])
def test_the_front_is_that_of_all_that_was_asked_for_best_first(search, large, stage):
    found = search(large, stage, evaluations=120, population=24)
    front = found.judge.minimised(found.result.metrics[found.result.front])
    expected = found.judge.minimised(found.result.metrics)
    expected = expected[pareto.non_dominated(expected)]
    assert set(map(tuple, front)) == set(map(tuple, expected)) and len(front) >= 5
    assert (np.diff(front[:, 0]) >= 0).all()


@pytest.mark.parametrize(("stage", "n"), [("channel", 8), ("joint", 8), ("joint", 3)])
def test_the_survivors_are_as_many_as_wanted_and_lie_apart_on_the_front(search, large, stage, n):
    found = search(large, stage, evaluations=200, population=40, survivors=n)
    assert len(found.front) > n
    survivors = {g.tobytes() for g in found.result.survivors}
    assert len(survivors) == len(found.result.survivors) == n
    assert {found.front[0].tobytes(), found.front[-1].tobytes()} < survivors <= {g.tobytes() for g in found.front}


def front_of(space, subnets, rows, *names):
    """The positions of the subnets that `best_front` keeps."""
    judge = Judge(space, "joint", names, tuple(map(metric, names)), (), lambda architecture: {})
    return best_front(space, np.array(subnets, dtype=np.uint8), np.array(rows), judge).tolist()


EARLY, LATE, OTHER = (
    [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    [0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0],
    [0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0],
)


@pytest.mark.parametrize(
    ("subnets", "rows", "kept"),
    [
        ([EARLY, LATE, OTHER], [[30, 5], [31, 5], [32, 6]], [2, 1]),  # dominated
        ([EARLY, LATE, OTHER], [[31, 5], [31, 5], [32, 6]], [2, 0]),  # equal: either, but one
        ([EARLY, LATE, OTHER], [[30, 4], [31, 5], [32, 6]], [2, 1]),  # a trade-off: the first objective decides
        ([LATE, OTHER], [[31, 5], [31, 5]], [0, 1]),  # equal, but two architectures
        ([LATE, OTHER], [[31, 5], [NAN, NAN]], [0]),
    ],
)
def test_of_two_subnets_of_one_architecture_the_better_stays(tiny, subnets, rows, kept):
    assert front_of(tiny, subnets, rows, "psnr_y", "latency_ms") == kept


def test_subnets_of_one_architecture_stand_on_a_front_once(search, tiny, costs):
    found = search(
        tiny, "joint", evaluations=tiny.n_subnets, measure=lambda archs: [{"psnr_y": 30.0, **costs(a)} for a in archs]
    )
    values = found.judge.minimised(found.result.metrics)
    assert pareto.non_dominated(values).sum() == 3 == 3 * len(found.front)  # the cheapest, at each of three cells


# -- failures --------------------------------------------------------------------------------------


@pytest.fixture
def fragile(measure):
    """A measure that fails for every network without a cell at level 2: among them the cheapest."""

    def fragile(architectures):
        return [
            row if any(cell.level == 2 for cell in architecture.cells) else row | {"psnr_y": NAN}
            for architecture, row in zip(architectures, measure(architectures), strict=True)
        ]

    return fragile


@pytest.mark.parametrize("stage", ["path", "joint"])
def test_a_failure_reaches_no_front_no_survivors_and_no_hypervolume(search, large, fragile, stage):
    found = search(large, stage, evaluations=150, population=24, measure=fragile)
    result = found.result
    failed = np.isnan(result.metrics).any(axis=1)
    assert 5 < failed.sum() < 100 and np.isnan(result.metrics[failed]).all()
    assert np.isfinite(result.metrics[result.front]).all()
    worked = {g.tobytes() for g in result.genomes[~failed]}
    assert {g.tobytes() for g in result.survivors} <= worked
    assert 0 < result.hypervolumes[1] == pytest.approx(found.volume_of(result.metrics[~failed]))
    cheapest = min(np.nanmin(result.metrics[:, 1]), *(step[3]["macs"] for step in found.steps[-1:]))
    assert cheapest == result.metrics[result.front, 1].min()


def test_a_stage_in_which_all_fails_says_so(search, tiny, costs):
    with pytest.raises(InputError, match="every subnet failed to give finite scores"):
        search(tiny, "path", measure=lambda archs: [{"psnr_y": NAN, **costs(a)} for a in archs])


# -- limits ----------------------------------------------------------------------------------------


def test_a_path_is_admitted_if_its_thinnest_network_meets_the_limit(search, small, costs):
    cheapest = Cheapest(small, "path", costs)
    every = search(small, "path").result  # enumerated
    least = np.array([cheapest(genome, "params") for genome in every.genomes])
    full = every.metrics[:, 2]
    limit = float(np.median(least))
    assert (least > limit).any() and ((least <= limit) & (full > limit)).any()
    found = search(small, "path", maxima={"params": limit})
    feasible = np.flatnonzero(least <= limit)
    values = found.judge.minimised(every.metrics[feasible])
    expected = {small.decode(every.genomes[i]).key for i in feasible[pareto.non_dominated(values)]}
    assert {small.decode(genome).key for genome in found.front} == expected
    assert (found.result.metrics[found.result.front, 2] > limit).any(), "the limit was taken at full width"


@pytest.mark.parametrize("stage", ["channel", "joint"])
def test_the_last_stage_s_front_meets_the_limits_as_measured(search, large, stage):
    free = search(large, stage, evaluations=150, population=24)
    macs, psnr = np.median(free.result.metrics[:, 1]), np.median(free.result.metrics[free.result.front, 0]) - 0.5
    found = search(large, stage, evaluations=150, population=24, maxima={"macs": macs}, minima={"psnr_y": psnr})
    front = found.result.metrics[found.result.front]
    assert len(front) and (front[:, 1] <= macs).all() and (front[:, 0] >= psnr).all()


def test_limits_that_can_t_be_met_together_are_named_after_the_search(search, tiny, measure, costs):
    rows = measure([tiny.decode(g) for g in reachable(tiny, "joint", tiny.reference[None])])
    best, least = max(row["psnr_y"] for row in rows), min(row["params"] for row in rows)
    with pytest.raises(InputError, match="no subnet meets the limits together; the nearest breaks") as caught:
        search(tiny, "joint", evaluations=tiny.n_subnets, maxima={"params": least}, minima={"psnr_y": best})
    sums = [[row["params"] / least - 1, 1 - row["psnr_y"] / best] for row in rows]
    nearest = min(sums, key=sum)
    limits_text = (f"params <= {least:g}", f"psnr_y >= {best:g}")
    broken = [f"{limit} by {v:.1%}" for limit, v in zip(limits_text, nearest, strict=True) if v > 0]
    assert ", ".join(broken) in str(caught.value)


# -- hypervolume -----------------------------------------------------------------------------------


@pytest.mark.parametrize("maxima", [None, {"macs": 60_000.0}])
def test_the_hypervolume_never_falls_and_is_that_of_all_rows(search, large, measure, names, maxima):
    drawn = large.random(20, np.random.default_rng(9))
    earlier = np.array([[row[name] for name in names] for row in measure([large.decode(g) for g in drawn])])
    found = search(large, "joint", evaluations=100, maxima=maxima, earlier=Scored(drawn, earlier))
    metrics = found.result.metrics
    before, after = found.result.hypervolumes
    assert 0 < before < after
    assert before == pytest.approx(found.volume_of(earlier))
    assert after == pytest.approx(found.volume_of(np.concatenate([earlier, metrics])))
    volumes = [step[2] for step in found.steps]
    assert volumes == sorted(volumes) and volumes[0] == before
    if maxima:  # what lies beyond the limit would have added something
        every = found.judge.values(np.concatenate([earlier, metrics]))
        assert after < pareto.hypervolume(1 - found.box.gains(every), np.ones(2))


def test_the_volume_grows_row_by_row_as_if_computed_anew(search, large):
    found = search(large, "joint")
    volume = Volume(found.judge, found.box, found.result.metrics[:0])
    assert (volume.value, volume.best) == (0.0, {})
    for i, row in enumerate(found.result.metrics, 1):
        volume.add(row[None])
        assert volume.value == pytest.approx(found.volume_of(found.result.metrics[:i]))
    assert volume.best == {"psnr_y": found.result.metrics[:, 0].max(), "macs": found.result.metrics[:, 1].min()}


# -- resuming --------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["path", "channel", "joint"])
def test_the_same_search_again_measures_nothing_and_gives_the_same_front(search, large, fragile, tmp_path, stage):
    one, again = (search(large, stage, measure=fragile, path=tmp_path / "kept.h5") for _ in range(2))
    assert (one.result.n_measured, again.result.n_measured) == (60, 0)
    assert (again.result.genomes == one.result.genomes).all() and again.ids == one.ids
    assert np.array_equal(again.result.metrics, one.result.metrics, equal_nan=True)
    assert again.steps == one.steps and (again.result.survivors == one.result.survivors).all()


@pytest.mark.parametrize("interrupt_after", [1, 12, 31, 59])
def test_an_interrupted_search_ends_as_one_that_never_was(search, large, tmp_path, interrupt_after):
    whole = search(large, "joint")
    with pytest.raises(KeyboardInterrupt):
        search(large, "joint", path=tmp_path / "kept.h5", interrupt_after=interrupt_after)
    resumed = search(large, "joint", path=tmp_path / "kept.h5")
    assert resumed.result.n_measured == 60 - interrupt_after
    assert resumed.ids == whole.ids and resumed.steps == whole.steps


def test_a_longer_search_begins_as_the_shorter_one(search, large, tmp_path):
    short = search(large, "joint", evaluations=48, path=tmp_path / "kept.h5")
    longer = search(large, "joint", evaluations=96, path=tmp_path / "kept.h5")
    assert longer.result.n_measured == 48
    assert (longer.result.genomes[:48] == short.result.genomes).all()


# -- golden ----------------------------------------------------------------------------------------

GOLDEN = [
    *("1b2103813a", "7dcaa421b7", "9c611964f1", "2f5433103a", "b5c64cb974"),
    *("524ae7b573", "5b7327af76", "45cd502c71", "e6611ee541"),
]


def test_the_front_of_a_known_search_stays_as_it_is(search, large, survivors):
    """Changes with pymoo and with whatever draws random numbers: put the new ids in, and say so in CHANGELOG.md."""
    assert search(large, "operator", seed=7, evaluations=80, seeds=survivors).ids == GOLDEN
