import json

import numpy as np
import pandas as pd
import pytest

import evo_c2f
from evo_c2f.errors import DamagedFileError, InputError
from evo_c2f.objectives import pareto
from evo_c2f.objectives.metric import Box, metric
from evo_c2f.scores import analysis
from evo_c2f.scores.store import ScoreStore
from evo_c2f.space import subnet_id

NAN = float("nan")
BOTH = metric("psnr_y"), metric("macs")

# psnr_y and macs of six subnets, and the front each stands in.
ROWS = [(30.0, 100.0, 0), (29.0, 50.0, 0), (29.0, 60.0, 1), (NAN, 1.0, 3), (28.0, 50.0, 1), (27.0, 70.0, 2)]


@pytest.fixture(scope="session")
def genomes(tiny):
    """The widest subnet and five others, one of them a single cell."""
    others = [[0, 2, 0, 0, 1, 0, 0, 0, 0, 0, 0], *np.unique(tiny.random(60, np.random.default_rng(0)), axis=0)[10:14]]
    return np.array([tiny.reference, *others], dtype=np.uint8)


@pytest.fixture
def run(tmp_path, tiny, genomes, context_of):
    """A run's folder with ROWS in one context, and one row in a later one."""
    rows = [{"psnr_y": psnr, "macs": macs} for psnr, macs, _ in ROWS]
    with ScoreStore(tmp_path / "scores.h5", context_of(tiny), {"baseline": {"psnr_y": 26.0}}) as store:
        store.append(genomes[:1], rows[:1], "reference", 0, [0.5])
        store.append(genomes[1:4], rows[1:4], "path", 1, [0.5] * 3)
        store.append(genomes[4:], rows[4:], "operator", 2, [0.25] * 2)
    with ScoreStore(tmp_path / "scores.h5", context_of(tiny, "further"), {"baseline": {"psnr_y": 26.5}}) as store:
        store.append(genomes[:1], [{"psnr_y": 31.0, "macs": 100.0}], "reference", 0, [0.5])
    return tmp_path


@pytest.fixture
def frame(run):
    """The first context's rows."""
    return analysis.load_scores(run).iloc[: len(ROWS)]


# -- scores ----------------------------------------------------------------------------------------


def test_the_scores_are_one_row_a_subnet(run, frame, tiny, genomes, context_of):
    every = analysis.load_scores(run)
    assert len(every) == len(ROWS) + 1 and every["context"].nunique() == 2
    assert list(every.columns) == [
        *("id", "context", "stage", "generation"),
        *tiny.gene_names,
        *("macs", "psnr_y", "seconds", "time", "failure", "genome", "front"),
    ]
    assert frame["id"].tolist() == [subnet_id(genome) for genome in genomes]
    assert set(frame["context"]) == {context_of(tiny).key}
    assert frame["stage"].tolist() == ["reference", *["path"] * 3, *["operator"] * 2]
    assert frame["generation"].tolist() == [0, 1, 1, 1, 2, 2]
    assert frame["seconds"].tolist() == [0.5] * 4 + [0.25] * 2
    assert frame["time"].is_monotonic_increasing and str(frame["time"].dt.tz) == "UTC"
    assert (analysis.genomes_of(frame) == genomes).all()


def test_the_store_s_file_does_as_well_as_its_folder(run):
    pd.testing.assert_frame_equal(analysis.load_scores(run), analysis.load_scores(str(run / "scores.h5")))
    assert evo_c2f.load_scores is analysis.load_scores


def test_a_row_says_which_metric_failed_and_keeps_the_others(frame):
    assert frame["psnr_y"].tolist() == pytest.approx([row[0] for row in ROWS], nan_ok=True)
    assert frame["macs"].tolist() == [row[1] for row in ROWS]
    assert frame["failure"].tolist() == ["", "", "", "not finite: psnr_y", "", ""]


def test_a_failed_metric_leaves_the_row_on_the_front_of_the_others(tmp_path, tiny, genomes, context_of):
    rows = [{"psnr_y": 30.0, "macs": 2.0, "latency_ms": NAN}, {"psnr_y": 29.0, "macs": 1.0, "latency_ms": 5.0}]
    with ScoreStore(tmp_path / "scores.h5", context_of(tiny)) as store:
        store.append(genomes[:2], rows, "path", 1, [0.5] * 2, ["out of memory", ""])
    frame = analysis.load_scores(tmp_path)
    assert frame["front"].tolist() == [0, 0]
    assert frame["failure"].tolist() == ["out of memory; not finite: latency_ms", ""]
    assert analysis.load_scores(tmp_path, ("psnr_y", "latency_ms"))["front"].tolist() == [1, 0]


def test_genes_are_words_and_nothing_where_they_say_nothing(frame, tiny):
    single = frame.iloc[1]
    assert [single[name] for name in tiny.gene_names] == [
        *("skip", "2", "skip"),
        *("", "thin", ""),
        *("", "0.5", ""),
        *("", "16"),
    ]
    assert [frame.iloc[0][f"path_{i}"] for i in range(3)] == ["1", "skip", "2"]
    assert frame["operator_0"].dtype.categories.tolist() == ["", "dense", "thin"]
    assert frame["width_1"].dtype.categories.tolist() == ["", "8", "16"]


def test_each_row_has_the_number_of_its_front_within_its_context(run, frame):
    assert frame["front"].tolist() == [row[2] for row in ROWS]
    assert analysis.load_scores(run)["front"].iloc[-1] == 0
    assert "front" not in analysis.load_scores(run, objectives=None)


def test_a_metric_that_was_never_measured_is_named(run):
    with pytest.raises(InputError, match="ssim_y was never measured in this run; evolve with --objective ssim_y"):
        analysis.load_scores(run, objectives=("psnr_y", "ssim_y"))


def test_a_store_without_rows_names_the_command(tmp_path, tiny, context_of):
    ScoreStore(tmp_path / "scores.h5", context_of(tiny)).__exit__(None, None, None)
    with pytest.raises(InputError, match=r"holds no scores yet; run 'python cli\.py evolve --stage path' first"):
        analysis.load_scores(tmp_path)


# -- fronts and curves -----------------------------------------------------------------------------


def test_the_front_is_what_nothing_dominates_best_first(frame):
    assert analysis.front(frame)[["psnr_y", "macs"]].to_numpy().tolist() == [[30.0, 100.0], [29.0, 50.0]]
    assert analysis.front(frame, ("macs", "psnr_y"))["macs"].tolist() == [50.0, 100.0]


def test_the_box_is_that_of_the_newest_context(run):
    assert analysis.box(run) == Box(BOTH, worst=(26.5, 100.0), best=(31.0, 0.0))
    assert analysis.box(str(run / "scores.h5"), ("macs", "psnr_y")).objectives == BOTH[::-1]


def test_without_the_widest_subnet_there_is_no_box(tmp_path, tiny, genomes, context_of):
    with ScoreStore(tmp_path / "scores.h5", context_of(tiny)) as store:
        store.append(genomes[1:2], [{"psnr_y": 30.0, "macs": 5.0}], "path", 1, [0.5])
    with pytest.raises(InputError, match="no score of the widest subnet yet"):
        analysis.box(tmp_path)


def test_a_failed_metric_of_the_widest_subnet_leaves_the_box_of_the_others(tmp_path, tiny, genomes, context_of):
    with ScoreStore(tmp_path / "scores.h5", context_of(tiny), {"baseline": {"psnr_y": 26.0}}) as store:
        store.append(genomes[:1], [{"psnr_y": 30.0, "macs": 5.0, "latency_ms": NAN}], "reference", 0, [0.5])
    assert analysis.box(tmp_path).best[0] == 30.0
    with pytest.raises(InputError, match="no score of the widest subnet yet"):
        analysis.box(tmp_path, ("psnr_y", "latency_ms"))


def test_the_hypervolume_curve_by_hand(frame):
    box = Box(BOTH, worst=(26.0, 100.0), best=(30.0, 0.0))
    curve = analysis.hypervolume_curve(frame, box)
    # (4/4, 0/100) adds nothing; (3/4, 50/100) adds 0.375; what is dominated or failed adds nothing.
    assert curve.tolist() == pytest.approx([0.0, 0.375, 0.375, 0.375, 0.375, 0.375])
    assert (curve.name, curve.index.name, curve.index.tolist()) == ("hypervolume", "evaluations", [1, 2, 3, 4, 5, 6])


def test_the_hypervolume_curve_never_falls_and_ends_at_the_hypervolume():
    values = np.random.default_rng(0).random((60, 2)) * [6, 120] + [25, 0]
    values[[5, 30]] = NAN
    box = Box(BOTH, worst=(26.0, 100.0), best=(30.0, 0.0))
    curve = analysis.hypervolume_curve(pd.DataFrame(values, columns=["psnr_y", "macs"]), box)
    assert curve.is_monotonic_increasing and curve.nunique() > 5
    for n in (1, 20, 60):
        losses = 1 - box.gains(values[:n])
        assert curve[n] == pytest.approx(pareto.hypervolume(losses, np.ones(2)))


def test_gene_effects_by_hand(tiny):
    genomes = np.array(
        [
            [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],  # one dense cell, 8 wide
            [1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0],  # thin
            [1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0],  # two dense ones, 16 wide
            [2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],  # a failure
        ],
        dtype=np.uint8,
    )
    frame = analysis.front_frame(tiny, genomes, {"psnr_y": np.array([26.0, 28.0, 30.0, NAN])}, genomes)
    effects = analysis.gene_effects(frame).set_index(["gene", "choice"])
    expected = {  # mean, effect against 28, count
        ("path_0", "1"): (28, 0, 3),
        ("path_1", "skip"): (27, -1, 2),
        ("path_1", "1"): (30, 2, 1),
        ("operator_0", "dense"): (28, 0, 2),
        ("operator_0", "thin"): (28, 0, 1),
        ("operator_1", "dense"): (30, 2, 1),
        ("width_1", "8"): (27, -1, 2),
        ("width_1", "16"): (30, 2, 1),
    }
    assert list(effects.columns) == ["mean", "effect", "count"]
    for key, row in expected.items():
        assert tuple(effects.loc[key]) == row, key
    assert "" not in effects.index.get_level_values("choice")


def test_records_are_plain_and_ready_for_json(tiny, genomes):
    values = np.array([1 / 3, 1e12, NAN])
    rows = analysis.records(analysis.front_frame(tiny, genomes[:3], {"psnr_y": values}, genomes[:1]))
    assert json.loads(json.dumps(rows)) == rows
    assert [row["psnr_y"] for row in rows] == [pytest.approx(1 / 3, abs=1e-15), 1e12, None]
    assert [row["survivor"] for row in rows] == [True, False, False]
    assert rows[0]["path_1"] == "skip"


# -- fronts as files -------------------------------------------------------------------------------


@pytest.fixture
def written(tmp_path, tiny, genomes):
    """(the frame, the file it was written to)"""
    metrics = {"psnr_y": np.random.default_rng(0).random(6) * 40, "macs": np.arange(6) * 1e9}
    frame = analysis.front_frame(tiny, genomes, metrics, genomes[2:4])
    analysis.write_front(frame, tmp_path / "fronts" / "path.csv")
    return frame, tmp_path / "fronts" / "path.csv"


def test_a_front_survives_its_file(written, genomes):
    frame, path = written
    again = analysis.read_front(path)
    assert list(again.columns) == list(frame.columns)
    assert again["id"].tolist() == frame["id"].tolist()
    assert (analysis.genomes_of(again) == genomes).all()
    assert again["survivor"].tolist() == [False, False, True, True, False, False]
    assert again["macs"].tolist() == frame["macs"].tolist()
    assert again["path_1"].tolist() == frame["path_1"].tolist() and again["operator_1"].tolist() == [
        *frame["operator_1"]
    ]
    assert [p.name for p in path.parent.iterdir()] == ["path.csv"], "a partial file was left"


def test_a_front_s_numbers_are_read_as_they_were_to_the_last_bit(tmp_path, tiny, genomes):
    values = np.random.default_rng(0).random((100, 6)) * 40
    for i, row in enumerate(values):
        analysis.write_front(analysis.front_frame(tiny, genomes, {"psnr_y": row}, genomes), tmp_path / f"{i % 3}.csv")
        assert analysis.read_front(tmp_path / f"{i % 3}.csv")["psnr_y"].tolist() == row.tolist()


DAMAGES = {
    "empty": lambda text: "",
    "no column of genomes": lambda text: text.replace("genome", "gnome", 1),
    "no column of survivors": lambda text: text.replace("survivor", "saviour", 1),
    "a survivor that is neither yes nor no": lambda text: text.replace("False", "Fa1se", 1),
    "cut within a row": lambda text: text[: text.rindex(",")],
    "cut within a genome": lambda text: text.rstrip()[:-2],
    "cut within a genome's byte": lambda text: text.rstrip()[:-3],
    "a genome that is no number": lambda text: text.rstrip()[:-2] + "zz\n",
    "a quote that never ends": lambda text: text + '"',
    "a field too many": lambda text: text + ",".join("x" * 60) + "\n",
    "bytes": lambda text: text + "\udcff\udcfe",
}


def test_a_front_that_is_whole_is_not_called_damaged(written):
    _, path = written
    path.write_text(path.read_text().replace("True", "False"))
    assert not analysis.read_front(path)["survivor"].any()


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_front_is_named(written, damage):
    _, path = written
    path.write_bytes(damage(path.read_text()).encode(errors="surrogateescape"))
    with pytest.raises(DamagedFileError, match=r"path\.csv is damaged .*; evolve that stage again"):
        analysis.read_front(path)
