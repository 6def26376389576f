"""The study of operators: its networks, its table from known figures, and the whole as a user runs it."""

import json
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pandas as pd
import pytest
from command_line import EVALUATIONS, exit_code, settings
from PIL import Image
from test_studies import SMALL

from evo_c2f.runs import recipe
from evo_c2f.scores import analysis
from evo_c2f.studies.operators import (
    operators_summary,
    operators_table,
    sees_operators,
    sight,
    single_operator_networks,
)
from evo_c2f.studies.study import check

SPACE = recipe.load("quick").space


def test_each_operator_fills_all_cells_of_the_reference_path_at_each_cost():
    space = SPACE
    names, genomes = single_operator_networks(space, 2)
    architectures = [space.decode(genome) for genome in genomes]
    assert names == [name for name in space.operators for _ in range(2)]
    assert all({cell.operator for cell in a.cells} == {name} for name, a in zip(names, architectures, strict=True))
    assert [a.width(2) for a in architectures] == [32, 24] * len(space.operators)
    assert all([cell.level for cell in a.cells] == [2] * 5 for a in architectures)
    assert (space.canonical(genomes) == genomes).all()


def test_more_costs_than_widths_give_no_network_twice():
    space = SPACE
    names, genomes = single_operator_networks(space, 9)
    assert len(names) == 3 * len(space.operators) and len(np.unique(genomes, axis=0)) == len(genomes)


@pytest.fixture
def known():
    """A frame of four operators at two costs, of which the supernet takes the best for the worst."""
    rows = [
        # operator, GMACs, alone for 5 rounds, for 20, shared
        ("residual", 5.0, 30.0, 31.8, 31.4),
        ("residual", 3.0, 29.9, 31.6, 31.2),
        ("distillation", 2.0, 29.0, 31.5, 30.1),
        ("distillation", 1.2, 28.9, 31.3, 30.0),
        ("separable", 2.1, 29.5, 31.1, 30.6),
        ("separable", 1.3, 29.4, 30.9, 30.5),
        ("pointwise", 1.1, 29.2, 30.8, 30.3),
        ("pointwise", 0.7, 29.1, 30.7, 30.2),
    ]
    return pd.DataFrame(rows, columns=["operator", "macs", "alone_5", "alone_20", "shared"])


LAB = SimpleNamespace(seed=0, space=SPACE)


def test_an_operator_that_is_rated_too_low_has_a_negative_rank_error(known):
    rows = {row["operator"]: row for row in operators_table(LAB, known, [5, 20])}
    assert list(rows) == ["residual", "distillation", "separable", "pointwise"]
    # Ranks alone 6 and 5 of 8, shared 2 and 1.
    assert rows["distillation"]["rank_error"] == pytest.approx(-0.5)
    assert rows["distillation"]["low"] <= -0.5 <= rows["distillation"]["high"]
    assert rows["residual"]["rank_error"] == 0
    assert rows["separable"]["rank_error"] == rows["pointwise"]["rank_error"] == pytest.approx(0.25)


def test_an_operator_is_dominated_where_another_is_better_and_costs_no_more(known):
    dominated = {row["operator"]: row["dominated"] for row in operators_table(LAB, known, [5, 20])}
    assert dominated == {"residual": False, "distillation": False, "separable": True, "pointwise": False}


def test_the_summary_tells_tau_with_and_without_the_reference_and_the_spread(known):
    found = operators_summary(LAB, known, [5, 20])
    # Of 28 pairs the eight of distillation with the two others are reversed.
    assert found["tau"] == pytest.approx(1 - 2 * 8 / 28)
    assert found["tau_others"] == pytest.approx(1 - 2 * 8 / 15)
    assert found["spread"] == pytest.approx(0.5) and found["spread_alone"] == pytest.approx(0.7)


def test_one_network_an_operator_has_no_interval(known):
    (row, *_) = operators_table(LAB, known.groupby("operator").head(1), [5, 20])
    assert np.isnan(row["low"]) and np.isnan(row["high"])


@pytest.mark.parametrize(
    ("tau", "spread", "seen"), [(0.43, 0.07, False), (0.81, 0.39, True), (-0.2, 0.8, False), (0.0, 0.0, False)]
)
def test_a_supernet_sees_operators_where_scores_lie_apart_in_the_right_order(tau, spread, seen):
    assert sees_operators({"tau_others": tau, "spread": spread, "spread_alone": 0.82}) is seen


def test_the_reference_is_left_out_of_what_a_supernet_sees(known):
    """Its own network, far above the others, would hide that they are not told apart."""
    found = sight(LAB, known.groupby("operator").head(1), 20)
    assert found["tau_others"] == pytest.approx(-1 / 3)  # distillation, the best of three, is rated last
    assert found["spread"] == pytest.approx(0.5) and found["spread_alone"] == pytest.approx(0.7)


def test_the_check_of_a_ranking_orders_as_the_search_does(known):
    """With the credit for MACs: by shared scores that hardly differ, the larger network is the better one."""
    space, macs = SPACE, known["macs"].to_numpy() * 1e9
    lab = SimpleNamespace(seed=0, space=space, quality="psnr_y")
    frame = pd.DataFrame({"macs": macs, "alone_psnr_y_full": macs})
    scores = 30 - 0.01 * np.arange(len(macs))[np.argsort(np.argsort(macs))]
    genomes = np.repeat(space.reference[None], len(macs), axis=0)

    def measure(architectures):
        return [{"psnr_y": score} for score in scores]

    assert check(lab, frame, genomes, measure, credit=0.0)["tau"] == pytest.approx(-1)
    assert check(lab, frame, genomes, measure, credit=1.0)["tau"] == pytest.approx(1)


def test_a_search_tells_whether_its_supernet_sees_operators(photographs: Path, tmp_path: Path, capsys) -> None:
    few = ("--evaluations", 8, "--check-ranking", 8, "--threads", 1, "--run", tmp_path, "--data", photographs)
    changes = settings(*SMALL, "space.operators=[pointwise, residual, separable, inverted]")
    assert exit_code("search", *few, "--recipe", "quick", *changes) == 0
    found = json.loads((tmp_path / "ranking.json").read_text())["operators"]
    said = capsys.readouterr().err
    assert f"operators, without the reference: tau {found['tau_others']:.2f}" in said
    assert ("cannot tell operators apart" in said) is not sees_operators(found)
    stored = analysis.load_scores(tmp_path / "operators.h5", objectives=None)
    assert len(stored) == 2 * 4  # four networks, alone and with shared weights
    with h5py.File(tmp_path / "operators.h5") as file:  # alone they learn as the supernet did
        (how,) = (
            json.loads(group.attrs["context"])["protocol"] for group in file.values() if len(group["metrics"]) == 2
        )
    assert '"optimizer":"muon"' in how and '"rounds":4' in how


def test_the_study_judges_the_operators_of_a_run_and_measures_nothing_twice(photographs: Path, tmp_path: Path) -> None:
    changes = settings(*SMALL, "finetune.rounds=4")
    options = ("--run", tmp_path, "--data", photographs, "--threads", 1, *EVALUATIONS)
    assert exit_code("search", *options, *changes, "--set", "search.screen=1") == 0
    words = ("study", "operators", "--run", tmp_path, "--threads", 1)
    assert exit_code(*words) == 0
    table = json.loads((tmp_path / "operators.json").read_text())
    frame = pd.read_csv(tmp_path / "operators.csv")
    space = SPACE
    assert len(table["rows"]) == len(space.operators) and len(frame) == 2 * len(space.operators)
    assert table["rounds"] == [1, 4] and np.isfinite(frame[["alone_1", "alone_4", "shared"]]).all(axis=None)
    assert not (frame["alone_1"] == frame["alone_4"]).all()
    with Image.open(tmp_path / "operators.png") as picture:
        assert picture.width > 600
    rows = analysis.load_scores(tmp_path / "operators.h5", objectives=None)
    assert exit_code(*words) == 0
    assert len(analysis.load_scores(tmp_path / "operators.h5", objectives=None)) == len(rows) == 3 * len(frame)
    assert json.loads((tmp_path / "operators.json").read_text()) == table


def test_a_run_without_a_supernet_is_told_how_to_train_one(photographs: Path, tmp_path: Path, capsys) -> None:
    assert exit_code("study", "operators", "--run", tmp_path / "none") == 2
    assert "holds no run" in capsys.readouterr().err
