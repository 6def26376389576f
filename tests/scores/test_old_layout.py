"""Stores that older versions wrote."""

import gzip
from pathlib import Path

import h5py
import pytest

from evo_c2f.scores.layout import FORMAT
from evo_c2f.scores.store import ScoreStore, read_scores

NAN = float("nan")
OLD_STORES = Path(__file__).parents[1] / "old_stores"  # written by the versions of then, by the same calls
OLD_FAILURES = {
    1: {"psnr_y": ""},
    2: {"psnr_y": "longer than 5 s", "macs": "longer than 5 s"},
    3: {"lpips_full": ""},
    # The text was cut within the names, so it stands for all that the row lacks.
    5: dict.fromkeys(("psnr_y", "macs", "lpips", "lpips_full"), "its worker died 3 times, last by " + "x" * 130),
}


@pytest.fixture(params=[1, 2])
def old(request, tmp_path):
    """A store of an older format: 6 rows, of which 4 failed, and one that failed was measured again."""
    path = tmp_path / "run" / "scores.h5"
    path.parent.mkdir()
    path.write_bytes(gzip.decompress((OLD_STORES / f"format-{request.param}.h5.gz").read_bytes()))
    return path


def assert_is_what_was_written(scores):
    assert scores.rows["stage"].tolist() == [b"reference"] + [b"path"] * 5
    assert scores.metrics["macs"].tolist() == pytest.approx([1, 2, NAN, 4, 5, NAN], nan_ok=True)
    assert scores.metrics["psnr_y"].tolist() == pytest.approx([30, NAN, NAN, 33, 34, NAN], nan_ok=True)
    assert scores.notes == {"baseline": {"psnr_y": 26.0}}
    assert {row: set(failed) for row, failed in scores.failures.items()} == {r: set(f) for r, f in OLD_FAILURES.items()}
    for row, failed in scores.failures.items():
        assert all(OLD_FAILURES[row][name].startswith(reason) for name, reason in failed.items())


def test_a_store_of_an_older_format_is_read_as_it_was_written(old):
    before = old.read_bytes()
    assert_is_what_was_written(read_scores(old)[0])
    assert old.read_bytes() == before


def test_a_store_of_an_older_format_is_brought_to_that_of_today_where_it_is_written_to(old, tiny, context_of, caplog):
    rows = read_scores(old)[0].rows
    with ScoreStore(old, context_of(tiny)) as store:
        assert len(store) == 6 and store.failed(rows["genome"][1]) == {"psnr_y": ""}
        store.append(rows["genome"][1:2], [{"psnr_y": 31.0}], "path", 1, [0.5])
        assert store.failed(rows["genome"][1]) == {}
    assert f"it is of format {FORMAT} now, which older versions can't read" in caplog.text
    with h5py.File(old) as file:
        assert file.attrs["format"] == FORMAT
    (scores,) = read_scores(old)
    assert (scores.rows == rows).all() and scores.metrics["psnr_y"][1] == 31.0
    assert sorted(scores.failures) == [2, 3, 5]
    assert [path.name for path in old.parent.iterdir()] == [old.name]


def test_a_store_is_the_same_in_the_format_of_today(old, tiny, context_of):
    with ScoreStore(old, context_of(tiny)):
        pass
    assert_is_what_was_written(read_scores(old)[0])
