"""The study of winners: who takes part, how a winner is found, and what the table says."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_line import EVALUATIONS, exit_code, settings, tiny
from PIL import Image
from scipy import stats

from evo_c2f.errors import InputError
from evo_c2f.objectives.metric import Limit, metric
from evo_c2f.runs import fronts, recipe
from evo_c2f.runs.run import RunFolder
from evo_c2f.scores import analysis
from evo_c2f.scores.store import ScoreStore
from evo_c2f.studies import winners
from supernet.jobs.contestants import (
    NEAR,
    Contestant,
    in_latency,
    in_size,
    plain_networks,
    plain_size_mb,
    single_operator_networks,
    slowest_of_each_operator,
)
from supernet.latency.table import BASE, LatencyTable, every_part, key
from supernet.metrics.tasks import SuperResolution
from supernet.network.cost import costs
from supernet.network.plain import PlainUpscaler

SPACE = recipe.load("quick").space
FRAME = SuperResolution(4).frame


def size_mb(architecture):
    return costs(architecture, FRAME, (720, 1280))["size_mb"]


def test_the_candidates_are_spread_over_depths_and_operators(tmp_path, context_of):
    rng = np.random.default_rng(0)
    genomes = np.unique(SPACE.random(300, rng), axis=0)
    kinds = [kind_of(genome) for genome in genomes]
    # Deep networks score worst: the best eight by score alone would all be of a few kinds.
    rows = [{"psnr_y": 30 - depth + float(rng.normal(scale=0.01)), "size_mb": 0.1} for depth, _ in kinds]
    with ScoreStore(tmp_path / "scores.h5", context_of(SPACE), {"baseline": {"psnr_y": 20.0}}) as store:
        store.append(genomes, rows, "channel", 1, [0.5] * len(rows))
    run, n_kinds = RunFolder(tmp_path, recipe.load("quick")), len(set(kinds))
    found = [genome for _, genome in fronts.candidates(run, metric("psnr_y"), [], n_kinds)]
    assert len(found) == n_kinds == len({kind_of(genome) for genome in found})
    best = {kind: max(r["psnr_y"] for r, k in zip(rows, kinds, strict=True) if k == kind) for kind in set(kinds)}
    scores = {genome.tobytes(): row["psnr_y"] for genome, row in zip(genomes, rows, strict=True)}
    assert all(scores[genome.tobytes()] == best[kind_of(genome)] for genome in found)
    assert len(fronts.candidates(run, metric("psnr_y"), [], 4)) == 4
    with pytest.raises(InputError, match="allow more"):
        fronts.candidates(run, metric("psnr_y"), [Limit(metric("size_mb"), "max", 0.01)], 4)


def test_cells_in_other_places_are_no_other_candidate(tmp_path, context_of):
    genomes = np.unique(SPACE.random(400, np.random.default_rng(1)), axis=0)
    keys = [SPACE.decode(genome).key for genome in genomes]
    assert len({*keys}) < len(genomes)
    rows = [{"psnr_y": 30 + i / 1000, "size_mb": 0.1} for i in range(len(genomes))]
    with ScoreStore(tmp_path / "scores.h5", context_of(SPACE), {"baseline": {"psnr_y": 20.0}}) as store:
        store.append(genomes, rows, "channel", 1, [0.5] * len(rows))
    found = fronts.candidates(RunFolder(tmp_path, recipe.load("quick")), metric("psnr_y"), [], 400)
    best = {key: genome.tobytes() for key, genome in zip(keys, genomes, strict=True)}  # the last one scores best
    assert {genome.tobytes() for _, genome in found} == {*best.values()}


@pytest.mark.parametrize(("credit", "first"), [(0.1, 0), (0.0, 1)])
def test_candidates_are_ordered_with_the_credit_for_macs(tmp_path, context_of, credit, first):
    """Of two networks of one kind, the larger one scores 0.05 dB worse with shared weights."""
    wide, narrow = SPACE.reference, SPACE.reference.copy()
    narrow[SPACE.trunks] = 0
    rows = [{"psnr_y": 29.95, "macs": 1e9 * np.e}, {"psnr_y": 30.0, "macs": 1e9}]
    with ScoreStore(tmp_path / "scores.h5", context_of(SPACE), {"baseline": {"psnr_y": 20.0}}) as store:
        store.append(np.array([wide, narrow]), rows, "channel", 1, [0.5] * 2)
    run = RunFolder(tmp_path, recipe.changed(recipe.load("quick"), (f"search.macs_credit={credit}",)))
    ((_, found),) = fronts.candidates(run, metric("psnr_y"), [], 1)
    assert np.array_equal(found, (wide, narrow)[first])


def kind_of(genome):
    """(number of cells, most frequent operator; the first by name of several)."""
    names = [cell.operator for cell in SPACE.decode(genome).cells]
    return len(names), min(set(names), key=lambda name: (-names.count(name), name))


def test_random_networks_lie_within_the_budget_and_follow_the_seed():
    within = (0.2, 0.25)
    drawn = [winners.random_within(SPACE, size_mb, "size_mb", within, 6, np.random.default_rng(s)) for s in (0, 0, 1)]
    assert all(0.2 <= size_mb(SPACE.decode(genome)) <= 0.25 for genome in drawn[0])
    assert len({SPACE.decode(genome).key for genome in drawn[0]}) == 6
    assert (drawn[0] == drawn[1]).all() and not (drawn[0] == drawn[2]).all()
    with pytest.raises(InputError, match="only 0 of 20,000 random subnets have size_mb from 90 to 100"):
        winners.random_within(SPACE, size_mb, "size_mb", (90, 100), 1, np.random.default_rng(0))


def test_plain_networks_fill_their_size_in_several_shapes():
    found = plain_networks(in_size(1.49, FRAME))
    assert len(found) >= 8 and len({one.plain[1] for one in found.values()}) == len(found)
    for one in found.values():
        width, blocks = one.plain
        assert plain_size_mb(width, blocks, 4) <= 1.49 < plain_size_mb(width + 4, blocks, 4)
    shapes = [one.plain for one in found.values()]
    assert not any(a != b and a[0] <= b[0] and a[1] <= b[1] for a in shapes for b in shapes)
    assert plain_size_mb(48, 8, 4) == pytest.approx(1.501824)  # the network that README compares with


def test_there_is_a_network_of_each_operator_and_none_of_them_is_too_large():
    found = single_operator_networks(SPACE, in_size(0.2, FRAME), FRAME)
    assert [name.split("-")[1] for name in found] == [*SPACE.operators]
    for name, one in found.items():
        _, operator, params = name.split("-")
        assert {cell.operator for cell in one.architecture.cells} == {operator}
        assert size_mb(one.architecture) == pytest.approx(4e-6 * int(params)) and 4e-6 * int(params) <= 0.2
    larger = single_operator_networks(SPACE, in_size(0.4, FRAME), FRAME)
    for name in {*larger} & {*found}:  # their trainings are stored by name
        assert larger[name] == found[name]
    assert {*larger} != {*found}
    assert single_operator_networks(SPACE, in_size(0.001, FRAME), FRAME) == {}


def test_several_networks_of_an_operator_lie_near_the_budget():
    found = single_operator_networks(SPACE, in_size(0.2, FRAME), FRAME, n=4)
    largest = single_operator_networks(SPACE, in_size(0.2, FRAME), FRAME)
    assert {*largest} < {*found}
    for operator in SPACE.operators:
        sizes = [size_mb(one.architecture) for one in found.values() if one.operators == {operator}]
        assert 1 <= len(sizes) <= 4 and sizes == sorted(sizes, reverse=True)
        assert len(sizes) == 1 or sizes[-1] >= NEAR * 0.2


def test_of_each_operator_the_slowest_network_takes_part():
    found = single_operator_networks(SPACE, in_size(0.2, FRAME), FRAME, n=4)
    timed = {name: replace(one, latency_ratio=i % 3) for i, (name, one) in enumerate(found.items())}
    chosen = slowest_of_each_operator(timed)
    assert len(chosen) == len(SPACE.operators)
    for one in chosen.values():
        alike = [other.latency_ratio for other in timed.values() if other.operators == one.operators]
        assert one.latency_ratio == max(alike)


def test_a_budget_of_latency_is_relative_to_the_plain_network():
    table = LatencyTable({}, {BASE: 10.0, **{key(part): 2.0 for part in every_part(SPACE)}}, plain_ms=40.0)
    budget = in_latency(0.5, table, lambda width, blocks: width * blocks / 8)
    assert budget.of_subnet(SPACE.decode(SPACE.reference)) == (10 + 2 * 7) / 40  # stem, five cells, head
    plain = {name: one.plain for name, one in plain_networks(budget).items()}
    assert plain["plain-16x12"] == (16, 12) and all(width * blocks <= 48 * 8 / 2 for width, blocks in plain.values())
    # Without the widths that are slow there: the network of the budget itself takes part.
    odd = in_latency(1, table, lambda width, blocks: width * blocks * (3 if width % 16 == 12 else 1))
    assert "plain-48x8" in plain_networks(odd)
    alike = single_operator_networks(SPACE, in_latency(1, table, max), FRAME)
    assert [name.split("-")[1] for name in alike] == [*SPACE.operators]


QUALITY = {"s1": 30.0, "s2": 31.0, "r1": 29.0, "h1": 30.5, "h2": 30.4}
KINDS = {"searched": ["s1", "s2"], "random": ["r1"], "hand-made": ["h1", "h2"]}


def study(kinds, seeds):
    """Trainings of which each seed is 0.1 dB better than the one before, and odd ones help the hand-made."""
    asked = []

    def train(which, images):
        asked.extend((name, seed, images) for name, seed in which)
        odd = {(name, seed): 0.05 * (seed % 2) * (name[0] == "h") for name, seed in which}
        return [{"psnr_y": QUALITY[n] + 0.1 * s + odd[n, s], "Set5 psnr_y": 20.0, "macs": 1e9} for n, s in which]

    return *winners.study_winners(kinds, 40, 400, seeds, train, metric("psnr_y")), asked


def test_the_best_of_each_kind_is_trained_with_every_seed():
    trials, finals, asked = study(KINDS, 3)
    assert {(row["kind"], row["winner"]) for row in finals} == {
        ("searched", "s2"),
        ("random", "r1"),
        ("hand-made", "h1"),
    }
    assert [row["seed"] for row in finals] == [0, 1, 2] * 3
    # A kind of one network has no trials; those of a kind are trained with the first seed alone.
    assert {trial["candidate"] for trial in trials} == {"s1", "s2", "h1", "h2"}
    assert {images for _, _, images in asked} == {40, 400} and all(s == 0 for _, s, images in asked if images == 40)
    # The finals come last, a seed of every kind after the other.
    assert [(name, seed) for name, seed, images in asked if images == 400] == [
        (name, seed) for seed in range(3) for name in ("s2", "r1", "h1")
    ]
    assert all(images == 40 for *_, images in asked[:-9])


def test_a_network_that_is_the_best_of_two_kinds_is_trained_once_a_seed():
    _, finals, asked = study(KINDS | {"plain": ["h1"]}, 2)
    assert asked[-6:] == [(name, seed, 400) for seed in range(2) for name in ("s2", "r1", "h1")]
    plain, hand_made = ([row["psnr_y"] for row in finals if row["kind"] == kind] for kind in ("plain", "hand-made"))
    assert plain == hand_made and len(plain) == 2


def test_the_lead_is_paired_by_seed_with_its_interval():
    _, finals, _ = study(KINDS, 3)
    ours, random, hand_made = winners.winners_table(finals, ["psnr_y", "Set5 psnr_y"], -1, ["macs"])
    assert ours["psnr_y"] == pytest.approx(31.1) and not any("lead" in name for name in ours)
    assert random["psnr_y lead"] == pytest.approx(2.0)
    assert random["psnr_y lead_low"] == pytest.approx(2.0)  # the seeds agree
    lead = np.array([0.5, 0.45, 0.5])
    low, high = stats.t.interval(0.95, 2, loc=lead.mean(), scale=stats.sem(lead))
    assert hand_made["psnr_y lead"] == pytest.approx(lead.mean())
    assert (hand_made["psnr_y lead_low"], hand_made["psnr_y lead_high"]) == pytest.approx((low, high))
    assert hand_made["Set5 psnr_y lead"] == 0 and hand_made["macs"] == 1e9


def test_a_score_that_is_no_number_leaves_the_rest_of_the_table():
    _, finals, _ = study(KINDS, 3)
    finals[4]["psnr_y"] = float("nan")  # of the random one
    _, random, hand_made = winners.winners_table(finals, ["psnr_y"], -1, [])
    assert np.isnan([random["psnr_y lead"], random["psnr_y lead_low"]]).all() and hand_made["psnr_y lead_low"] > 0


def test_a_single_seed_has_no_interval():
    (_, random, _) = winners.winners_table(study(KINDS, 1)[1], ["psnr_y"], -1, [])
    assert "psnr_y lead" in random and "psnr_y lead_low" not in random


def test_a_plain_contestant_is_the_network_of_its_shape():
    class Job:
        seed, device = 3, "cpu"
        task = SuperResolution(4)

    first, again = (Contestant(plain=(8, 2)).build(Job()) for _ in range(2))
    assert isinstance(first, PlainUpscaler)
    assert first.settings == {"width": 8, "blocks": 2, "scale": 4, "channels": 3}
    assert all((a == b).all() for a, b in zip(first.parameters(), again.parameters(), strict=True))


def test_the_study_trains_searched_random_and_hand_made_networks_alike_and_resumes(
    photographs: Path, tmp_path: Path
) -> None:
    run, benchmark = tmp_path / "run", tmp_path / "Set1"
    words = ("--run", run, "--threads", 1)
    assert exit_code("search", *words, "--data", photographs, *EVALUATIONS, *tiny()) == 0
    (benchmark / "HR").mkdir(parents=True)
    (benchmark / "LR_bicubic" / "X4").mkdir(parents=True)
    with Image.open(photographs / "0.png") as image:
        image.crop((0, 0, 96, 96)).save(benchmark / "HR" / "a.png")
        image.crop((0, 0, 96, 96)).resize((24, 24)).save(benchmark / "LR_bicubic" / "X4" / "a.png")
    size = analysis.load_scores(run)["size_mb"].quantile(0.8)
    few = settings("finetune.rounds=4", "finetune.batch=2", "search.objectives=[macs, psnr_y]")
    study = ("study", "winners", *words, "--size", size, "--candidates", 3, "--trial-images", 4, "--seeds", 2)
    assert exit_code(*study, "--benchmark", benchmark, *few) == 0
    table = json.loads((run / "winners.json").read_text())
    rows = {row["kind"]: row for row in table["rows"]}
    assert [*rows] == ["searched", "random", "hand-made"]
    assert all(row["size_mb"] <= size and row["images"] == 8 and row["seeds"] == 2 for row in rows.values())
    tried = {kind: {t["candidate"] for t in table["trials"] if t["kind"] == kind} for kind in rows}
    assert {kind: len(names) for kind, names in tried.items()} == {
        kind: row["candidates"] for kind, row in rows.items()
    }
    finals = pd.read_csv(run / "winners.csv")
    for kind, row in rows.items():
        assert row["psnr_y"] == pytest.approx(finals[finals["kind"] == kind]["psnr_y"].mean())
        assert row["Set1 psnr_y"] == pytest.approx(finals[finals["kind"] == kind]["Set1 psnr_y"].mean())
    assert (finals.groupby("kind")["psnr_y"].nunique() == 2).all()  # seeds differ
    hand_made = {trial["candidate"] for trial in table["trials"] if trial["kind"] == "hand-made"}
    assert any(name.startswith("plain-") for name in hand_made) and any(name.startswith("all-") for name in hand_made)

    models = {path: path.stat().st_mtime_ns for path in (run / "winners").glob("*/model.safetensors")}
    assert exit_code(*study, "--benchmark", benchmark, *few) == 0
    assert {path: path.stat().st_mtime_ns for path in models} == models
    assert len(models) == len([*(run / "winners").iterdir()])
    assert json.loads((run / "winners.json").read_text()) == table
    rivals = ("--against", "plain", "--against", "hand-made")
    assert exit_code(*study, "--benchmark", benchmark, *few, *rivals) == 0
    kinds = {row["kind"]: row for row in json.loads((run / "winners.json").read_text())["rows"]}
    plain = kinds.pop("plain")
    assert plain["winner"].startswith("plain-") and plain["seeds"] == 2
    assert kinds == {kind: row for kind, row in rows.items() if kind != "random"}


def test_the_study_of_winners_is_refused_before_it_trains(
    photographs: Path, tmp_path: Path, capsys, monkeypatch
) -> None:
    words = ("--run", tmp_path, "--threads", 1)
    assert exit_code("search", *words, "--data", photographs, *EVALUATIONS, *tiny()) == 0
    for changes, sentence in (
        (("--size", 500), "has size_mb >= 375"),
        (("--size", 0.1, "--benchmark", tmp_path / "none"), "none"),
    ):
        assert exit_code("study", "winners", *words, *changes) == 2
        assert sentence in capsys.readouterr().err
    monkeypatch.setattr("supernet.jobs.contestants.BLOCKS", (24,))
    size = analysis.load_scores(tmp_path)["size_mb"].min()
    assert exit_code("study", "winners", *words, "--size", size, "--against", "plain") == 2
    assert "no plain network fits size_mb" in capsys.readouterr().err
    assert not (tmp_path / "winners").exists()
