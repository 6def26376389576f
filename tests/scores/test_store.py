"""The store's contract: rows, failures and contexts."""

import h5py
import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_parts import append, fill

from evo_c2f.errors import DamagedFileError
from evo_c2f.scores.layout import Context
from evo_c2f.scores.store import ScoreStore, read_scores
from evo_c2f.space import SearchSpace

NAN, INF = float("nan"), float("inf")


# -- rows ------------------------------------------------------------------------------------------


def test_what_was_appended_is_got_back(path, tiny, genomes, context_of):
    with ScoreStore(path, context_of(tiny)) as store:
        assert len(store) == 0 and store.get(genomes[0]) is None and not store.failed(genomes[0])
        append(store, genomes[:2], [{"psnr_y": 30.0, "macs": 5.0}, {"psnr_y": 31.0, "macs": 6.0}])
        assert len(store) == 2
        assert store.get(genomes[0]) == {"psnr_y": 30.0, "macs": 5.0}
        assert store.get(genomes[1]) == {"psnr_y": 31.0, "macs": 6.0}
        assert store.get(genomes[2]) is None


def test_a_store_that_is_opened_again_knows_its_rows(path, tiny, genomes, context_of):
    fill(path, context_of(tiny), genomes[:30])
    with ScoreStore(path, context_of(tiny)) as store:
        assert len(store) == 30
        assert [store.get(genome)["psnr_y"] for genome in genomes[:30]] == list(range(30))
        append(store, genomes[30:31], [{"psnr_y": 30.0, "macs": 300.0}])
    (scores,) = read_scores(path)
    assert (scores.rows["genome"] == genomes[:31]).all()
    assert scores.metrics["macs"].tolist() == [10.0 * i for i in range(31)]


def test_a_value_never_changes(path, tiny, genomes, context_of):
    with ScoreStore(path, context_of(tiny)) as store:
        append(store, genomes[:1], [{"psnr_y": 30.0}])
        append(store, genomes[:1], [{"psnr_y": 99.0}], stage="channel", generation=7)
        assert store.get(genomes[0]) == {"psnr_y": 30.0} and len(store) == 1
    (scores,) = read_scores(path)
    assert scores.metrics["psnr_y"].tolist() == [30.0]
    assert (scores.rows["stage"][0], scores.rows["generation"][0]) == (b"path", 1)


def test_a_row_gains_a_missing_metric_later(path, tiny, genomes, context_of):
    with ScoreStore(path, context_of(tiny)) as store:
        append(store, genomes[:2], [{"psnr_y": 30.0}, {"psnr_y": 31.0}])
        append(store, genomes[1:3], [{"psnr_y": 9.0, "ssim_y": 0.9}, {"psnr_y": 32.0, "ssim_y": 0.8}])
        expected = [{"psnr_y": 30.0}, {"psnr_y": 31.0, "ssim_y": 0.9}, {"psnr_y": 32.0, "ssim_y": 0.8}]
        assert [store.get(genome) for genome in genomes[:3]] == expected
    with ScoreStore(path, context_of(tiny)) as store:
        assert [store.get(genome) for genome in genomes[:3]] == expected


def test_a_new_row_may_lack_a_metric_that_others_have(path, tiny, genomes, context_of):
    with ScoreStore(path, context_of(tiny)) as store:
        append(store, genomes[:1], [{"psnr_y": 30.0, "psnr_y_full": 29.0}])
        append(store, genomes[1:2], [{"psnr_y": 31.0}])
        assert store.get(genomes[1]) == {"psnr_y": 31.0}
    assert read_scores(path)[0].metrics["psnr_y_full"].tolist() == pytest.approx([29.0, NAN], nan_ok=True)
    with ScoreStore(path, context_of(tiny)) as store:
        assert store.get(genomes[1]) == {"psnr_y": 31.0}
        append(store, genomes[2:3], [{"psnr_y": 32.0}])
        assert store.get(genomes[2]) == {"psnr_y": 32.0}


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_a_value_that_is_not_finite_makes_a_failure_that_says_so(path, tiny, genomes, context_of, value):
    with ScoreStore(path, context_of(tiny)) as store:
        append(store, genomes[:2], [{"psnr_y": value, "macs": 5.0}, {"psnr_y": 30.0, "macs": 6.0}])
        assert store.failed(genomes[0]) and not store.failed(genomes[1]) and not store.failed(genomes[2])
        assert store.get(genomes[0]) == {"macs": 5.0}
    with ScoreStore(path, context_of(tiny)) as store:
        assert store.failed(genomes[0]) and not store.failed(genomes[1])
    (scores,) = read_scores(path)
    assert scores.failures == {0: {"psnr_y": ""}}


def test_a_metric_that_fails_later_is_still_known_as_failed_when_opened_again(path, tiny, genomes, context_of):
    with ScoreStore(path, context_of(tiny)) as store:
        append(store, genomes[:1], [{"psnr_y": 30.0}])
        append(store, genomes[:1], [{"psnr_y_full": NAN}])
        before = store.failed(genomes[0])
    with ScoreStore(path, context_of(tiny)) as store:
        assert store.failed(genomes[0]) == before


def test_a_failure_with_many_reasons_still_opens(path, tiny, genomes, context_of):
    with ScoreStore(path, context_of(tiny)) as store:
        append(store, genomes[:1], [{f"metric_{i}": NAN for i in range(60)}])
    with ScoreStore(path, context_of(tiny)) as store:
        assert store.failed(genomes[0]) and store.get(genomes[0]) == {}


def test_a_reason_of_any_length_and_the_failed_metrics_are_kept_whole(path, tiny, genomes, context_of):
    names, reason = [f"metric_{i}" for i in range(8)], "not finite: a, b; é\n" * 400
    with ScoreStore(path, context_of(tiny)) as store:
        store.append(genomes[:2], [dict.fromkeys(names, NAN), {"psnr_y": 1.0}], "path", 1, [0.5] * 2, [reason, ""])
        assert store.failed(genomes[0]) == dict.fromkeys(names, reason)
    assert read_scores(path)[0].failures == {0: dict.fromkeys(names, reason)}
    with ScoreStore(path, context_of(tiny)) as store:
        assert store.failed(genomes[0]) == dict.fromkeys(names, reason) and store.failed(genomes[1]) == {}


def test_a_failed_metric_that_gets_a_value_has_not_failed_any_more_and_the_others_still_have(
    path, tiny, genomes, context_of
):
    reason = "its worker died 3 times, last by " + "x" * 150
    with ScoreStore(path, context_of(tiny)) as store:
        store.append(genomes[:1], [{"psnr_y": NAN, "lpips": NAN}], "path", 1, [0.5], [reason])
        append(store, genomes[:1], [{"psnr_y": 30.0}])
        assert store.failed(genomes[0]) == {"lpips": reason}
    with ScoreStore(path, context_of(tiny)) as store:
        assert store.failed(genomes[0]) == {"lpips": reason}
        append(store, genomes[:1], [{"lpips": 0.5}])
        assert store.failed(genomes[0]) == {}
    assert read_scores(path)[0].failures == {}


def test_what_fails_again_has_its_last_reason_and_the_same_one_is_not_written_twice(path, tiny, genomes, context_of):
    def fail(store, reason):
        store.append(genomes[:1], [{"psnr_y": NAN}], "path", 1, [0.5], [reason])

    with ScoreStore(path, context_of(tiny)) as store:
        fail(store, "out of memory")
        append(store, genomes[1:2], [{"psnr_y": 1.0}])
        fail(store, "longer than 5 s")
    with h5py.File(path) as file:
        n_bytes = len(file[context_of(tiny).key]["failures"])
    with ScoreStore(path, context_of(tiny)) as store:
        assert store.failed(genomes[0]) == {"psnr_y": "longer than 5 s"}
        fail(store, "longer than 5 s")
    with h5py.File(path) as file:
        assert len(file[context_of(tiny).key]["failures"]) == n_bytes


def test_a_value_that_is_known_does_not_fail(path, tiny, genomes, context_of):
    with ScoreStore(path, context_of(tiny)) as store:
        append(store, genomes[:1], [{"psnr_y": 30.0}])
        append(store, genomes[:1], [{"psnr_y": NAN, "macs": NAN}])
        assert store.failed(genomes[0]) == {"macs": ""} and store.get(genomes[0]) == {"psnr_y": 30.0}


def test_a_failure_that_was_never_counted_is_no_failure(path, tiny, genomes, context_of):
    with ScoreStore(path, context_of(tiny)) as store:
        append(store, genomes[:1], [{"psnr_y": 30.0}])
    with h5py.File(path) as file:
        counted = file[context_of(tiny).key].attrs["n_rows"]
    with ScoreStore(path, context_of(tiny)) as store:
        append(store, genomes[:2], [{"lpips": NAN}, {"psnr_y": NAN}])
    with h5py.File(path, "a") as file:  # as if the writer had died before it counted
        file[context_of(tiny).key].attrs["n_rows"] = counted
    assert read_scores(path)[0].failures == {}
    with ScoreStore(path, context_of(tiny)) as store:
        assert store.failed(genomes[0]) == {} and len(store) == 1
        append(store, genomes[2:3], [{"macs": NAN}])
    assert read_scores(path)[0].failures == {1: {"macs": ""}}


def test_a_failure_that_is_not_what_was_written_is_damage(path, tiny, genomes, context_of, monkeypatch):
    monkeypatch.setattr("evo_c2f.scores.store.READ_ATTEMPTS", 1)
    with ScoreStore(path, context_of(tiny)) as store:
        append(store, genomes[:1], [{"psnr_y": NAN}])
    path.write_bytes(path.read_bytes().replace(b'["psnr_y"]', b'["psnr_x"]'))
    with pytest.raises(DamagedFileError, match="a failure is not what was written"):
        read_scores(path)


finite = st.floats(allow_nan=False, allow_infinity=False, width=32)
rows = st.dictionaries(st.sampled_from(["psnr_y", "macs", "ssim_y"]), finite, min_size=1)
writes = st.lists(st.tuples(st.integers(0, 5), rows, st.booleans()), max_size=12)


@given(writes=writes)
def test_a_store_is_a_dictionary_in_which_the_first_value_stays(tmp_path_factory, tiny, genomes, context_of, writes):
    path = tmp_path_factory.mktemp("store") / "scores.h5"
    expected: dict[int, dict[str, float]] = {}
    store = ScoreStore(path, context_of(tiny))
    for which, row, reopen in writes:
        append(store, genomes[which : which + 1], [row])
        expected[which] = {**row, **expected.get(which, {})}
        if reopen:
            store.__exit__(None, None, None)
            store = ScoreStore(path, context_of(tiny))
    for which in range(6):
        assert store.get(genomes[which]) == expected.get(which)
    store.__exit__(None, None, None)


# -- contexts --------------------------------------------------------------------------------------


def test_a_context_changes_with_each_of_its_parts(tiny, small):
    parts = (tiny.to_dict(), "weights", "images", "protocol")
    others = (small.to_dict(), "others", "others", "others")
    contexts = [Context(*parts), *(Context(*parts[:i], others[i], *parts[i + 1 :]) for i in range(4))]
    assert len({context.key for context in contexts}) == 5
    assert Context(*parts).key == contexts[0].key


def test_two_contexts_live_in_one_file_and_know_nothing_of_each_other(path, tiny, small, genomes, context_of):
    fill(path, context_of(tiny), genomes[:3])
    with ScoreStore(path, context_of(tiny, "further")) as store:
        assert len(store) == 0 and store.get(genomes[0]) is None
        append(store, genomes[:1], [{"psnr_y": 40.0}])
    with ScoreStore(path, context_of(small)) as store:
        append(store, small.reference[None], [{"psnr_y": 50.0}])
    with ScoreStore(path, context_of(tiny)) as store:
        assert store.get(genomes[0])["psnr_y"] == 0.0 and len(store) == 3
    scores = read_scores(path)
    assert [s.context for s in scores] == [
        c.key for c in (context_of(tiny), context_of(tiny, "further"), context_of(small))
    ]
    assert [len(s.rows) for s in scores] == [3, 1, 1]
    assert [SearchSpace.from_dict(s.space) for s in scores] == [tiny, tiny, small]


def test_the_notes_are_kept_from_the_first_opening(path, tiny, context_of):
    for notes in ({"baseline": {"psnr_y": 26.0}}, {"baseline": {}}, None):
        with ScoreStore(path, context_of(tiny), notes) as store:
            assert store.notes == {"baseline": {"psnr_y": 26.0}}
    assert read_scores(path)[0].notes == {"baseline": {"psnr_y": 26.0}}
