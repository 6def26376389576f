"""How scores lie in an HDF5 file, and whether they are as they were written.

One group a context: the attributes `context`, `notes` and `n_rows`, the table `rows`, a column a metric in `metrics`,
and in `checks` a checksum beside each value of these.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from evo_c2f.checksum import checks
from evo_c2f.errors import InputError
from evo_c2f.json_text import to_json

FORMAT = 2  # 1 had no checksums


@dataclass(frozen=True)
class Context:
    """What a score depends on besides the genome; its key names the group that holds the scores.

    space: the space as a dict, so that the file can be decoded by itself; the others: short hashes or texts.
    """

    space: dict[str, Any]
    checkpoint: str
    dataset: str
    protocol: str

    @property
    def key(self) -> str:
        return hashlib.sha256(json.dumps(vars(self), sort_keys=True).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Scores:
    """A context's rows as arrays, in the order in which they were measured."""

    context: str
    space: dict[str, Any]
    notes: dict[str, Any]
    rows: NDArray[np.void]  # fields genome, stage, generation, seconds, time, failure
    metrics: dict[str, NDArray[np.float64]]  # NaN: not measured, or failed
    protocol: str = ""  # how they were taken, and on what

    @property
    def baseline(self) -> dict[str, float]:
        """The qualities had for nothing, where they are finite: an older version had infinite ones."""
        known = self.notes.get("baseline", {})
        return {name: value for name, value in known.items() if value is not None and np.isfinite(value)}

    @property
    def failed(self) -> NDArray[np.intp]:
        """The numbers of the rows that say why they failed; by their first letters, as millions are compared slowly."""
        return np.flatnonzero(self.rows["failure"].astype("S1") != b"")


def row_type(n_genes: int) -> np.dtype[np.void]:
    return np.dtype(
        [
            ("genome", "u1", (n_genes,)),
            ("stage", "S12"),
            ("generation", "i4"),
            ("seconds", "f8"),
            ("time", "f8"),
            ("failure", "S160"),  # the last: what comes before it has a checksum of its own
        ]
    )


def begin(group: h5py.Group, context: Context, notes: Mapping[str, Any], checked: bool) -> None:
    """The empty rows of a context; `n_rows` last, since it says that all else is there."""
    group.clear()
    group.attrs["context"] = json.dumps(vars(context))
    group.attrs["notes"] = to_json(dict(notes))
    group.create_group("metrics")
    group.create_dataset("rows", (0,), row_type(_n_genes(context.space)), maxshape=(None,), chunks=(256,))
    if checked:
        for name in ("checks/rows", "checks/failures"):
            group.create_dataset(name, (0,), "u8", maxshape=(None,), chunks=(1024,))
        group.create_group("checks/metrics")
        group.attrs["notes_check"] = _digest(group.attrs["notes"])
    group.attrs["n_rows"] = count(0) if checked else 0


def is_unborn(group: h5py.Group) -> bool:
    """Whether a writer was killed before it had begun the context. OSError if there are rows, which none counts."""
    if "n_rows" in group.attrs:
        return False
    if "rows" in group and len(group["rows"]):
        raise OSError("there are rows and no number of them")
    return True


def create_metric(group: h5py.Group, name: str, checked: bool) -> None:
    group.create_dataset(f"metrics/{name}", (0,), "f8", maxshape=(None,), chunks=(1024,), fillvalue=np.nan)
    if checked:
        group.create_dataset(f"checks/metrics/{name}", (0,), "u8", maxshape=(None,), chunks=(1024,))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def checks_of(group: h5py.Group, name: str, values: NDArray[Any], first: int) -> dict[str, NDArray[np.uint64]]:
    """The checksums of a column's values from row `first` on, by the column that holds them.

    What may come to a row later, a failure, has its own.
    """
    salt = _salt(group, name)
    if name != "rows":
        return {f"checks/{name}": checks(values, first, salt)}
    return {
        "checks/rows": checks(values, first, salt, used=values.dtype.itemsize - values.dtype["failure"].itemsize),
        "checks/failures": checks(values["failure"], first, salt),
    }


def _salt(group: h5py.Group, name: str) -> str:
    """Whose column it is, so that no other's passes for it."""
    return f"{group.name}/{name}"


def count(n: int) -> NDArray[np.uint64]:
    """A number of rows, with its complement: both are written at once, and neither is believed alone."""
    return np.array([n, ~np.uint64(n)], dtype=np.uint64)


def _n_rows(group: h5py.Group) -> int:
    counted = group.attrs["n_rows"]
    if np.ndim(counted) and counted[0] != ~counted[1]:
        raise OSError("the number of rows is not what was written")
    return int(np.ravel(counted)[0])


def drop_uncounted(group: h5py.Group) -> None:
    """Cut off what a killed writer wrote but never counted."""
    n = _n_rows(group)
    for part in (group, group["metrics"], group.get("checks", {}), group.get("checks/metrics", {})):
        for dataset in part.values():
            if isinstance(dataset, h5py.Dataset) and len(dataset) > n:
                dataset.resize((n,))


def refuse_newer(path: Path, file: h5py.File) -> None:
    if file.attrs["format"] > FORMAT:
        raise InputError(f"{path} was written by a newer version; upgrade")
    if file.attrs["format"] < 1:
        raise OSError("it has no known format")


def read_context(group: h5py.Group) -> Scores:
    """A context's counted rows, all of which were found to be as they were written. OSError if one is not."""
    n, checked = _n_rows(group), group.file.attrs["format"] > 1
    context = json.loads(group.attrs["context"])
    if checked:
        if Context(**context).key != group.name.strip("/"):
            raise OSError("what a context rests on is not what was written")
        if _digest(group.attrs["notes"]) != group.attrs["notes_check"]:
            raise OSError("the notes of a context are not what was written")
    rows = _column(group, "rows", n, row_type(_n_genes(context["space"])))
    if len(rows) < n:
        raise OSError(f"{n} rows are counted, {len(rows)} are there")
    if checked:
        _verify_rows(group, rows)
    names = {*group["metrics"], *(group["checks/metrics"] if checked else ())}
    metrics = {name: _metric(group, name, n, checked) for name in sorted(names)}
    return Scores(
        group.name.strip("/"), context["space"], json.loads(group.attrs["notes"]), rows, metrics, context["protocol"]
    )


def _verify_rows(group: h5py.Group, rows: NDArray[np.void]) -> None:
    """OSError if one is not what was written; a failure that was never acknowledged is taken out."""
    for name, expected in checks_of(group, "rows", rows, 0).items():
        written = _column(group, name, len(rows), np.dtype("u8"))
        if not np.array_equal(written, expected):
            bare = rows.copy()
            bare["failure"] = b""
            none = checks_of(group, "rows", bare, 0)[name]
            rows["failure"][_unacknowledged(expected, none, written, "a row")] = b""


def _unacknowledged(
    expected: NDArray[np.uint64], none: NDArray[np.uint64], written: NDArray[np.uint64], what: str
) -> NDArray[np.bool_]:
    """Which values have the checksum of none: their writer was killed before it wrote theirs.

    OSError if one has yet another, or there are too few.
    """
    if len(written) < len(expected) or ((written != expected) & (written != none)).any():
        raise OSError(f"{what} is not what was written")
    found: NDArray[np.bool_] = written != expected
    return found


def _n_genes(space: Mapping[str, Any]) -> int:
    return 3 * int(space["n_cells"]) + len(space["widths"])


def _metric(group: h5py.Group, name: str, n: int, checked: bool) -> NDArray[np.float64]:
    """A metric of the first n rows, NaN where it is not known."""
    column = np.full(n, np.nan)
    if name not in group["metrics"]:
        raise OSError(f"{name} is not there")
    values = _column(group, f"metrics/{name}", n, np.dtype("f8"))
    column[: len(values)] = values
    if checked:
        salt, begun = _salt(group, f"metrics/{name}"), f"checks/metrics/{name}" in group
        expected = checks(column, 0, salt)
        written = _column(group, f"checks/metrics/{name}", n, np.dtype("u8")) if begun else expected[:0]
        if not np.array_equal(written, expected):
            none = checks(np.full(n, np.nan), 0, salt)
            if np.isnan(column).all():  # its writer may have been killed before it had begun the checksums
                written = np.append(np.where(written == 0, none[: len(written)], written), none[len(written) :])
            column[_unacknowledged(expected, none, written, f"a value of {name}")] = np.nan
    return column


def _column(group: h5py.Group, name: str, n: int, kind: np.dtype[Any]) -> NDArray[Any]:
    """At most n elements of a column. OSError if it is of another type, or longer than the file."""
    dataset = group[name]
    if dataset.dtype != kind or dataset.ndim != 1:
        raise OSError(f"{name} is of another type")
    end = min(n, len(dataset))
    if end * kind.itemsize > os.fstat(group.file.id.get_vfd_handle()).st_size:
        raise OSError(f"{name} is longer than the file")
    values: NDArray[Any] = dataset[:end]
    return values
