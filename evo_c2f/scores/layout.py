"""The layout of scores in an HDF5 file, and the check that they are as they were written.

Each context is one group: the attributes `context`, `notes` and `n_rows`, the table `rows`, one column a metric in
`metrics`, and their checksums in `checks`. `failures` is text that only grows: one line for each row and reason, its
checksum and then JSON such as {"row": 7, "metrics": ["psnr_y"], "reason": "out of memory"}. It lists measured metrics
without a finite value. A later value overrides the failure.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from evo_c2f.errors import InputError
from evo_c2f.json_text import to_json
from evo_c2f.scores.checksum import checks

FORMAT = 3  # `old_layout` reads 2, where a failure was one text in its row, and 1, which had no checksums either

Failed = dict[str, str]  # the metrics that were measured and are not finite -> the reason; "" if there is no other


@dataclass(frozen=True)
class Context:
    """Everything a score depends on besides the genome; its key names the group of the scores.

    space: the space as a dict, so that the file can be decoded without the recipe; the others: short hashes or texts.
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
    """A context's rows as arrays, in the order of measurement."""

    context: str
    space: dict[str, Any]
    notes: dict[str, Any]
    rows: NDArray[np.void]  # fields genome, stage, generation, seconds, time
    metrics: dict[str, NDArray[np.float64]]  # NaN: not measured, or failed
    failures: dict[int, Failed]  # of the rows that have any, by their numbers
    protocol: str = ""  # how they were taken, and on what

    @property
    def baseline(self) -> dict[str, float]:
        """The baseline's finite qualities; an older version stored infinite ones."""
        known = self.notes.get("baseline", {})
        return {name: value for name, value in known.items() if value is not None and np.isfinite(value)}


def row_type(n_genes: int) -> np.dtype[np.void]:
    return np.dtype(
        [
            ("genome", "u1", (n_genes,)),
            ("stage", "S12"),
            ("generation", "i4"),
            ("seconds", "f8"),
            ("time", "f8"),
        ]
    )


def begin(group: h5py.Group, context: Context, notes: Mapping[str, Any]) -> None:
    """Create a context without rows; `n_rows` is written last, since it marks the context as complete."""
    group.clear()
    group.attrs["context"] = json.dumps(vars(context))
    group.attrs["notes"] = to_json(dict(notes))
    group.attrs["notes_check"] = digest(group.attrs["notes"])
    group.create_dataset("rows", (0,), row_type(n_genes(context.space)), maxshape=(None,), chunks=(256,))
    group.create_dataset("checks/rows", (0,), "u8", maxshape=(None,), chunks=(1024,))
    group.create_dataset("failures", (0,), "u1", maxshape=(None,), chunks=(4096,))
    group.create_group("metrics")
    group.create_group("checks/metrics")
    group.attrs["n_rows"] = counts(0, 0)


def is_unborn(group: h5py.Group) -> bool:
    """Whether a writer was killed before the context was complete. OSError if there are rows but no count."""
    if "n_rows" in group.attrs:
        return False
    if "rows" in group and len(group["rows"]):
        raise OSError("there are rows and no number of them")
    return True


def create_metric(group: h5py.Group, name: str) -> None:
    group.create_dataset(f"metrics/{name}", (0,), "f8", maxshape=(None,), chunks=(1024,), fillvalue=np.nan)
    group.create_dataset(f"checks/metrics/{name}", (0,), "u8", maxshape=(None,), chunks=(1024,))


def put(group: h5py.Group, name: str, first: int, values: NDArray[Any]) -> None:
    """Write values into a column, starting at a row."""
    dataset, end = group[name], first + len(values)  # to open it takes longer than to write a row
    if len(dataset) < end:
        dataset.resize((end,))
    dataset[first:end] = values


def put_checks(group: h5py.Group, name: str, first: int, values: NDArray[Any]) -> None:
    """Write the checksums of a column's values, starting at a row."""
    put(group, f"checks/{name}", first, checks(values, first, salt(group, name)))


def failure_lines(group: h5py.Group, first: int, failures: Mapping[int, Failed]) -> NDArray[np.uint8]:
    """The lines to append to `failures` at byte `first`. A reason may have any length."""
    lines = b""
    for row, failed in failures.items():
        for reason in dict.fromkeys(failed.values()):
            metrics = [name for name, why in failed.items() if why == reason]
            text = json.dumps({"row": row, "metrics": metrics, "reason": reason})
            lines += f"{_check_of_line(group, first + len(lines), text)} {text}\n".encode()
    return np.frombuffer(lines, dtype=np.uint8)


def _check_of_line(group: h5py.Group, first: int, text: str) -> str:
    return digest(f"{group.name} {first} {text}")


def _failures(group: h5py.Group, n_bytes: int) -> dict[int, Failed]:
    """Every failure in the lines that are counted. OSError if one is not what was written."""
    found: dict[int, Failed] = {}
    first, lines = 0, column(group, "failures", n_bytes, np.dtype("u1")).tobytes()
    if len(lines) < n_bytes:
        raise OSError("failures are missing")
    for line in lines.splitlines(keepends=True):
        written, _, text = line.decode(errors="replace").rstrip("\n").partition(" ")
        if written != _check_of_line(group, first, text):
            raise OSError("a failure is not what was written")
        failure = json.loads(text)
        found.setdefault(failure["row"], {}).update(dict.fromkeys(failure["metrics"], failure["reason"]))
        first += len(line)
    return found


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def salt(group: h5py.Group, name: str) -> str:
    """Identifies the column, so that no other column's checksum is valid for it."""
    return f"{group.name}/{name}"


def counts(n_rows: int, n_bytes: int) -> NDArray[np.uint64]:
    """The numbers of rows and of bytes of failures, each with its complement. They are written together, and each is
    checked against its complement.
    """
    numbers = np.array([n_rows, n_bytes], dtype=np.uint64)
    return np.stack([numbers, ~numbers], axis=1).ravel()


def counted(group: h5py.Group) -> tuple[int, int]:
    """The acknowledged (rows, bytes of failures). OSError if they are not as written."""
    numbers = np.ravel(group.attrs["n_rows"])
    if len(numbers) > 1 and (numbers[::2] != ~numbers[1::2]).any():  # format 1 had no complement
        raise OSError("the number of rows is not what was written")
    n_rows, n_bytes = [*map(int, numbers[::2]), 0][:2]  # format 2 had no bytes of failures
    return n_rows, n_bytes


def drop_uncounted(group: h5py.Group) -> None:
    """Cut off data that a killed writer wrote but never counted."""
    n_rows, n_bytes = counted(group)
    for part in (group, group["metrics"], group["checks"], group["checks/metrics"]):
        for dataset in part.values():
            n = n_bytes if dataset.name == f"{group.name}/failures" else n_rows
            if isinstance(dataset, h5py.Dataset) and len(dataset) > n:
                dataset.resize((n,))


def refuse_newer(path: Path, file: h5py.File) -> None:
    if file.attrs["format"] > FORMAT:
        raise InputError(f"{path} was written by a newer version; upgrade")
    if file.attrs["format"] < 1:
        raise OSError("it has no known format")


ReadRows = Callable[[h5py.Group, int, Mapping[str, NDArray[np.float64]]], tuple[NDArray[np.void], dict[int, Failed]]]


def read_rows(
    group: h5py.Group, n: int, metrics: Mapping[str, NDArray[np.float64]]
) -> tuple[NDArray[np.void], dict[int, Failed]]:
    """The counted rows and all failures. OSError if one is not as written."""
    rows = column(group, "rows", n, row_type(n_genes(json.loads(group.attrs["context"])["space"])))
    written = column(group, "checks/rows", n, np.dtype("u8"))
    if not np.array_equal(written, checks(rows, 0, salt(group, "rows"))):
        raise OSError("a row is not what was written")
    return rows, _failures(group, counted(group)[1])


def read_context(group: h5py.Group, read_rows: ReadRows = read_rows) -> Scores:
    """A context's counted rows, all checked. OSError if one is not as written."""
    n, checked = counted(group)[0], group.file.attrs["format"] > 1
    context = json.loads(group.attrs["context"])
    if checked:
        if Context(**context).key != group.name.strip("/"):
            raise OSError("what a context rests on is not what was written")
        if digest(group.attrs["notes"]) != group.attrs["notes_check"]:
            raise OSError("the notes of a context are not what was written")
    names = {*group["metrics"], *(group["checks/metrics"] if checked else ())}
    metrics = {name: _metric(group, name, n, checked) for name in sorted(names)}
    rows, failures = read_rows(group, n, metrics)
    if len(rows) < n:
        raise OSError(f"{n} rows are counted, {len(rows)} are there")
    left = {row: lacking(failed, row, metrics) for row, failed in failures.items() if row < n}
    return Scores(
        group.name.strip("/"),
        context["space"],
        json.loads(group.attrs["notes"]),
        rows,
        metrics,
        {row: failed for row, failed in left.items() if failed},
        context["protocol"],
    )


def lacking(failed: Failed, row: int, metrics: Mapping[str, NDArray[np.float64]]) -> Failed:
    """The failures of a row, without the metrics that have a value now."""
    return {name: reason for name, reason in failed.items() if np.isnan(metrics[name][row])}


def unacknowledged(
    expected: NDArray[np.uint64], none: NDArray[np.uint64], written: NDArray[np.uint64], what: str
) -> NDArray[np.bool_]:
    """Which values have the checksum of a missing value: their writer was killed before it wrote their own.

    OSError if a checksum fits neither, or if there are too few.
    """
    if len(written) < len(expected) or ((written != expected) & (written != none)).any():
        raise OSError(f"{what} is not what was written")
    found: NDArray[np.bool_] = written != expected
    return found


def n_genes(space: Mapping[str, Any]) -> int:
    return 3 * int(space["n_cells"]) + len(space["widths"])


def _metric(group: h5py.Group, name: str, n: int, checked: bool) -> NDArray[np.float64]:
    """A metric of the first n rows, NaN where it is not known."""
    found = np.full(n, np.nan)
    if name not in group["metrics"]:
        raise OSError(f"{name} is not there")
    values = column(group, f"metrics/{name}", n, np.dtype("f8"))
    found[: len(values)] = values
    if checked:
        whose, begun = salt(group, f"metrics/{name}"), f"checks/metrics/{name}" in group
        expected = checks(found, 0, whose)
        written = column(group, f"checks/metrics/{name}", n, np.dtype("u8")) if begun else expected[:0]
        if not np.array_equal(written, expected):
            none = checks(np.full(n, np.nan), 0, whose)
            if np.isnan(found).all():  # its writer may have been killed before it had begun the checksums
                written = np.append(np.where(written == 0, none[: len(written)], written), none[len(written) :])
            found[unacknowledged(expected, none, written, f"a value of {name}")] = np.nan
    return found


def column(group: h5py.Group, name: str, n: int, kind: np.dtype[Any]) -> NDArray[Any]:
    """At most n elements of a column. OSError if it has another type, or is longer than the file."""
    dataset = group[name]
    if dataset.dtype != kind or dataset.ndim != 1:
        raise OSError(f"{name} is of another type")
    end = min(n, len(dataset))
    if end * kind.itemsize > os.fstat(group.file.id.get_vfd_handle()).st_size:
        raise OSError(f"{name} is longer than the file")
    values: NDArray[Any] = dataset[:end]
    return values
