"""The store's contract. What another process does to it is done by a real one."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evo_c2f.errors import DamagedFileError, InputError
from evo_c2f.scores.layout import FORMAT, Context, counts
from evo_c2f.scores.store import SPARE_BYTES, ScoreStore, read_scores
from evo_c2f.space import SearchSpace

NAN, INF = float("nan"), float("inf")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "scores.h5"


@pytest.fixture(scope="session")
def genomes(tiny):
    """40 different genomes."""
    unique = np.unique(tiny.random(200, np.random.default_rng(0)), axis=0)
    return np.random.default_rng(1).permutation(unique)[:40]


def append(store, genomes, rows, stage="path", generation=1):
    store.append(genomes, rows, stage, generation, [0.5] * len(rows))


def fill(path, context, genomes, first=0):
    """Append the genomes one by one; the i-th has psnr_y i."""
    with ScoreStore(path, context) as store:
        for i, genome in enumerate(genomes, first):
            append(store, genome[None], [{"psnr_y": float(i), "macs": 10.0 * i}])


# What a second process runs; it is told the file, the space (JSON), and what to do.
SECOND_PROCESS = """
import itertools, json, sys
from pathlib import Path
import numpy as np
from evo_c2f.errors import InputError
from evo_c2f.space import SearchSpace
from evo_c2f.scores.layout import Context
from evo_c2f.scores.store import SPARE_BYTES, ScoreStore, read_scores

path, task, argument = Path(sys.argv[1]), sys.argv[3], int(sys.argv[4])
space = SearchSpace.from_dict(json.loads(sys.argv[2]))
if task == "read":
    for scores in read_scores(path):
        print(scores.context, len(scores.rows), scores.metrics["psnr_y"].tolist())
    sys.exit()
try:
    store = ScoreStore(path, Context(space.to_dict(), "weights", "images", "protocol"))
except InputError as error:
    sys.exit(str(error))
for i in itertools.count(argument):  # row i: the i-th genome in the order of its number
    genome = np.frombuffer(i.to_bytes(space.n_genes, "big"), dtype=np.uint8)
    store.append(genome[None], [{"psnr_y": float(i), "macs": 2.0 * i}], "path", 1, [0.5])
    print(i, flush=True)  # acknowledged
"""


def second_process(path, space, task, argument=0):
    arguments = [sys.executable, "-c", SECOND_PROCESS, str(path), json.dumps(space.to_dict()), task, str(argument)]
    return subprocess.Popen(
        arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


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


# -- files that are not what they should be --------------------------------------------------------


def test_a_store_that_isn_t_there_names_the_command_that_makes_one(path):
    with pytest.raises(InputError, match=r"scores\.h5 does not exist; run 'python cli\.py evolve --stage path --run "):
        read_scores(path)


def cut_to(fraction):
    return lambda data: data[: int(len(data) * fraction)]


def flip(position):
    return lambda data: data[:position] + bytes([data[position] ^ 0x10]) + data[position + 1 :]


DAMAGES = {
    "cut to half": cut_to(0.5),
    "cut by a tenth": cut_to(0.9),
    "cut by a byte": lambda data: data[:-1],
    "a header alone": lambda data: data[:8],
    "a bit of the signature flipped": flip(1),
    "a bit of the superblock's version flipped": flip(8),
    "a bit of the root's address flipped": flip(70),
    "text": lambda data: b"not HDF5 at all\n" * 100,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_named_and_left_as_it_is(path, tiny, genomes, context_of, damage, monkeypatch):
    monkeypatch.setattr("evo_c2f.scores.store.READ_ATTEMPTS", 2)  # the full patience takes a second
    fill(path, context_of(tiny), genomes)
    damaged = damage(path.read_bytes())
    path.write_bytes(damaged)
    for open_it in (lambda: ScoreStore(path, context_of(tiny)), lambda: read_scores(path)):
        with pytest.raises(DamagedFileError, match=r"scores\.h5 is damaged .*; move it away"):
            open_it()
        assert path.read_bytes() == damaged


def test_an_hdf5_file_of_another_kind_is_called_damaged(path, tiny, context_of):
    path.parent.mkdir()
    with h5py.File(path, "w") as file:
        group = file.create_group(context_of(tiny).key)
        group["rows"] = np.zeros(3)
    with pytest.raises(DamagedFileError, match=r"scores\.h5 is damaged"):
        ScoreStore(path, context_of(tiny))


@pytest.fixture
def newer(path, tiny, genomes, context_of):
    """A store that a later version of the software wrote."""
    fill(path, context_of(tiny), genomes[:2])
    with h5py.File(path, "a") as file:
        file.attrs["format"] = FORMAT + 1
    return path


def test_a_file_of_a_newer_format_is_not_written_to(newer, tiny, context_of):
    before = newer.read_bytes()
    with pytest.raises(InputError, match=r"scores\.h5 was written by a newer version"):
        ScoreStore(newer, context_of(tiny))
    assert newer.read_bytes() == before


def test_a_file_of_a_newer_format_is_not_read(newer):
    with pytest.raises(InputError, match=r"scores\.h5 was written by a newer version"):
        read_scores(newer)


# -- a tail that was never counted -----------------------------------------------------------------


@pytest.fixture
def half_written(path, tiny, genomes, context_of):
    """A store of 5 rows of which 2 were never counted, as if the writer had died within `append`."""
    fill(path, context_of(tiny), genomes[:5])
    with h5py.File(path, "a") as file:
        file[context_of(tiny).key].attrs["n_rows"] = counts(3, 0)
    return path


def test_rows_that_were_never_counted_are_dropped(half_written, tiny, genomes, context_of):
    assert read_scores(half_written)[0].metrics["psnr_y"].tolist() == [0, 1, 2]
    with ScoreStore(half_written, context_of(tiny)) as store:
        assert len(store) == 3 and store.get(genomes[2])["psnr_y"] == 2 and store.get(genomes[3]) is None
        append(store, genomes[7:8], [{"psnr_y": 7.0, "macs": 70.0}])
    (scores,) = read_scores(half_written)
    assert (scores.rows["genome"] == genomes[[0, 1, 2, 7]]).all()
    assert scores.metrics["psnr_y"].tolist() == [0, 1, 2, 7]


def test_a_new_row_doesn_t_inherit_a_metric_of_one_that_was_never_counted(half_written, tiny, genomes, context_of):
    with ScoreStore(half_written, context_of(tiny)) as store:
        append(store, genomes[7:8], [{"psnr_y": 7.0}])
    with ScoreStore(half_written, context_of(tiny)) as store:
        assert store.get(genomes[7]) == {"psnr_y": 7.0}


# -- other processes -------------------------------------------------------------------------------


def test_a_reader_reads_while_a_writer_has_the_file_open(path, tiny, genomes, context_of):
    with ScoreStore(path, context_of(tiny)) as store:
        append(store, genomes[:3], [{"psnr_y": float(i)} for i in range(3)])
        out, errors = second_process(path, tiny, "read").communicate()
        assert (out.split(" ", 1), errors) == ([context_of(tiny).key, "3 [0.0, 1.0, 2.0]\n"], "")


def test_a_reader_reads_while_a_writer_writes(path, tiny):
    writer = second_process(path, tiny, "write")
    try:
        for _ in range(30):
            acknowledged = int(writer.stdout.readline())
            (scores,) = read_scores(path)
            assert len(scores.rows) > acknowledged
            assert scores.metrics["psnr_y"].tolist() == list(range(len(scores.rows)))
    finally:
        writer.kill()
        writer.communicate()


def test_a_second_writer_is_refused(path, tiny, genomes, context_of):
    with ScoreStore(path, context_of(tiny)) as store:
        append(store, genomes[:1], [{"psnr_y": 30.0}])
        writer = second_process(path, tiny, "write")
        _, errors = writer.communicate()
        assert writer.returncode == 1
        assert errors == f"{path} is being written by another process; wait for it, or use another --run\n"
    writer = second_process(path, tiny, "write")
    assert writer.stdout.readline() == "0\n"  # once the first has gone
    writer.kill()
    writer.communicate()


def test_a_writer_killed_before_its_first_flush_leaves_nothing_in_the_way(path, tiny, genomes, context_of):
    dies = "import h5py, os\nh5py.File.flush = lambda file: os.kill(os.getpid(), 9)\n"
    code = dies + SECOND_PROCESS.replace("itertools.count(argument)", "[]")
    subprocess.run([sys.executable, "-c", code, str(path), json.dumps(tiny.to_dict()), "write", "0"], cwd=ROOT)
    with ScoreStore(path, context_of(tiny)) as store:
        append(store, genomes[:1], [{"psnr_y": 30.0}])
    assert len(read_scores(path)[0].rows) == 1


@pytest.mark.parametrize(("written", "room"), [(0, 0), (0, 10_000), (250, SPARE_BYTES + 10_000)])
def test_where_there_is_no_room_nothing_is_lost_and_the_next_writer_goes_on(path, tiny, context_of, written, room):
    """For no file; for a file and no context in it; for some more rows."""
    if written:
        numbers = [np.frombuffer(i.to_bytes(tiny.n_genes, "big"), dtype=np.uint8) for i in range(written)]
        with ScoreStore(path, context_of(tiny)) as store:
            append(store, np.array(numbers), [{"psnr_y": float(i), "macs": 2.0 * i} for i in range(written)])
        room += path.stat().st_size
    full = f"import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room}))\n"
    words = [str(path), json.dumps(tiny.to_dict()), "write", str(written)]
    done = subprocess.run(
        [sys.executable, "-c", full + SECOND_PROCESS, *words], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 1 and "can't be written" in done.stderr.splitlines()[-1], done.stderr
    known = written + len(done.stdout.splitlines())
    assert (known > written) == (written > 0)
    if room:
        assert [len(scores.rows) for scores in read_scores(path)] == ([known] if known else [])
    assert not list(path.parent.glob("*.partial"))
    next_writer = second_process(path, tiny, "write", known)
    assert next_writer.stdout.readline() == f"{known}\n"
    next_writer.kill()
    next_writer.communicate()
    (scores,) = read_scores(path)
    assert scores.metrics["psnr_y"].tolist() == list(range(len(scores.rows)))


def test_a_copy_of_the_file_is_a_store_as_well(path, tiny, genomes, context_of, tmp_path):
    with ScoreStore(path, context_of(tiny)) as store:
        append(store, genomes[:2], [{"psnr_y": 1.0}, {"psnr_y": 2.0}])
        shutil.copy(path, tmp_path / "copy.h5")  # everything acknowledged is on the disk
    assert read_scores(tmp_path / "copy.h5")[0].metrics["psnr_y"].tolist() == [1.0, 2.0]
