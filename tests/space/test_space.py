import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evo_c2f.space import Architecture, Cell, SearchSpace, inner_width, subnet_id, trellis

seeds = st.integers(0, 2**32 - 1)


def any_genomes(space, seed, n=8):
    """Genomes whose every gene is in range: half with a valid path, none canonical on purpose."""
    rng = np.random.default_rng(seed)
    genomes = rng.integers(0, space.n_choices, size=(n, space.n_genes), dtype=np.uint8)
    genomes[: n // 2, space.paths] = trellis.sample(n // 2, space.n_cells, space.n_levels, rng)
    return genomes


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"n_cells": 1}, "n_cells is 1"),
        ({"n_cells": 65}, "n_cells is 65"),
        ({"widths": {}}, r"levels of widths are \[\]"),
        ({"widths": {1: (8,), 3: (8,)}}, r"levels of widths are \[1, 3\].*follow one another"),
        ({"widths": {-1: (8,), 0: (8,), 1: (8,), 2: (8,)}}, r"\[-1, 0, 1, 2\].*none below 0"),
        ({"widths": dict.fromkeys(range(6), (8,))}, "at most 5"),
        ({"widths": {1: (), 2: (16,)}}, r"widths of level 1 are \[\]"),
        ({"widths": {1: (16, 8), 2: (16,)}}, r"widths of level 1 are \[16, 8\].*ascending"),
        ({"widths": {1: (8, 8), 2: (16,)}}, r"widths of level 1 are \[8, 8\].*ascending"),
        ({"widths": {1: (8,), 2: (10,)}}, r"widths of level 2 are \[10\].*multiples of 4"),
        ({"widths": {1: (0, 8), 2: (16,)}}, r"widths of level 1 are \[0, 8\]"),
        ({"inner_ratios": ()}, r"inner_ratios are \[\]"),
        ({"inner_ratios": (1.0, 0.5)}, r"inner_ratios are \[1.0, 0.5\].*ascending"),
        ({"inner_ratios": (0.0, 1.0)}, r"inner_ratios are \[0.0, 1.0\].*\(0, 4\]"),
        ({"inner_ratios": (1.0, 4.5)}, r"inner_ratios are \[1.0, 4.5\]"),
        ({"inner_ratios": (float("nan"),)}, r"inner_ratios are \[nan\]"),
        ({"inner_ratios": (0.5, 0.6)}, r"inner_ratios \[0.5, 0.6\] of width 8 at level 1 round to \[4, 4\]"),
        ({"widths": {1: (4,), 2: (16,)}}, r"of width 4 at level 1 round to \[4, 4\]"),
        ({"operators": ()}, r"operators are \[\]"),
        ({"operators": ("dense", "dense")}, "operators are .*each once"),
        ({"reference_operator": "dance"}, "reference_operator 'dance' is not among"),
        ({"reference_path": (1, 1)}, "reference_path has 2 cells, the space 3"),
        ({"reference_path": (1, 2, 5)}, r"reference_path \[1, 2, 5\] is no valid path"),
        ({"reference_path": ("skip", "skip", "skip")}, "reference_path .* is no valid path"),
        ({"widths": {1: (8,), 2: (16,), 3: (16,)}, "reference_path": (1, "skip", 3)}, "is no valid path"),
    ],
)
def test_a_space_that_makes_no_sense_is_refused_by_name(tiny, change, named):
    with pytest.raises(ValueError, match=named):
        replace(tiny, **change)


@pytest.mark.parametrize(
    ("trunk", "ratio", "expected"),
    [(16, 1.0, 16), (16, 0.5, 8), (12, 0.5, 8), (8, 0.1, 4), (16, 1.5, 24), (20, 0.7, 16), (20, 0.69, 12)],
)
def test_the_inner_width_is_the_nearest_multiple_of_4_and_at_least_4(trunk, ratio, expected):
    assert inner_width(trunk, ratio) == expected


# -- genes -----------------------------------------------------------------------------------------


def test_the_genes_have_their_names_in_columns(tiny):
    assert tiny.gene_names == [
        *("path_0", "path_1", "path_2"),
        *("operator_0", "operator_1", "operator_2"),
        *("inner_0", "inner_1", "inner_2"),
        *("width_1", "width_2"),
    ]
    assert tiny.n_choices.tolist() == [3] * 3 + [2] * 3 + [2] * 3 + [2, 1]
    assert tiny.n_genes == len(tiny.gene_names)


def test_a_gene_reads_as_what_it_means(small):
    words = [
        [small.gene_text(gene, value) for value in range(n)] for gene, n in enumerate(small.n_choices) if gene % 3 == 0
    ]
    assert words == [["skip", "0", "1", "2"], ["dense", "thin"], ["0.5", "1"], ["8"]]
    assert small.gene_text(small.trunks.start + 2, 1) == "48"


def test_the_three_stages_share_the_genes_out_and_joint_has_all(small):
    masks = {stage: small.free(stage) for stage in ("path", "operator", "channel", "joint")}
    assert (masks["path"].astype(int) + masks["operator"] + masks["channel"] == 1).all()
    assert masks["joint"].all()
    assert np.flatnonzero(masks["path"]).tolist() == [0, 1, 2]
    assert np.flatnonzero(masks["operator"]).tolist() == [3, 4, 5]
    assert (small.still_open("path") == masks["operator"] | masks["channel"]).all()
    assert (small.still_open("operator") == masks["channel"]).all()
    assert not small.still_open("channel").any() and not small.still_open("joint").any()


# -- the canonical form ----------------------------------------------------------------------------


@given(seed=seeds)
def test_the_canonical_form_is_idempotent_and_zero_in_inactive_parts(small, seed):
    genomes = any_genomes(small, seed)
    canonical = small.canonical(genomes)
    assert (small.canonical(canonical) == canonical).all()
    for before, after in zip(genomes, canonical, strict=True):
        path = before[small.paths]
        says = np.ones(small.n_genes, dtype=bool)
        says[small.blocks] = says[small.inners] = path != trellis.SKIP
        says[small.trunks] = [k in path for k in range(1, small.n_levels + 1)]
        assert (after[~says] == 0).all() and (after[says] == before[says]).all()


def test_canonical_forms_are_equal_iff_the_genomes_decode_to_the_same(tiny):
    every = np.array(list(product(*map(range, tiny.n_choices))), dtype=np.uint8)
    every = every[tiny.is_valid(every)]
    decoded = {genome.tobytes(): tiny.decode(genome) for genome in every}
    canonical = [row.tobytes() for row in tiny.canonical(every)]
    pairs = set(zip(canonical, decoded.values(), strict=True))
    assert len(pairs) == len(set(canonical)) == len(set(decoded.values())) == tiny.n_subnets


def test_a_skipped_cell_has_no_operator(tiny):
    genome = np.array([1, 0, 1, 1, 1, 0, 1, 1, 0, 1, 0], dtype=np.uint8)
    assert tiny.canonical(genome[None])[0].tolist() == [1, 0, 1, 1, 0, 0, 1, 0, 0, 1, 0]
    assert tiny.decode(genome) == Architecture((Cell(0, 1, "thin", 16), Cell(2, 1, "dense", 8)), ((1, 16),))


@given(seed=seeds)
def test_encoding_a_decoded_genome_gives_its_canonical_form(small, seed):
    genomes = any_genomes(small, seed)
    for genome, canonical in zip(genomes, small.canonical(genomes), strict=True):
        if small.is_valid(genome[None])[0]:
            architecture = small.decode(genome)
            assert (small.encode(architecture) == canonical).all()
            assert small.decode(canonical) == architecture


@pytest.mark.parametrize(
    "genome",
    [
        [1, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],  # a jump of two levels
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],  # no cell at all
        [4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],  # a level that isn't there
        [1, 1, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0],  # an operator that isn't there
        [1, 1, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0],  # a width that isn't there
        [1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0],  # a gene too few
        [1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],  # one too many
    ],
)
def test_a_genome_of_another_space_is_not_decoded(small, genome):
    with pytest.raises(ValueError, match="not of this space of 12 genes"):
        small.decode(np.array(genome, dtype=np.uint8))


CELL = Cell(0, 1, "dense", 16)


FOREIGN = {
    "no such width": Architecture((CELL,), ((1, 12),)),
    "no such level": Architecture((CELL,), ((3, 16),)),
    "no width": Architecture((CELL,), ()),
    "no cell": Architecture((), ()),
    "a width too many": Architecture((CELL,), ((1, 16), (2, 48))),
    "no such operator": Architecture((replace(CELL, operator="dance"),), ((1, 16),)),
    "no such inner width": Architecture((replace(CELL, inner=12),), ((1, 16),)),
    "a cell at no such level": Architecture((replace(CELL, level=3),), ((1, 16),)),
    "a position too far": Architecture((replace(CELL, position=3),), ((1, 16),)),
    "a position below 0": Architecture((replace(CELL, position=-1),), ((1, 16),)),
    "a position beyond the genome": Architecture((replace(CELL, position=12),), ((1, 16),)),
    "a position twice": Architecture((CELL, replace(CELL, operator="thin")), ((1, 16),)),
    "a jump": Architecture((Cell(0, 0, "dense", 8), Cell(1, 2, "dense", 48)), ((0, 8), (2, 48))),
}


@pytest.mark.parametrize("architecture", FOREIGN.values(), ids=FOREIGN)
def test_an_architecture_of_another_space_is_not_encoded(small, architecture):
    with pytest.raises(ValueError, match="doesn't hold this architecture"):
        small.encode(architecture)


# -- references and draws --------------------------------------------------------------------------


def test_the_reference_is_the_widest_subnet(tiny):
    assert tiny.decode(tiny.reference) == Architecture(
        (Cell(0, 1, "dense", 16), Cell(2, 2, "dense", 16)), ((1, 16), (2, 16))
    )
    assert (tiny.canonical(tiny.reference[None])[0] == tiny.reference).all()


def test_the_shallowest_subnet_is_the_last_cell_of_the_widest(tiny, small):
    for space in (tiny, small):
        widest, shallowest = space.decode(space.reference), space.decode(space.shallowest)
        assert shallowest.cells == widest.cells[-1:] and set(shallowest.widths) <= set(widest.widths)


@given(seed=seeds)
def test_completing_sets_the_asked_genes_to_the_reference_and_keeps_the_others(small, seed):
    genomes = small.random(8, np.random.default_rng(seed))
    completed = small.complete(genomes, small.still_open("operator"))
    assert (completed[:, : small.inners.start] == genomes[:, : small.inners.start]).all()
    active = small.active(genomes)[:, small.inners.start :]
    widest = (small.n_choices - 1)[small.inners.start :]
    assert (completed[:, small.inners.start :] == np.where(active, widest, 0)).all()


@given(seed=seeds)
def test_random_subnets_are_valid_and_canonical(small, seed):
    genomes = small.random(16, np.random.default_rng(seed))
    assert genomes.shape == (16, small.n_genes)
    assert small.is_valid(genomes).all() and (small.canonical(genomes) == genomes).all()


def test_random_subnets_take_every_choice_of_every_gene(small):
    genomes = small.random(500, np.random.default_rng(0))
    active = small.active(genomes)
    for gene, n in enumerate(small.n_choices):
        assert set(genomes[active[:, gene], gene].tolist()) == set(range(n)), small.gene_names[gene]


# -- identity --------------------------------------------------------------------------------------


def test_two_subnets_share_a_key_iff_they_differ_in_which_cells_they_skip(tiny):
    cell = Cell(0, 1, "dense", 8)
    early = Architecture((cell,), ((1, 8),))
    assert early.key == Architecture((replace(cell, position=2),), ((1, 8),)).key
    for other in (replace(cell, operator="thin"), replace(cell, inner=4), replace(cell, level=2)):
        assert early.key != Architecture((other,), ((1, 8),)).key
    assert early.key != Architecture((cell,), ((1, 16),)).key


def test_the_width_of_a_level_is_that_of_the_visited_one(small):
    architecture = small.decode(small.reference)
    assert [architecture.width(level) for level in (1, 2)] == [16, 64]
    with pytest.raises(KeyError):
        architecture.width(0)


@given(seed=seeds)
def test_an_architecture_survives_json(small, seed):
    architecture = small.decode(small.random(1, np.random.default_rng(seed))[0])
    assert Architecture.from_dict(json.loads(json.dumps(architecture.to_dict()))) == architecture


def test_a_space_survives_json(tiny, small, large):
    for space in (tiny, small, large):
        again = SearchSpace.from_dict(json.loads(json.dumps(space.to_dict())))
        assert again == space and again.digest == space.digest


def test_the_digest_changes_with_any_choice(tiny):
    changes = [
        {"widths": {1: (8, 12), 2: (16,)}},
        {"widths": {1: (8, 16), 2: (16, 20)}},
        {"operators": ("thin", "dense")},
        {"operators": ("dense", "deep")},
        {"inner_ratios": (0.5, 1.5)},
        {"reference_path": (1, 2, 2)},
        {"reference_operator": "thin"},
        {"n_cells": 4, "reference_path": (1, "skip", 2, 2)},
    ]
    digests = {tiny.digest, *(replace(tiny, **change).digest for change in changes)}
    assert len(digests) == len(changes) + 1


def test_the_names_of_subnets_differ(tiny):
    genomes = np.unique(tiny.random(400, np.random.default_rng(0)), axis=0)
    ids = {subnet_id(genome) for genome in genomes}
    assert len(ids) == len(genomes) > 100
    assert all(len(name) == 10 and int(name, 16) >= 0 for name in ids)
