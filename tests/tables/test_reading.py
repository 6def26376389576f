"""Files of tables hold plain data, or are refused: a pickle that others made may do nothing."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from evo_c2f.errors import DamagedFileError, InputError
from evo_c2f.tables import macro
from evo_c2f.tables.reading import plain_pickle, reading


def read_as_pickle(path):
    with reading(path):
        return plain_pickle(path)


@pytest.mark.parametrize("protocol", [3, 4])
def test_a_pickle_of_numbers_is_read_as_numbers(tmp_path, protocol):
    rows = {7: {"perf": 0.25, "para": np.float64(1.5), "n": np.int64(-3), "few": np.float32(0.5), "names": ["a", None]}}
    path = tmp_path / "t.bench"
    path.write_bytes(pickle.dumps(rows, protocol))
    found = read_as_pickle(path)
    assert found == rows and {type(value) for value in found[7].values()} == {float, int, list}


class Calls:
    def __init__(self, function, *words):
        self.function, self.words = function, words

    def __reduce__(self):
        return self.function, self.words


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (Calls(os.system, "touch made"), "system"),
        (Calls(eval, "open('made', 'w')"), "eval"),
        (np.array([1.0, 2.0]), "_reconstruct"),
        (np.dtype("O"), "type 'O8?'"),
        (np.dtype([("a", "f8")]), "type 'V8'"),
        (np.datetime64("2020-01-01"), "type 'M8'"),
        (np.dtype(">f8"), "structured type"),
        (Path("x"), "pathlib"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_pickle_of_anything_else_is_refused_and_does_nothing(tmp_path, monkeypatch, content, reason):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "t.bench"
    path.write_bytes(pickle.dumps({1: content}))
    with pytest.raises(DamagedFileError, match=rf"t.bench is no such table \(.*{reason}"):
        read_as_pickle(path)
    assert not (tmp_path / "made").exists()


def test_a_cut_pickle_is_refused_wherever_it_ends(tmp_path):
    whole = pickle.dumps({1: {"perf": np.float64(0.5)}}, 3)
    path = tmp_path / "t.bench"
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        with pytest.raises(DamagedFileError, match="no such table"):
            read_as_pickle(path)


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", '{"12": 3}', '{"12": {"mean_acc": "x", "flops": 1, "params": 1}}', "\xff"]
)
def test_a_table_of_another_format_is_refused_by_name(tmp_path, text):
    (tmp_path / macro.FILE).write_text(text, encoding="latin-1")
    with pytest.raises(DamagedFileError, match=f"{macro.FILE} is no such table"):
        macro.read(tmp_path, "FLOPs")


def test_a_table_that_lacks_networks_is_refused(tmp_path):
    (tmp_path / macro.FILE).write_text(json.dumps({"12000000": {"mean_acc": 90.0, "flops": 1, "params": 1}}))
    with pytest.raises(DamagedFileError, match="it holds 1 networks, not 6560"):
        macro.read(tmp_path, "FLOPs")
    with pytest.raises(InputError, match=f"{macro.FILE} does not exist"):
        macro.read(tmp_path / "elsewhere", "FLOPs")
