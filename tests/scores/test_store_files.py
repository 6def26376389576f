"""The store's file: damage, other formats, other processes. What another process does is done by a real one."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from store_parts import append, fill

from evo_c2f.errors import DamagedFileError, InputError
from evo_c2f.scores.layout import FORMAT, counts
from evo_c2f.scores.store import SPARE_BYTES, ScoreStore, read_scores

ROOT = Path(__file__).parents[2]


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
