from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymoo.core.population import Population

from evo_c2f.engine.variation import NewSubnetsOnly, Variation
from evo_c2f.space import trellis

STAGES = ("path", "operator", "channel", "joint")
seeds = st.integers(0, 2**32 - 1)


def parents_of(space, stage, n, rng):
    """Subnets as the stage meets them: what later stages decide stands at the reference."""
    genomes = space.random(n, rng)
    still_open = space.still_open(stage)
    return space.complete(genomes, still_open) if still_open.any() else genomes


def crossed(space, stage, seed, n=20):
    """(mothers, fathers, daughters, sons)."""
    rng = np.random.default_rng(seed)
    mothers, fathers = parents_of(space, stage, n, rng), parents_of(space, stage, n, rng)
    return mothers, fathers, *Variation(space, stage).cross(mothers, fathers, rng)


def mutated(space, stage, seed, n=20):
    """(parents, children)."""
    rng = np.random.default_rng(seed)
    parents = parents_of(space, stage, n, rng)
    return parents, Variation(space, stage).mutate(parents, rng)


def with_parents(space, stage, seed):
    """(own parents, children) of all kinds."""
    mothers, fathers, daughters, sons = crossed(space, stage, seed)
    parents, mutants = mutated(space, stage, seed)
    return np.concatenate([mothers, fathers, parents]), np.concatenate([daughters, sons, mutants])


# -- children of all kinds -------------------------------------------------------------------------


@pytest.mark.parametrize("stage", STAGES)
@given(seed=seeds)
def test_children_are_valid_and_canonical(small, stage, seed):
    _, children = with_parents(small, stage, seed)
    assert children.dtype == np.uint8
    assert small.is_valid(children).all()
    assert (small.canonical(children) == children).all()


@pytest.mark.parametrize("stage", STAGES)
@given(seed=seeds)
def test_a_child_has_the_frozen_genes_of_its_own_parent(small, stage, seed):
    parents, children = with_parents(small, stage, seed)
    frozen = ~small.free(stage)
    if stage != "path":
        assert (children[:, frozen] == parents[:, frozen]).all()
    else:  # frozen genes live and die with their cells
        both = frozen & small.active(parents) & small.active(children)
        assert (children[both] == parents[both]).all()


@pytest.mark.parametrize("space_name", ["small", "large"])
def test_children_of_the_path_stage_keep_the_reference_operator_and_full_width(space_name, request):
    space = request.getfixturevalue(space_name)
    parents, children = with_parents(space, "path", 0)
    new = space.active(children) & ~space.active(parents)
    assert new[:, space.blocks].any() and new[:, space.trunks].any()
    assert (children == space.complete(children, ~space.free("path"))).all()


def test_a_newly_active_gene_takes_any_value_once_all_is_free(small):
    parents, children = with_parents(small, "joint", 1)
    more = [with_parents(small, "joint", seed) for seed in range(2, 12)]
    parents = np.concatenate([parents, *(p for p, _ in more)])
    children = np.concatenate([children, *(c for _, c in more)])
    new = small.active(children) & ~small.active(parents)
    for gene in range(small.blocks.start, small.n_genes):
        assert set(children[new[:, gene], gene].tolist()) == set(range(small.n_choices[gene])), small.gene_names[gene]


@pytest.mark.parametrize("stage", STAGES)
def test_the_seed_decides_the_children(large, stage):
    one, same, other = (with_parents(large, stage, seed)[1] for seed in (5, 5, 6))
    assert (one == same).all() and (one != other).any()
    parents = parents_of(large, stage, 20, np.random.default_rng(0))
    variation = Variation(large, stage)
    for vary in (variation.mutate, lambda g, rng: np.stack(variation.cross(g[:10], g[10:], rng))):
        one, same, other = (vary(parents, np.random.default_rng(seed)) for seed in (5, 5, 6))
        assert (one == same).all() and (one != other).any()


@pytest.mark.parametrize("stage", STAGES)
def test_parents_are_left_as_they_are(small, stage):
    rng = np.random.default_rng(0)
    mothers, fathers = parents_of(small, stage, 20, rng), parents_of(small, stage, 20, rng)
    before = mothers.copy(), fathers.copy()
    Variation(small, stage).cross(mothers, fathers, rng)
    Variation(small, stage).mutate(mothers, rng)
    assert (mothers == before[0]).all() and (fathers == before[1]).all()


# -- crossover -------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["operator", "channel", "joint"])
@given(seed=seeds)
def test_crossover_exchanges_only_where_a_gene_is_active_in_both(small, stage, seed):
    mothers, fathers, daughters, sons = crossed(small, stage, seed)
    in_mothers, in_fathers = small.active(mothers), small.active(fathers)
    genes = small.free(stage) & ~(np.arange(small.n_genes) < small.n_cells)
    # Only one parent says something: its own child says the same, if it still says anything.
    for own, child, alone in ((mothers, daughters, in_mothers), (fathers, sons, in_fathers)):
        kept = genes & alone & ~(in_mothers & in_fathers) & small.active(child)
        assert (child[kept] == own[kept]).all()
    # Both do: the two children have what the two parents have, either way round.
    both = genes & in_mothers & in_fathers & small.active(daughters) & small.active(sons)
    straight = (daughters == mothers) & (sons == fathers)
    exchanged = (daughters == fathers) & (sons == mothers)
    assert (straight | exchanged)[both].all()


@pytest.mark.parametrize("stage", ["operator", "channel"])
def test_crossover_exchanges_half_of_what_it_may(large, stage):
    mothers, fathers, daughters, _ = crossed(large, stage, 0, n=2000)
    differ = (large.active(mothers) & large.active(fathers) & large.free(stage)) & (mothers != fathers)
    share = (daughters != mothers)[differ].mean()
    assert abs(share - 0.5) < 5 * np.sqrt(0.25 / differ.sum())  # five standard deviations


def test_crossover_exchanges_the_beginnings_of_two_paths(small):
    mothers, fathers, daughters, _ = crossed(small, "path", 0, n=200)
    cuts = set()
    for mother, father, daughter in zip(*(g[:, small.paths] for g in (mothers, fathers, daughters)), strict=True):
        spliced = np.array([[*father[:cut], *mother[cut:]] for cut in range(1, small.n_cells)])
        if spliced.any(axis=1).all():  # an empty path is repaired at random
            repaired = trellis.repair(spliced, small.n_levels, np.random.default_rng(0)).tolist()
            assert daughter.tolist() in repaired
            cuts |= {cut for cut, path in enumerate(repaired, 1) if repaired.count(path) == 1 and path == [*daughter]}
    assert cuts == {1, 2}


@pytest.mark.parametrize("stage", STAGES)
def test_crossing_a_subnet_with_itself_gives_itself(small, stage):
    genomes = parents_of(small, stage, 30, np.random.default_rng(0))
    daughters, sons = Variation(small, stage).cross(genomes, genomes, np.random.default_rng(1))
    assert (daughters == genomes).all() and (sons == genomes).all()


# -- mutation --------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["operator", "channel"])
@given(seed=seeds)
def test_mutation_always_changes_something(small, stage, seed):
    parents, children = mutated(small, stage, seed)
    assert (small.active(parents) & small.free(stage)).any(axis=1).all()
    assert (parents != children).any(axis=1).all()


@pytest.mark.parametrize("stage", ["path", "joint"])
def test_mutation_changes_something_unless_a_path_s_repair_undoes_it(large, stage):
    parents, children = mutated(large, stage, 0, n=2000)
    unchanged = (parents == children).all(axis=1)
    assert unchanged.mean() < 0.05
    # Where all levels are neighbours there are no jumps; there only an emptied path is repaired.
    flat = replace(large, widths={1: (8, 12, 16), 2: (16, 32, 48)})
    parents, children = mutated(flat, stage, 0, n=2000)
    single = (parents[:, flat.paths] > 0).sum(axis=1) == 1
    assert (parents != children).any(axis=1)[~single].all()


def test_mutation_leaves_alone_what_has_no_choice(small):
    space = replace(small, operators=("thin",))
    parents, children = mutated(space, "operator", 0)
    assert (parents == children).all()


def test_mutation_redraws_about_one_gene(large):
    parents, children = mutated(large, "channel", 0, n=2000)
    changed = (parents != children).sum(axis=1)
    assert changed.min() == 1 and changed.max() > 2
    n = (large.active(parents) & large.free("channel")).sum(axis=1)
    expected = (1 + (1 - 1 / n) ** n).mean()  # one for sure where chance redraws none
    assert changed.mean() == pytest.approx(expected, abs=0.1)


def test_mutation_reaches_every_other_choice_equally_often(large):
    parents = np.repeat(large.reference[None], 3000, axis=0)
    children = Variation(large, "operator").mutate(parents, np.random.default_rng(0))
    columns = children[:, large.blocks]
    values = columns[columns != parents[:, large.blocks]]
    assert (values == 1).mean() == pytest.approx(0.5, abs=0.05) and (values == 2).mean() == pytest.approx(0.5, abs=0.05)


# -- the first population --------------------------------------------------------------------------


@pytest.mark.parametrize("stage", STAGES)
def test_the_first_population_is_the_seeds_and_then_others_each_once(large, stage):
    rng = np.random.default_rng(0)
    survivors = np.unique(parents_of(large, stage, 4, rng), axis=0)
    population = Variation(large, stage).first_population(30, survivors, rng)
    assert (population[: len(survivors)] == survivors).all()
    assert len(np.unique(population, axis=0)) == len(population) == 30
    assert large.is_valid(population).all() and (large.canonical(population) == population).all()


def test_a_later_stage_begins_with_offspring_of_each_seed(large):
    rng = np.random.default_rng(0)
    survivors = parents_of(large, "operator", 5, rng)
    population = Variation(large, "operator").first_population(30, survivors, rng)
    frozen = ~large.free("operator")
    family = (population[:, None, frozen] == survivors[None][:, :, frozen]).all(axis=2)
    assert family.any(axis=1).all() and (family.sum(axis=0) > 1).all()


def test_the_channel_stage_begins_with_the_narrowest_of_each_seed(large):
    survivors = np.unique(large.random(5, np.random.default_rng(0)), axis=0)
    population = Variation(large, "channel").first_population(30, survivors, np.random.default_rng(1))
    narrowest = large.canonical(np.where(large.free("channel"), 0, survivors).astype(np.uint8))
    assert {genome.tobytes() for genome in narrowest} <= {genome.tobytes() for genome in population}


def test_the_path_stage_begins_with_paths_of_all_lengths_at_the_reference(large):
    population = Variation(large, "path").first_population(40, large.reference[None], np.random.default_rng(0))
    assert (population == large.complete(population, ~large.free("path"))).all()
    assert set((population[:, large.paths] > 0).sum(axis=1).tolist()) == {1, 2, 3, 4, 5}


def test_no_seed_is_left_out_where_there_are_more_than_asked_for(large):
    survivors = np.unique(large.random(12, np.random.default_rng(0)), axis=0)
    population = Variation(large, "channel").first_population(4, survivors, np.random.default_rng(1))
    assert (population == survivors).all()


def test_a_first_population_is_smaller_where_there_is_too_little(tiny):
    space = replace(tiny, inner_ratios=(0.5,), widths={1: (8,), 2: (16,)})
    population = Variation(space, "operator").first_population(30, space.reference[None], np.random.default_rng(0))
    assert len(population) == 4  # two operators in two cells


# -- duplicates ------------------------------------------------------------------------------------


def test_only_new_subnets_pass_each_once():
    genomes = np.array([[1, 0], [2, 0], [1, 0], [3, 0], [4, 0]], dtype=np.uint8)
    living, dead = Population.new("X", genomes[1:2].astype(int)), {genomes[3].tobytes(): None}
    passed = NewSubnetsOnly(dead.keys()).do(Population.new("X", genomes.astype(int)), living, None)
    assert passed.get("X").tolist() == [[1, 0], [4, 0]]
