"""Stores of formats 1 and 2: reading them, and converting them to the present format.

Their rows ended in the field `failure`, one text of at most 160 bytes: the reason, "; not finite: " and the names of
the metrics. In format 2 it had its own checksums, in `checks/failures`.
"""

import io
import json
from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from evo_c2f.scores import layout
from evo_c2f.scores.checksum import checks
from evo_c2f.scores.layout import Context, Failed, Scores

FAILURE = ("failure", "S160")
NAMES = "not finite: "
CHECKS = np.dtype("u8")


def read(group: h5py.Group) -> Scores:
    """A context of a file of any format. Raises like `layout.read_context`."""
    if group.file.attrs["format"] == layout.FORMAT:
        return layout.read_context(group)
    return layout.read_context(group, read_rows)


def read_rows(
    group: h5py.Group, n: int, metrics: Mapping[str, NDArray[np.float64]]
) -> tuple[NDArray[np.void], dict[int, Failed]]:
    """Like `layout.read_rows`."""
    kind = layout.row_type(layout.n_genes(json.loads(group.attrs["context"])["space"]))
    rows = layout.column(group, "rows", n, np.dtype([*kind.descr, FAILURE]))
    if group.file.attrs["format"] > 1:
        _verify(group, rows)
    bare = np.empty(len(rows), dtype=kind)
    for name in kind.fields or ():
        bare[name] = rows[name]
    return bare, _failures(rows["failure"], metrics)


def _verify(group: h5py.Group, rows: NDArray[np.void]) -> None:
    """OSError if a row is not what was written; a failure that was never acknowledged is taken out."""
    salt, size = layout.salt(group, "rows"), rows.dtype.itemsize - rows.dtype["failure"].itemsize
    if not np.array_equal(layout.column(group, "checks/rows", len(rows), CHECKS), checks(rows, 0, salt, used=size)):
        raise OSError("a row is not what was written")
    expected, none = checks(rows["failure"], 0, salt), checks(np.zeros(len(rows), FAILURE[1]), 0, salt)
    written = layout.column(group, "checks/failures", len(rows), CHECKS)
    rows["failure"][layout.unacknowledged(expected, none, written, "a failure")] = b""


def _failures(texts: NDArray[np.bytes_], metrics: Mapping[str, NDArray[np.float64]]) -> dict[int, Failed]:
    """The failed metrics of each row that has any. A text that was cut names all that the row lacks."""
    found = {}
    for row in np.flatnonzero(texts.astype("S1") != b"").tolist():  # whole texts of millions are compared slowly
        text = texts[row].decode(errors="replace")
        reason, mark, names = text.rpartition(NAMES)
        is_cut = len(texts[row]) == texts.dtype.itemsize
        named = metrics.keys() if is_cut else metrics.keys() & names.split(", ")
        found[row] = dict.fromkeys(named, reason.removesuffix("; ") if mark else text)
    return found


def upgraded(file: h5py.File) -> bytes:
    """The file in the present format: the same contexts, rows and scores, with checksums."""
    content = io.BytesIO()  # not at once to the disk: the library ends badly where it finds no room
    with h5py.File(content, "w") as new:
        new.attrs["format"] = layout.FORMAT
        for name, old in file.items():
            if layout.is_unborn(old):
                continue
            scores, group = read(old), new.create_group(name)
            layout.begin(group, Context(**json.loads(old.attrs["context"])), scores.notes)
            columns: dict[str, NDArray[Any]] = {f"metrics/{name}": values for name, values in scores.metrics.items()}
            for metric in scores.metrics:
                layout.create_metric(group, metric)
            for column, values in {**columns, "rows": scores.rows}.items():
                layout.put(group, column, 0, values)
                layout.put_checks(group, column, 0, values)
            lines = layout.failure_lines(group, 0, scores.failures)
            layout.put(group, "failures", 0, lines)
            group.attrs.modify("n_rows", layout.counts(len(scores.rows), len(lines)))
    return content.getvalue()
