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

from evo_c2f.errors import DamagedFileError, InputError
from evo_c2f.space import Genomes

FORMAT = 1
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
        with _explained(path):
            if not path.exists():
                _create(path)
            # libver stays at its default: 'latest' left files that a killed writer made unreadable.
            self._file = h5py.File(path, "a")
            _refuse_newer(path, self._file)
            self._group = self._file.require_group(context.key)
            if "n_rows" not in self._group.attrs:
                _begin(self._group, context, notes or {})
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
        self._file.close()

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
        self, genomes: Genomes, rows: Sequence[Row], stage: str, generation: int, seconds: Sequence[float]
    ) -> None:
        """Add different genomes with their metrics, or metrics that known ones lack; acknowledged on return.

        A metric that is not finite makes the row a failure, which says so by name.
        """
        known = self._n
        indices = [self._index.setdefault(genome.tobytes(), len(self._index)) for genome in genomes]
        self._n = len(self._index)
        records = np.zeros(self._n - known, dtype=self._group["rows"].dtype)
        for i, index in enumerate(indices):
            failed = [name for name, value in rows[i].items() if not np.isfinite(value)]
            reason = f"not finite: {', '.join(failed)}".encode() if failed else b""
            if failed:
                self._failed.add(index)
            if index >= known:
                records[index - known] = (genomes[i], stage.encode(), generation, seconds[i], time.time(), reason)
            elif failed:
                record = self._group["rows"][index]
                record["failure"] = reason
                self._group["rows"][index] = record
        given = {name: None for row in rows for name in row}
        self._grow({*self._metrics, *given})
        for name in given:
            self._write_metric(name, known, indices, [row.get(name, np.nan) for row in rows])
        if len(records):
            self._group["rows"].resize((self._n,))
            self._group["rows"][known:] = records
            self._group.attrs["n_rows"] = self._n
        self._file.flush()

    def _grow(self, names: Iterable[str]) -> None:
        """Make room for all rows in the columns kept in memory."""
        for name in names:
            column = self._metrics.get(name, np.empty(0))
            if len(column) < self._n:
                column = np.append(column, np.full(max(self._n, 2 * len(column)) - len(column), np.nan))
            self._metrics[name] = column

    def _write_metric(self, name: str, known: int, indices: Sequence[int], values: Sequence[float]) -> None:
        group = self._group["metrics"]
        if name not in group:
            group.create_dataset(name, (0,), "f8", maxshape=(None,), chunks=(1024,), fillvalue=np.nan)
        column = self._metrics[name]
        if len(group[name]) < self._n:
            group[name].resize((self._n,))
        for index, value in zip(indices, values, strict=True):
            if np.isnan(column[index]) and np.isfinite(value):
                column[index] = value
                if index < known:
                    group[name][index] = value
        if self._n > known:
            group[name][known : self._n] = column[known : self._n]


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
                scores = [_read(group) for group in file.values() if "n_rows" in group.attrs]
                return sorted(scores, key=lambda s: s.rows["time"][0] if len(s.rows) else np.inf)
        except DamagedFileError:
            if attempt == READ_ATTEMPTS - 1:
                raise
            time.sleep(0.05)
    raise AssertionError("unreachable")


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


def _begin(group: h5py.Group, context: Context, notes: Mapping[str, Any]) -> None:
    """The empty rows of a context; `n_rows` last, since it says that all else is there."""
    n_genes = 3 * context.space["n_cells"] + len(context.space["widths"])
    group.clear()
    group.attrs["context"] = json.dumps(vars(context))
    group.attrs["notes"] = json.dumps(dict(notes))
    group.create_group("metrics")
    group.create_dataset("rows", (0,), row_type(n_genes), maxshape=(None,), chunks=(256,))
    group.attrs["n_rows"] = 0


def _drop_uncounted(group: h5py.Group) -> None:
    """Cut off what a killed writer wrote but never counted."""
    n = int(group.attrs["n_rows"])
    for dataset in (group["rows"], *group["metrics"].values()):
        if len(dataset) > n:
            dataset.resize((n,))


def _refuse_newer(path: Path, file: h5py.File) -> None:
    if file.attrs["format"] > FORMAT:
        raise InputError(f"{path} was written by a newer version; upgrade")


def _read(group: h5py.Group) -> Scores:
    n = int(group.attrs["n_rows"])
    context = json.loads(group.attrs["context"])
    metrics = {}
    for name, dataset in group["metrics"].items():
        column = np.full(n, np.nan)
        column[: len(dataset)] = dataset[:n]
        metrics[name] = column
    if len(group["rows"]) < n:
        raise OSError(f"{n} rows are counted, {len(group['rows'])} are there")
    return Scores(group.name.strip("/"), context["space"], json.loads(group.attrs["notes"]), group["rows"][:n], metrics)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except BlockingIOError:
        raise InputError(f"{path} is being written by another process; wait for it, or use another --run") from None
    except (OSError, KeyError, ValueError, RuntimeError, TypeError) as error:
        reason = str(error).splitlines()[0]
        if "locking flag" in reason:
            raise InputError(f"{path} is open for writing in this very process; close it first") from None
        raise DamagedFileError(f"{path} is damaged ({reason}); move it away to measure anew") from error
