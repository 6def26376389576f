"""Files of tables, read as plain data: JSON, CSV, zip archives of JSON, parquet, and pickles of numbers alone."""

import csv
import io
import json
import pickle
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from evo_c2f.errors import DamagedFileError, InputError

WRONG = (
    *(ValueError, KeyError, TypeError, IndexError, AttributeError, EOFError, SyntaxError),
    *(pickle.UnpicklingError, zipfile.BadZipFile, zlib.error, NotImplementedError),
    *(RecursionError, OverflowError, MemoryError),
)
NUMBERS = {"f4", "f8", "i4", "i8", "u4", "u8", "b1"}


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """DamagedFileError, with the file's name, if what is read there is not what the table's format says."""
    if not path.is_file():
        raise InputError(f"{path} does not exist; name the folder that holds it")
    try:
        yield
    except WRONG as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DamagedFileError(f"{path} is no such table ({reason}); fetch it again") from None


def json_table(path: Path) -> dict[str, Any]:
    """The object in a JSON file."""
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ValueError("its outermost value is no object")
    return found


def zipped_json(path: Path, part: str) -> Iterator[dict[str, Any]]:
    """The records of all JSON files in a zip archive whose names hold `part`, in order of names."""
    with zipfile.ZipFile(path) as archive:
        for name in sorted(name for name in archive.namelist() if part in name and name.endswith(".json")):
            yield from json.loads(archive.read(name))


def csv_table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file by column name."""
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


def parquet_table(path: Path, where: dict[str, str]) -> list[dict[str, Any]]:
    """The rows of a parquet file that have these values. InputError without pyarrow."""
    try:
        from pyarrow.parquet import read_table
    except ImportError:
        raise InputError(f"{path.name} needs pyarrow; run 'pip install pyarrow'") from None
    filters = [(name, "=", value) for name, value in where.items()]
    rows: list[dict[str, Any]] = read_table(path, filters=filters).to_pylist()
    return rows


def plain_pickle(path: Path) -> Any:
    """What a pickle holds, if that is plain data: containers, texts and numbers, also numpy's.

    Nothing is imported and nothing of numpy is called: its scalars are decoded here. UnpicklingError for all else.
    """
    with path.open("rb") as file:
        return _PlainUnpickler(file).load()


def in_package(package: str, *parts: str) -> Path:
    """A file inside an installed package, which is not imported. InputError if the package isn't installed."""
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        name = package.replace("_", "-")
        raise InputError(f"{name} isn't installed; run 'pip install {name}'")
    return Path(found.submodule_search_locations[0], *parts)


class _Number:
    """A dtype of one number, as a pickle describes it."""

    def __init__(self, code: str, align: bool = False, copy: bool = True):
        if code not in NUMBERS:
            raise pickle.UnpicklingError(f"it holds values of type {code!r}, not numbers alone")
        self.code = code

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] not in ("<", "|") or state[2:5] != (None, None, None):
            raise pickle.UnpicklingError("it holds values of a structured type, not numbers alone")


def _scalar(dtype: _Number, data: bytes) -> Any:
    (value,) = np.frombuffer(data, f"<{dtype.code}")
    return value.item()


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        known: dict[tuple[str, str], Callable[..., Any]] = {("numpy", "dtype"): _Number}
        known |= {(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")}
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"it calls {module}.{name}; only numbers are let in")
        return known[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to things outside of it")
