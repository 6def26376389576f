import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray
from supernet_fixtures import (
    GREY,
    SEVEN,
    SUPER_RESOLUTION,
    patch_pairs,
    random_images,
    small_space,
    train_fairly,
    training_settings,
    wide_space,
)
from torch import Tensor

from evo_c2f.errors import InputError
from evo_c2f.space import Architecture, Genomes, SearchSpace, Stage, inner_width, trellis
from supernet.network.generator import Frame, Supernet
from supernet.network.operators import OPERATORS
from supernet.rounds.fairness import Deck, FairRounds, Ledger, fair_paths
from supernet.rounds.sampling import Rounds, Sampler, make_rounds
from supernet.training.criterion import Criterion, L1Alone, Terms

N_ROUNDS = 60


def survivors_of(space: SearchSpace, n: int = 3) -> Genomes:
    return space.random(n, np.random.default_rng(7))


def fair_rounds(space: SearchSpace, stage: Stage = "joint", seed: int = 0) -> FairRounds:
    survivors = None if stage in ("joint", "path") else survivors_of(space)
    return FairRounds(space, stage, survivors, np.random.default_rng(seed))


def spread(counts: NDArray[np.int64]) -> int:
    """The largest difference between the counts of one gene's choices (the last axis)."""
    return int((counts.max(axis=-1) - counts.min(axis=-1)).max())


def recount(space: SearchSpace, architectures: list[Architecture]) -> Counter[tuple[Any, ...]]:
    """How often each choice occurs, from the decoded architectures alone."""
    counts: Counter[tuple[Any, ...]] = Counter()
    for a in architectures:
        active = {cell.position: cell for cell in a.cells}
        for position in range(space.n_cells):
            if position not in active:
                counts["path", position, 0] += 1
                continue
            cell = active[position]
            level = space.levels.index(cell.level)
            ratios = [inner_width(a.width(cell.level), ratio) for ratio in space.inner_ratios]
            counts["path", position, level + 1] += 1
            counts["operator", position, level, space.operators.index(cell.operator)] += 1
            counts["inner", position, level, ratios.index(cell.inner)] += 1
        for level, width in a.widths:
            counts["trunk", space.levels.index(level), space.widths[level].index(width)] += 1
            counts["stem", space.levels.index(level)] += 1
        for before, after in pairwise(cell.level for cell in a.cells):
            if before != after:
                counts["transition", space.levels.index(before), space.levels.index(after)] += 1
        counts["head", space.levels.index(a.cells[-1].level)] += 1
    return counts


def as_counter(ledger: Ledger) -> Counter[tuple[Any, ...]]:
    tables = ledger.counts.items()
    return Counter({(name, *place): int(n) for name, t in tables for place, n in np.ndenumerate(t) if n})


# -- decks and paths ---------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_the_counts_of_a_deck_never_differ_by_more_than_one(n):
    deck, rng, counts = Deck(n), np.random.default_rng(0), np.zeros(n, dtype=int)
    for deal in range(1, 10 * n + 1):
        counts[deck.deal(rng)] += 1
        assert spread(counts) <= 1
        assert counts.sum() == deal


@pytest.mark.parametrize("n_levels", [1, 2, 3, 4])
@pytest.mark.parametrize("n_cells", [2, 3, 4, 5, 6])
def test_fair_paths_are_valid_and_use_each_choice_once_at_each_cell(n_cells, n_levels):
    rng = np.random.default_rng(n_cells)
    seen = set()
    for _ in range(50):
        paths = fair_paths(n_cells, n_levels, rng)
        assert paths.shape == (n_levels + 1, n_cells)
        assert trellis.is_valid(paths).all()
        assert (np.sort(paths, axis=0) == np.arange(n_levels + 1)[:, None]).all()
        seen |= set(map(tuple, paths.tolist()))
    assert len(seen) >= 2 ** min(n_cells, 4) - 2  # they are drawn at random


def test_fair_paths_exist_at_the_most_levels_that_a_space_may_have():
    paths = fair_paths(8, 5, np.random.default_rng(0))
    assert trellis.is_valid(paths).all()
    assert (np.sort(paths, axis=0) == np.arange(6)[:, None]).all()


def test_fair_paths_reach_every_path():
    rng = np.random.default_rng(0)
    drawn = {tuple(path) for _ in range(400) for path in fair_paths(3, 2, rng).tolist()}
    assert drawn == set(trellis.enumerate_paths(3, 2))


# -- rounds --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", [wide_space(), small_space()], ids=["wide", "small"])
def test_after_every_joint_round_all_choices_are_even(space):
    rounds = fair_rounds(space)
    seen: list[Architecture] = []
    for n in range(1, N_ROUNDS + 1):
        genomes = rounds.deal()
        assert genomes.shape == (space.n_levels + 1, space.n_genes)
        assert space.is_valid(genomes).all()
        assert np.array_equal(space.canonical(genomes), genomes)
        seen += [space.decode(genome) for genome in genomes]
        counts = rounds.ledger.counts
        assert (counts["path"] == n).all()
        assert (counts["operator"].sum(axis=2) == n).all()
        assert spread(counts["operator"]) <= 1
        assert spread(counts["inner"]) <= 1
        for level, widths in enumerate(space.widths.values()):
            assert spread(counts["trunk"][level, : len(widths)]) <= 1
    assert as_counter(rounds.ledger) == recount(space, seen)
    assert rounds.ledger.rounds == N_ROUNDS


@pytest.mark.parametrize("stage", ["operator", "channel"])
def test_a_later_stage_keeps_the_survivors_paths_and_is_even_in_what_it_searches(stage):
    space = wide_space()
    rounds, survivors = fair_rounds(space, stage), survivors_of(space)
    kept = [space.paths] if stage == "operator" else [space.paths, space.blocks]
    frozen = np.concatenate([np.arange(space.n_genes)[part] for part in kept])
    parents: Counter[int] = Counter()
    for _ in range(N_ROUNDS):
        genomes = rounds.deal()
        assert space.is_valid(genomes).all()
        assert np.array_equal(space.canonical(genomes), genomes)
        parent = [i for i, s in enumerate(survivors) if np.array_equal(genomes[0, frozen], s[frozen])]
        assert len(parent) == 1
        assert (genomes[:, frozen] == survivors[parent[0], frozen]).all()
        parents[parent[0]] += 1
        assert max(parents.values()) - min(parents[i] for i in range(len(survivors))) <= 1
        if stage == "operator":  # strictly: each operator once a round, in every active cell
            for cell in np.flatnonzero(survivors[parent[0], space.paths]):
                assert sorted(genomes[:, space.blocks][:, cell]) == list(range(len(space.operators)))
        counts = rounds.ledger.counts
        assert spread(counts["inner"]) <= 1
        assert spread(counts["trunk"]) <= 1
        if stage == "operator":
            assert spread(counts["operator"]) <= 1
    assert (counts["inner"].sum(axis=(0, 2)) > 0).all()


@pytest.mark.parametrize(("stage", "m"), [("joint", 4), ("path", 4), ("operator", len(OPERATORS)), ("channel", 3)])
def test_a_round_has_as_many_subnets_as_there_are_choices(stage, m):
    assert len(fair_rounds(wide_space(), stage).deal()) == m


def test_a_round_of_the_channel_stage_is_as_long_as_the_longest_list_of_widths():
    space = SearchSpace(3, {2: (8, 12, 16, 20), 3: (8,)}, ("residual",), (1.0,), (2, 2, 2), "residual")
    assert len(fair_rounds(space, "channel").deal()) == 4


@pytest.mark.parametrize(("stage", "given"), [("joint", True), ("path", True), ("operator", False), ("channel", False)])
def test_survivors_are_given_to_the_later_stages_alone(stage, given):
    space = small_space()
    with pytest.raises(ValueError, match=f"stage {stage}"):
        FairRounds(space, stage, survivors_of(space) if given else None, np.random.default_rng(0))


def test_the_same_seed_deals_the_same_rounds_and_another_deals_others():
    first, second, other = (fair_rounds(wide_space(), seed=seed) for seed in (0, 0, 1))
    dealt = [np.concatenate([rounds.deal() for _ in range(5)]) for rounds in (first, second, other)]
    assert np.array_equal(dealt[0], dealt[1])
    assert not np.array_equal(dealt[0], dealt[2])


def test_rounds_of_other_survivors_are_not_taken_up():
    space = small_space()
    several = np.unique(space.random(20, np.random.default_rng(0)), axis=0)[:4]
    state = FairRounds(space, "operator", several, np.random.default_rng(0)).state()
    FairRounds(space, "operator", several, np.random.default_rng(0)).restore(state)
    for others in (several[:3], several[::-1], several[[0, 1, 2, 2]]):
        with pytest.raises(InputError, match="training of stage operator that was stopped had other survivors"):
            FairRounds(space, "operator", others, np.random.default_rng(0)).restore(state)
    del state["survivors"]  # as an older version wrote it
    with pytest.raises(InputError, match="other survivors"):
        FairRounds(space, "operator", several, np.random.default_rng(0)).restore(state)


@pytest.mark.parametrize("stage", ["joint", "path", "operator", "channel"])
def test_restored_rounds_go_on_as_if_never_stopped(stage):
    space = wide_space()
    rounds = fair_rounds(space, stage)
    for _ in range(7):
        rounds.deal()
    state = json.loads(json.dumps(rounds.state()))
    restored = fair_rounds(space, stage, seed=99)
    restored.restore(state)
    for _ in range(20):
        assert np.array_equal(rounds.deal(), restored.deal())
    assert rounds.ledger.to_dict() == restored.ledger.to_dict()
    assert restored.ledger.rounds == 27
    assert rounds.state() == restored.state()


# -- the ledger ------------------------------------------------------------------------------------------


class Witness(Supernet):
    """A supernet that remembers which architectures it ran."""

    def __init__(self, space: SearchSpace, frame: Frame = SUPER_RESOLUTION):
        super().__init__(space, frame)
        self.seen: list[Architecture] = []

    def forward(self, x: Tensor, architecture: Architecture) -> Tensor:
        self.seen.append(architecture)
        return super().forward(x, architecture)


@pytest.mark.parametrize(
    ("sampler", "stage", "n"),
    [
        *((sampler, "joint", 12) for sampler in get_args(Sampler)),
        *(
            (sampler, stage, 4)
            for sampler in ("fair", "fair_widest", "widest_first")
            for stage in ("path", "operator", "channel")
        ),
    ],
)
def test_the_ledger_counts_what_training_really_ran(sampler: Sampler, stage: Stage, n: int, tmp_path: Path):
    space = small_space()
    survivors = None if stage in ("joint", "path") else survivors_of(space)

    def begin() -> Rounds:
        return make_rounds(sampler, space, stage, survivors, np.random.default_rng(0))

    supernet, rounds = Witness(space), begin()
    state = tmp_path / "state.safetensors"
    batches = patch_pairs(tmp_path)
    train_fairly(supernet, rounds, batches, training_settings(n), state, lambda index, loss: None)
    assert as_counter(rounds.ledger) == recount(space, supernet.seen)
    assert rounds.ledger.rounds == n
    assert len(supernet.seen) == n * len(begin().deal())


@pytest.mark.parametrize("frame", [GREY, SEVEN], ids=["grey", "seven"])
def test_the_ledger_counts_alike_whatever_the_channels(frame: Frame, tmp_path: Path):
    space, n = small_space(), frame.output_channels
    supernet, rounds = Witness(space, frame), fair_rounds(space)
    pair = random_images(2, n, 8, 8), random_images(2, n, 8 * frame.scale, 8 * frame.scale)
    criterion = Criterion(Terms(L1Alone()), channels=n)
    train_fairly(
        supernet, rounds, [pair] * 4, training_settings(4), tmp_path / "state.safetensors", criterion=criterion
    )
    assert as_counter(rounds.ledger) == recount(space, supernet.seen) and rounds.ledger.rounds == 4


def test_the_ledger_of_one_architecture_is_its_closed_form():
    space = small_space()
    ledger = Ledger(space)
    genome = np.array([1, 0, 2, 2, 0, 1, 1, 0, 0, 1, 2], dtype=np.uint8)  # level 2, skip, level 3
    ledger.record(genome[None])
    assert as_counter(ledger) == {
        ("path", 0, 1): 1,
        ("path", 1, 0): 1,
        ("path", 2, 2): 1,
        ("operator", 0, 0, 2): 1,
        ("operator", 2, 1, 1): 1,
        ("inner", 0, 0, 1): 1,
        ("inner", 2, 1, 0): 1,
        ("trunk", 0, 1): 1,
        ("trunk", 1, 2): 1,
        ("stem", 0): 1,
        ("stem", 1): 1,
        ("transition", 0, 1): 1,
        ("head", 1): 1,
    }


def test_a_ledger_tells_what_was_not_fair_among_what_its_stage_deals():
    space = small_space()
    genome = np.array([1, 0, 2, 2, 0, 1, 1, 0, 0, 1, 2], dtype=np.uint8)
    for stage, dealt in (
        ("joint", ["path", "operator", "inner", "trunk"]),
        ("path", ["path"]),
        ("channel", ["inner", "trunk"]),
    ):
        ledger = Ledger(space, stage)
        ledger.record(genome[None])
        assert ledger.unfair() == {}  # one update apart
        ledger.record(genome[None])
        assert ledger.unfair() == dict.fromkeys(dealt, 2) == ledger.to_dict()["unfair"]


def test_the_path_training_deals_paths_alone_with_the_reference_operator_at_full_width():
    space = wide_space()
    rounds = fair_rounds(space, "path")
    for _ in range(N_ROUNDS):
        genomes = rounds.deal()
        assert (genomes == space.complete(genomes, space.still_open("path"))).all()
    assert np.ptp(rounds.ledger.counts["path"]) == 0 and rounds.ledger.unfair() == {}
