"""The contest on a small table of the format of NAS-Bench-Macro: what it asks, tells, keeps and repeats."""

import json

import numpy as np
import pytest
from command_line import exit_code
from small_tables import write_macro

from evo_c2f.contest import explained, noise, outcome, race
from evo_c2f.contest.contestants import CONTESTANTS, JOINT, MORE, OPTUNA, OURS, SLOW, networks_of
from evo_c2f.errors import DamagedFileError, InputError
from evo_c2f.tables import catalogue, macro

NAME = "NAS-Bench-Macro, FLOPs"
FEW = 30


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    write_macro(folder)
    return folder


@pytest.fixture(scope="module")
def table(folder):
    return catalogue.load(folder, NAME)


@pytest.mark.parametrize("name", [*CONTESTANTS, *MORE])
def test_a_contestant_asks_for_so_many_networks_and_the_same_again(table, name):
    if "optuna" in name:  # the extra `tables`
        pytest.importorskip("optuna")
    contestant = {**CONTESTANTS, **MORE}[name]
    asked = networks_of(table, contestant, FEW, 3)
    assert 0.8 * FEW <= len(asked) <= FEW and len(set(asked)) == len(asked)
    assert networks_of(table, contestant, FEW, 3) == asked
    assert networks_of(table, contestant, FEW, 4) != asked


def test_searching_finds_more_than_drawing(table):
    shares = {
        name: np.median([outcome.share(table, networks_of(table, CONTESTANTS[name], 120, seed)) for seed in range(3)])
        for name in (OURS, JOINT, "random")
    }
    assert shares["random"] < min(shares[OURS], shares[JOINT]), shares


def test_the_true_front_attains_all_and_a_part_of_it_less(table):
    assert outcome.share(table, table.front) == pytest.approx(1)
    assert 0 < outcome.share(table, table.front[:3]) < 1
    assert outcome.share(table, range(len(table.rows))) == pytest.approx(1)


def test_the_networks_until_a_goal_are_the_first_that_reach_it(table):
    asked = np.random.default_rng(0).permutation(len(table.rows))[:200].tolist()
    goal = outcome.share(table, asked[:50])
    n = int(outcome.until(table, asked, goal))
    assert outcome.share(table, asked[:n]) >= goal > outcome.share(table, asked[: n - 1]) and n <= 50
    assert outcome.until(table, asked[:3], 0.99) == np.inf


def test_the_interval_of_a_median_covers_it_as_often_as_it_says():
    rng, hits = np.random.default_rng(0), 0
    for _ in range(400):
        middle, low, high = outcome.median(rng.exponential(size=100))
        assert low <= middle <= high
        hits += low <= np.log(2) <= high
    assert 0.92 <= hits / 400 <= 0.99
    assert outcome.median(np.array([1.0, *[np.inf] * 6])) == (np.inf, 1.0, np.inf)


def test_a_median_of_few_seeds_has_no_interval():
    assert outcome.median(np.arange(6.0)) == (2, 0, 5)
    middle, low, high = outcome.median(np.arange(5.0))
    assert middle == 2 and np.isnan([low, high]).all()


def test_a_lead_is_that_of_the_medians():
    ahead, low, high = outcome.lead(np.arange(100) + 5.0, np.arange(100.0), np.random.default_rng(0))
    assert ahead == 5 and low < 5 < high


@pytest.mark.parametrize(("tau", "biased"), [(0.9, False), (0.6, False), (0.9, True), (0.6, True)])
def test_noise_disturbs_ranks_as_far_as_told(table, tau, biased):
    from scipy.stats import kendalltau, pearsonr

    scores = noise.disturbed(table, tau, biased, np.random.default_rng(0))
    quality = table.values[:, 0]
    assert kendalltau(scores, quality).statistic == pytest.approx(tau, abs=0.03)
    favoured = (table.genomes[:, table.space.blocks] == 1).sum(axis=1)
    error = scores - np.poly1d(np.polyfit(quality, scores, 1))(quality)
    told = pearsonr(error, favoured - np.poly1d(np.polyfit(quality, favoured, 1))(quality)).statistic
    assert (told > 0.3) == biased


def test_variances_of_a_nested_sample_are_told_apart():
    rng = np.random.default_rng(0)
    parts = [rng.normal(0, scale, (4000, *shape)) for scale, shape in ((3, (1, 1)), (2, (2, 1)), (1, (2, 2)))]
    assert explained.components(sum(parts)) == pytest.approx([9, 4, 1], rel=0.1)
    found = explained.shares(sum(parts)[:200], rng)
    assert found["path_low"] < 9 / 14 < found["path_high"]


def test_a_nested_sample_varies_what_it_says(large):
    genomes = explained.draw(large, np.random.default_rng(0), 10)
    paths, operators = genomes[..., large.paths], genomes[..., large.blocks]
    assert (paths == paths[:, :1, :1]).all() and (operators == operators[:, :, :1]).all()
    assert (operators[:, 0] != operators[:, 1]).any() and (genomes[:, :, 0] != genomes[:, :, 1]).any()


def test_a_sample_tells_about_what_the_table_holds(table):
    exact = explained.exactly(table, np.random.default_rng(0))
    genomes = explained.draw(table.space, np.random.default_rng(1))
    numbers = [table.numbers[table.network(table.space.decode(g))] for g in genomes.reshape(-1, genomes.shape[-1])]
    told = explained.shares(table.values[numbers, 0].reshape(genomes.shape[:3]), np.random.default_rng(2))
    assert exact > 0.8 and told["path"] == pytest.approx(exact, abs=0.15)


# -- the command -----------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(race, "EVALUATIONS", 20)
    monkeypatch.setattr(race, "THOROUGH", ())
    monkeypatch.setattr(race, "TAUS", (0.6,))


def test_a_race_has_twice_the_networks_where_all_race_and_less_for_the_slow(monkeypatch):
    slow = next(iter(SLOW))
    assert race.NOISY in race.THOROUGH and race.NOISY == NAME
    rows = [race.Row("other", OURS), race.Row(NAME, OURS), race.Row(NAME, OURS, 0.8), race.Row(NAME, slow)]
    assert [race.allowed(row) for row in rows] == [150, 300, 150, 100]
    monkeypatch.setattr(race, "find_spec", lambda name: name == "optuna")
    assert {row.contestant for row in race.rows_of([NAME])} == {*CONTESTANTS, *MORE}
    monkeypatch.setattr(race, "find_spec", lambda name: None)
    assert {row.contestant for row in race.rows_of([NAME])} == {*CONTESTANTS, *MORE} - {OPTUNA}
    assert {row.contestant for row in race.rows_of(["other"])} == {*CONTESTANTS}


def study(folder, run, *words):
    return exit_code("study", "tables", "--data", folder, "--run", run, *words)


def test_a_study_leaves_tables_and_pictures_and_races_nothing_twice(folder, tmp_path, quick, monkeypatch):
    assert study(folder, tmp_path, "--seeds", 2, "--table", NAME) == 0
    found = json.loads((tmp_path / "tables.json").read_text())
    assert {(row["table"], row["contestant"]) for row in found["rows"]} >= {(NAME, OURS), (NAME, "random")}
    assert all(row["seeds"] == 2 and row["final_low"] is row["final_high"] is None for row in found["rows"])
    for name in ("leads.png", "noise.png", "search.md", "leads.md", "noise.md"):
        assert (tmp_path / name).stat().st_size > 100
    before = {name: (tmp_path / name).read_bytes() for name in ("tables.json", race_file(tmp_path).name)}
    monkeypatch.setattr(race, "race", None)  # nothing is raced
    assert study(folder, tmp_path, "--seeds", 2, "--table", NAME) == 0
    assert {name: (tmp_path / name).read_bytes() for name in before} == before


def race_file(run):
    return run / "races.jsonl"


def test_a_study_that_was_cut_off_ends_as_one_that_was_not(folder, tmp_path, quick):
    assert study(folder, tmp_path / "whole", "--seeds", 1, "--table", NAME) == 0
    assert study(folder, tmp_path / "cut", "--seeds", 1, "--table", NAME) == 0
    path = race_file(tmp_path / "cut")
    text = path.read_bytes()
    path.write_bytes(text[: len(text) // 2])
    assert study(folder, tmp_path / "cut", "--seeds", 1, "--table", NAME) == 0
    lines = [sorted(race_file(tmp_path / name).read_text().splitlines()) for name in ("whole", "cut")]
    assert lines[0] == lines[1]
    path.write_text("{}\n")
    with pytest.raises(DamagedFileError, match="races.jsonl is damaged"):
        race.read(path)


def test_what_a_study_can_not_do_is_said(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(catalogue.graph, "PACKAGE", "no_such_package")
    assert study(tmp_path, tmp_path / "run") == 2
    assert "holds no table; put there" in capsys.readouterr().err
    assert study(folder, tmp_path / "run", "--table", "NAS-Bench-9") == 2
    assert "table 'NAS-Bench-9' is unknown" in capsys.readouterr().err
    assert study(folder, tmp_path / "run", "--recipe", "quick") == 2
    assert "takes the folder of tables as --data, and no recipe" in capsys.readouterr().err
    assert exit_code("study", "tables", "--run", tmp_path / "run") == 2


def test_tables_are_found_by_their_files(folder, tmp_path):
    assert set(catalogue.available(folder)) >= {f"NAS-Bench-Macro, {cost}" for cost in macro.COSTS}
    assert not catalogue.is_there(tmp_path, NAME)
    with pytest.raises(InputError):
        catalogue.READERS["NAS-Bench-201, latency"](tmp_path)
