"""The score store: every subnet's metrics in one HDF5 file. The only import of h5py."""

import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from evo_c2f.checksum import checks
from evo_c2f.errors import DamagedFileError, FailedError, InputError
from evo_c2f.space import Genomes

FORMAT = 2  # 1 had no checksums
READ_ATTEMPTS = 20  # a reader may open the file in the middle of a flush

Row = dict[str, float]


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


def row_type(n_genes: int) -> np.dtype[np.void]:
    return np.dtype(
        [
            ("genome", "u1", (n_genes,)),
            ("stage", "S12"),
            ("generation", "i4"),
            ("seconds", "f8"),
            ("time", "f8"),
            ("failure", "S160"),
        ]
    )


class ScoreStore:
    """Append-only map from genome to raw metrics, in one HDF5 group.

    One writer. A value is never overwritten: a new checkpoint or protocol is a new group. A row is
    acknowledged when `append` returns, and then survives the death of the process: the number of
    rows is written after the rows, and a tail that was never counted is dropped on opening.
    """

    def __init__(self, path: Path, context: Context, notes: Mapping[str, Any] | None = None):
        """notes: what a reader should know beside the scores (JSON); kept from the first opening.

        InputError if another process writes, DamagedFileError if the file can't be read.
        """
        self.path = path
        with _explained(path):
            if not path.exists():
                _create(path)
            # libver stays at its default: 'latest' left files that a killed writer made unreadable.
            self._file = h5py.File(path, "a")
            _refuse_newer(path, self._file)
            self._group = self._file.require_group(context.key)
            self._checked = self._file.attrs["format"] > 1
            if _is_unborn(self._group):
                _begin(self._group, context, notes or {}, self._checked)
            _drop_uncounted(self._group)
            self._file.flush()
            scores = _read(self._group)
        self.notes = scores.notes
        self._n = len(scores.rows)
        self._index = {row["genome"].tobytes(): i for i, row in enumerate(scores.rows)}
        self._failed = set(np.flatnonzero(scores.rows["failure"] != b"").tolist())
        self._metrics = scores.metrics  # each column may be longer than n_rows: it grows by doubling

    def __enter__(self) -> "ScoreStore":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self._file.close()
        except (OSError, RuntimeError):
            if error is None:  # or it is said already that there is no room
                raise

    def __len__(self) -> int:
        return self._n

    def get(self, genome: Genomes) -> Row | None:
        """The metrics known of a canonical genome, or None if it was never measured."""
        index = self._index.get(genome.tobytes())
        if index is None:
            return None
        known = {name: float(column[index]) for name, column in self._metrics.items()}
        return {name: value for name, value in known.items() if value == value}

    def table(self, names: Sequence[str], stages: Sequence[str]) -> tuple[Genomes, NDArray[np.float64]]:
        """Of the rows first measured in one of the stages: genomes (n, n_genes), metrics (n, len(names)), NaN where
        not known."""
        rows = self._group["rows"][:]
        wanted = np.isin(rows["stage"], [stage.encode() for stage in stages])
        columns = [self._metrics.get(name, np.full(self._n, np.nan))[: self._n] for name in names]
        return rows["genome"][wanted], np.stack(columns, axis=1)[wanted]

    def failed(self, genome: Genomes) -> bool:
        """Whether the genome was measured and one of its metrics was not finite."""
        return self._index.get(genome.tobytes()) in self._failed

    def append(
        self,
        genomes: Genomes,
        rows: Sequence[Row],
        stage: str,
        generation: int,
        seconds: Sequence[float],
        reasons: Sequence[str] = (),
    ) -> None:
        """Add different genomes with their metrics, or metrics that known ones lack; acknowledged on return.

        FailedError if there is no room. A metric that is not finite makes the row a failure, which says so by name,
        after its reason if one is given.
        A failure that gets all of what it lacked is one no longer.
        """
        try:
            self._append(genomes, rows, stage, generation, seconds, reasons)
        except (OSError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise FailedError(
                f"{self.path} can't be written ({reason}); make room, and run the same command again"
            ) from None

    def _append(
        self,
        genomes: Genomes,
        rows: Sequence[Row],
        stage: str,
        generation: int,
        seconds: Sequence[float],
        reasons: Sequence[str],
    ) -> None:
        known = self._n
        indices = [self._index.setdefault(genome.tobytes(), len(self._index)) for genome in genomes]
        self._n = len(self._index)
        records = np.zeros(self._n - known, dtype=self._group["rows"].dtype)
        for i, index in enumerate(indices):
            failed = [name for name, value in rows[i].items() if not np.isfinite(value)]
            because = f"{reasons[i]}; " if reasons and reasons[i] else ""
            reason = f"{because}not finite: {', '.join(failed)}".encode() if failed else b""
            if index >= known:
                records[index - known] = (genomes[i], stage.encode(), generation, seconds[i], time.time(), reason)
            elif failed or index in self._failed:
                record = self._group["rows"][index : index + 1]
                if not failed and not _failures(record["failure"][0]) <= rows[i].keys():
                    continue
                record["failure"] = reason
                self._write("rows", index, record)
            (self._failed.add if failed else self._failed.discard)(index)
        given = {name: None for row in rows for name in row}
        self._grow({*self._metrics, *given})
        for name in dict.fromkeys([*given, *self._group["metrics"]]):
            self._write_metric(name, known, indices, [row.get(name, np.nan) for row in rows])
        if len(records):
            self._write("rows", known, records)
            self._group.attrs.modify("n_rows", _count(self._n) if self._checked else self._n)
        self._file.flush()

    def _grow(self, names: Iterable[str]) -> None:
        """Make room for all rows in the columns kept in memory."""
        for name in names:
            column = self._metrics.get(name, np.empty(0))
            if len(column) < self._n:
                column = np.append(column, np.full(max(self._n, 2 * len(column)) - len(column), np.nan))
            self._metrics[name] = column

    def _write_metric(self, name: str, known: int, indices: Sequence[int], values: Sequence[float]) -> None:
        if name not in self._group["metrics"]:
            _create_metric(self._group, name, self._checked)
        column = self._metrics[name]
        if len(self._group[f"metrics/{name}"]) < known:  # what a known row lacks is written as such
            self._write(f"metrics/{name}", 0, np.full(known, np.nan))
            self._file.flush()
        for index, value in zip(indices, values, strict=True):
            if np.isnan(column[index]) and np.isfinite(value):
                column[index] = value
                if index < known:
                    self._write(f"metrics/{name}", index, column[index : index + 1])
        if self._n > known:
            self._write(f"metrics/{name}", known, column[known : self._n])

    def _write(self, name: str, first: int, values: NDArray[Any]) -> None:
        """Into a column from a row on, and then their checksums.

        A known row's values are on the disk before their checksums: a writer killed between the two leaves a value
        with the checksum of none, which was never acknowledged, and nothing else that looks like it.
        """
        self._put(name, first, values)
        if self._checked:
            if first < len(self._group["rows"]):
                self._file.flush()
            for column, found in _checks_of(self._group, name, values, first).items():
                self._put(column, first, found)

    def _put(self, name: str, first: int, values: NDArray[Any]) -> None:
        end = first + len(values)
        if len(self._group[name]) < end:
            self._group[name].resize((end,))
        self._group[name][first:end] = values


def read_scores(path: Path) -> list[Scores]:
    """All contexts of a store, oldest first; works while another process writes.

    InputError if there is no such file, DamagedFileError if it can't be read.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist; run 'python cli.py evolve --stage path' first")
    for attempt in range(READ_ATTEMPTS):
        try:
            with _explained(path), h5py.File(path, "r", locking=False) as file:
                _refuse_newer(path, file)
                scores = [_read(group) for group in file.values() if not _is_unborn(group)]
                return sorted(scores, key=lambda s: s.rows["time"][0] if len(s.rows) else np.inf)
        except DamagedFileError:
            if attempt == READ_ATTEMPTS - 1:
                raise
            time.sleep(0.05)
    raise AssertionError("unreachable")


def _failures(text: bytes) -> set[str]:
    """The metrics that a failure names."""
    return set(text.decode().rpartition("not finite: ")[2].split(", "))


def _create(path: Path) -> None:
    """An empty store, under a name of this process first: a writer killed here leaves no half file in the way.

    Linked, not renamed: a file that another process has published meanwhile stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with h5py.File(partial, "w") as file:
        file.attrs["format"] = FORMAT
    with suppress(FileExistsError):
        os.link(partial, path)
    partial.unlink()


def _begin(group: h5py.Group, context: Context, notes: Mapping[str, Any], checked: bool) -> None:
    """The empty rows of a context; `n_rows` last, since it says that all else is there."""
    group.clear()
    group.attrs["context"] = json.dumps(vars(context))
    group.attrs["notes"] = json.dumps(dict(notes))
    group.create_group("metrics")
    group.create_dataset("rows", (0,), row_type(_n_genes(context.space)), maxshape=(None,), chunks=(256,))
    if checked:
        for name in ("checks/rows", "checks/failures"):
            group.create_dataset(name, (0,), "u8", maxshape=(None,), chunks=(1024,))
        group.create_group("checks/metrics")
        group.attrs["notes_check"] = _digest(group.attrs["notes"])
    group.attrs["n_rows"] = _count(0) if checked else 0


def _is_unborn(group: h5py.Group) -> bool:
    """Whether a writer was killed before it had begun the context. OSError if there are rows, which none counts."""
    if "n_rows" in group.attrs:
        return False
    if "rows" in group and len(group["rows"]):
        raise OSError("there are rows and no number of them")
    return True


def _create_metric(group: h5py.Group, name: str, checked: bool) -> None:
    group.create_dataset(f"metrics/{name}", (0,), "f8", maxshape=(None,), chunks=(1024,), fillvalue=np.nan)
    if checked:
        group.create_dataset(f"checks/metrics/{name}", (0,), "u8", maxshape=(None,), chunks=(1024,))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _checks_of(group: h5py.Group, name: str, values: NDArray[Any], first: int) -> dict[str, NDArray[np.uint64]]:
    """The checksums of a column's values from row `first` on, by the column that holds them.

    What may come to a row later, a failure, has its own.
    """
    salt = _salt(group, name)
    if name != "rows":
        return {f"checks/{name}": checks(values, first, salt)}
    return {
        "checks/rows": checks(_without_failures(values), first, salt),
        "checks/failures": checks(values["failure"], first, salt),
    }


def _salt(group: h5py.Group, name: str) -> str:
    """Whose column it is, so that no other's passes for it."""
    return f"{group.name}/{name}"


def _count(n: int) -> NDArray[np.uint64]:
    """A number of rows, with its complement: both are written at once, and neither is believed alone."""
    return np.array([n, ~np.uint64(n)], dtype=np.uint64)


def _n_rows(group: h5py.Group) -> int:
    counted = group.attrs["n_rows"]
    if np.ndim(counted) and counted[0] != ~counted[1]:
        raise OSError("the number of rows is not what was written")
    return int(np.ravel(counted)[0])


def _drop_uncounted(group: h5py.Group) -> None:
    """Cut off what a killed writer wrote but never counted."""
    n = _n_rows(group)
    for part in (group, group["metrics"], group.get("checks", {}), group.get("checks/metrics", {})):
        for dataset in part.values():
            if isinstance(dataset, h5py.Dataset) and len(dataset) > n:
                dataset.resize((n,))


def _refuse_newer(path: Path, file: h5py.File) -> None:
    if file.attrs["format"] > FORMAT:
        raise InputError(f"{path} was written by a newer version; upgrade")
    if file.attrs["format"] < 1:
        raise OSError("it has no known format")


def _read(group: h5py.Group) -> Scores:
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
    return Scores(group.name.strip("/"), context["space"], json.loads(group.attrs["notes"]), rows, metrics)


def _verify_rows(group: h5py.Group, rows: NDArray[np.void]) -> None:
    """OSError if one is not what was written; a failure that was never acknowledged is taken out."""
    expected, none = (_checks_of(group, "rows", part, 0) for part in (rows, _without_failures(rows)))
    for name in expected:
        written = _column(group, name, len(rows), np.dtype("u8"))
        rows["failure"][_unacknowledged(expected[name], none[name], written, "a row")] = b""


def _without_failures(rows: NDArray[np.void]) -> NDArray[np.void]:
    bare = rows.copy()
    bare["failure"] = b""
    return bare


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
        expected, none = (checks(part, 0, _salt(group, f"metrics/{name}")) for part in (column, np.full(n, np.nan)))
        begun = f"checks/metrics/{name}" in group
        written = _column(group, f"checks/metrics/{name}", n, np.dtype("u8")) if begun else none[:0]
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


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except BlockingIOError:
        raise InputError(f"{path} is being written by another process; wait for it, or use another --run") from None
    except (OSError, KeyError, ValueError, RuntimeError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        if "locking flag" in reason:
            raise InputError(f"{path} is open for writing in this very process; close it first") from None
        raise DamagedFileError(f"{path} is damaged ({reason}); move it away to measure anew") from error
