import numpy as np
import pytest
from supernet_fixtures import small_space, wide_space

from evo_c2f.space.trellis import SKIP, is_valid
from supernet.rounds.fairness import FairRounds, Ledger
from supernet.rounds.sampling import SampledRounds, make_rounds, narrowest, uniform

SPACE = wide_space()


def rounds_of(sampler, space=SPACE, seed=0):
    return make_rounds(sampler, space, "joint", None, np.random.default_rng(seed))


def test_fair_rounds_are_those_of_fairness():
    assert isinstance(rounds_of("fair"), FairRounds)
    dealt = FairRounds(SPACE, "joint", None, np.random.default_rng(0)).deal()
    assert (rounds_of("fair").deal() == dealt).all()


def test_the_widest_joins_each_fair_round_and_the_ledger_counts_it():
    rounds, fair = rounds_of("fair_widest"), rounds_of("fair")
    companion = Ledger(SPACE)
    for _ in range(6):
        genomes = rounds.deal()
        assert (genomes[:-1] == fair.deal()).all() and (genomes[-1] == SPACE.reference).all()
        companion.record(SPACE.reference[None])
    for name, counts in rounds.ledger.counts.items():
        assert (counts == fair.ledger.counts[name] + companion.counts[name]).all(), name
    assert rounds.ledger.rounds == 6
    assert max(fair.ledger.gaps().values()) <= 1 < rounds.ledger.gaps()["operator"]


def test_the_widest_may_join_the_first_training_alone():
    def dealt(sampler, stage, survivors):
        return make_rounds(sampler, SPACE, stage, survivors, np.random.default_rng(0)).deal()

    assert (dealt("widest_first", "joint", None) == dealt("fair_widest", "joint", None)).all()
    assert (dealt("widest_first", "path", None) == dealt("fair", "path", None)).all()
    assert (
        dealt("widest_first", "operator", SPACE.reference[None]) == dealt("fair", "operator", SPACE.reference[None])
    ).all()


@pytest.mark.parametrize(("sampler", "n"), [("uniform", 1), ("sandwich", 4)])
def test_a_round_has_its_number_of_valid_canonical_subnets(sampler, n):
    rounds = rounds_of(sampler)
    for index in range(20):
        genomes = rounds.deal()
        assert genomes.shape == (n, SPACE.n_genes) and SPACE.is_valid(genomes).all()
        assert (SPACE.canonical(genomes) == genomes).all()
        assert rounds.ledger.rounds == index + 1
    assert rounds.ledger.counts["path"].sum() == 20 * n * SPACE.n_cells


def test_every_sandwich_holds_the_widest_and_the_narrowest():
    rounds = rounds_of("sandwich")
    for _ in range(5):
        genomes = rounds.deal()
        assert (genomes[0] == SPACE.reference).all() and (genomes[1] == narrowest(SPACE)).all()
        assert not (genomes[2] == genomes[3]).all()


def test_the_narrowest_is_one_cell_at_the_least_widths():
    architecture = SPACE.decode(narrowest(SPACE))
    (cell,) = architecture.cells
    assert cell.inner == min(cell.inner for cell in (SPACE.decode(g).cells[0] for g in uniform_at(cell.level)))
    assert architecture.widths == ((cell.level, SPACE.widths[cell.level][0]),)


def uniform_at(level):
    """Subnets whose only cell is the first, at a level."""
    genomes = np.zeros((30, SPACE.n_genes), dtype=np.uint8)
    rng = np.random.default_rng(0)
    genomes[:] = rng.integers(0, SPACE.n_choices, size=genomes.shape)
    genomes[:, SPACE.paths] = SKIP
    genomes[:, 0] = SPACE.levels.index(level) + 1
    return SPACE.canonical(genomes)


def test_uniform_draws_every_valid_path_equally_often():
    space = small_space()
    paths = uniform(space, 6000, np.random.default_rng(0))[:, space.paths]
    assert is_valid(paths).all()
    _, counts = np.unique(paths, axis=0, return_counts=True)
    assert len(counts) == 26  # 3 cells of {skip, 2 levels}, but for the empty path
    assert abs(counts - 6000 / 26).max() < 5 * (6000 / 26) ** 0.5


@pytest.mark.parametrize("sampler", ["fair", "fair_widest", "widest_first", "uniform", "sandwich"])
def test_restored_rounds_go_on_as_if_never_stopped(sampler):
    first = rounds_of(sampler)
    for _ in range(7):
        first.deal()
    second = rounds_of(sampler, seed=99)
    second.restore(first.state())
    for _ in range(5):
        assert (first.deal() == second.deal()).all()
    assert first.ledger.to_dict() == second.ledger.to_dict()


@pytest.mark.parametrize("sampler", ["uniform", "sandwich"])
def test_only_fair_rounds_have_later_stages(sampler):
    with pytest.raises(ValueError, match=f"sampler {sampler} has no stage channel"):
        make_rounds(sampler, SPACE, "channel", SPACE.reference[None], np.random.default_rng(0))


def test_sampled_rounds_may_be_random_alone():
    rounds = SampledRounds(SPACE, SPACE.reference[None][:0], 3, np.random.default_rng(0))
    assert rounds.deal().shape == (3, SPACE.n_genes)
