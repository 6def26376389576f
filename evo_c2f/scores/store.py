"""The score store: every subnet's metrics in one HDF5 file, which `layout` describes."""

import io
import logging
import os
import time
from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from evo_c2f.errors import DamagedFileError, FailedError, InputError
from evo_c2f.files import publish, replacing, reserve
from evo_c2f.lock import readers_of, wait_for_readers
from evo_c2f.scores import layout, old_layout, probe
from evo_c2f.scores.layout import Context, Failed, Scores
from evo_c2f.space import Genomes, genome_keys

READ_ATTEMPTS = 20  # a reader may open the file in the middle of a flush
SPARE_BYTES = 1 << 20  # chunks begun, and the library's own trees and heaps

Row = dict[str, float]

log = logging.getLogger(__name__)


class ScoreStore:
    """Append-only map from genome to raw metrics, in one HDF5 group.

    One writer. A value is never overwritten: a new checkpoint or protocol is a new group. A row is acknowledged when
    `append` returns, and then survives the death of the process: the number of rows is written after the rows, and
    uncounted rows at the end are dropped on opening.
    """

    def __init__(self, path: Path, context: Context, notes: Mapping[str, Any] | None = None):
        """notes: additional information for readers (JSON); kept from the first opening.

        A file of an older format is converted. Waits for processes that have the file open for reading.
        InputError if another process writes, DamagedFileError if the file can't be read, FailedError if there is no
        room.
        """
        self.path = path
        with _explained(path):
            if path.exists():
                _refuse_what_hangs(path)
            else:
                _create(path)
            self._file = _open(path)
            born = context.key in self._file and not layout.is_unborn(self._file[context.key])
            if not born:
                self._reserve(0)
            self._group = self._file.require_group(context.key)
            if not born:
                layout.begin(self._group, context, notes or {})
            layout.drop_uncounted(self._group)
            self._file.flush()
            scores = layout.read_context(self._group)
        self.notes = scores.notes
        self._n = len(scores.rows)
        self._index = dict(zip(genome_keys(scores.rows["genome"]), range(self._n), strict=True))
        self._failures, self._n_failure_bytes = scores.failures, layout.counted(self._group)[1]
        self._metrics = scores.metrics  # each column may be longer than n_rows: it grows by doubling

    def __enter__(self) -> "ScoreStore":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if not self._file:  # closed already
            return
        try:
            self._file.flush()
            os.ftruncate(self._file.id.get_vfd_handle(), self._file.id.get_filesize())  # what was reserved beyond
            self._file.close()
        except (OSError, RuntimeError):
            if error is None:  # or it is said already that there is no room
                raise

    def __len__(self) -> int:
        return self._n

    def get(self, genome: Genomes) -> Row | None:
        """The known metrics of a canonical genome, or None if it was never measured."""
        index = self._index.get(genome.tobytes())
        if index is None:
            return None
        known = {name: float(column[index]) for name, column in self._metrics.items()}
        return {name: value for name, value in known.items() if value == value}

    def failed(self, genome: Genomes) -> Failed:
        """The metrics of the genome that were measured without a finite value, each with its reason."""
        return self._failures.get(self._index.get(genome.tobytes(), -1), {})

    def append(
        self,
        genomes: Genomes,
        rows: Sequence[Row],
        stage: str,
        generation: int | Sequence[int],
        seconds: Sequence[float],
        reasons: Sequence[str] = (),
    ) -> None:
        """Add different genomes with their metrics, or missing metrics of known genomes; acknowledged on return.

        generation: one for all, or one for each. A metric that is not finite is a failure of that metric until it gets
        a value; the row's reason is stored, if given. FailedError if there is no room.
        """
        known, generations = self._n, np.broadcast_to(generation, len(genomes))
        keys = [genome.tobytes() for genome in genomes]
        new = {key: known + i for i, key in enumerate(key for key in keys if key not in self._index)}
        indices = [ChainMap(new, self._index)[key] for key in keys]
        failures = self._new_failures(indices, rows, reasons or [""] * len(rows))
        lines = layout.failure_lines(self._group, self._n_failure_bytes, failures)
        given = list(dict.fromkeys(name for row in rows for name in row))
        n_begun = len(set(given) - self._metrics.keys())
        cells = len(genomes) * (1 + len(self._metrics)) + (known + len(genomes)) * n_begun
        self._reserve(len(genomes) * self._group["rows"].dtype.itemsize + 16 * cells + len(lines))
        with _room(self.path):
            self._index.update(new)
            self._n = known + len(new)
            records = [
                (genome, stage.encode(), generations[i], seconds[i], time.time())
                for i, (genome, index) in enumerate(zip(genomes, indices, strict=True))
                if index >= known
            ]
            if len(lines):
                layout.put(self._group, "failures", self._n_failure_bytes, lines)
                self._n_failure_bytes += len(lines)
                self._file.flush()
            self._grow({*self._metrics, *given})
            for name in dict.fromkeys([*given, *self._group["metrics"]]):
                self._write_metric(name, known, indices, [row.get(name, np.nan) for row in rows])
            self._note_failures(indices, failures)
            if records:
                self._write("rows", known, np.array(records, dtype=self._group["rows"].dtype))
            if records or len(lines):
                self._group.attrs.modify("n_rows", layout.counts(self._n, self._n_failure_bytes))
            self._file.flush()

    def _new_failures(self, indices: Sequence[int], rows: Sequence[Row], reasons: Sequence[str]) -> dict[int, Failed]:
        """Of each row the metrics that failed, but for those that have a value, or failed before for that reason."""
        found = {}
        for index, row, reason in zip(indices, rows, reasons, strict=True):
            before = self._failures.get(index, {})
            failed = {name: reason for name, value in row.items() if not np.isfinite(value)}
            new = {name for name in failed if before.get(name) != reason and not self._has(name, index)}
            if new:
                found[index] = {name: reason for name in failed if name in new}
        return found

    def _has(self, name: str, index: int) -> bool:
        return index < self._n and name in self._metrics and not np.isnan(self._metrics[name][index])

    def _note_failures(self, indices: Sequence[int], failures: Mapping[int, Failed]) -> None:
        """Keep in mind which of the rows' metrics failed and have no value now."""
        for index in indices:
            failed = {**self._failures.pop(index, {}), **failures.get(index, {})}
            if failed := layout.lacking(failed, index, self._metrics):
                self._failures[index] = failed

    def _reserve(self, n_bytes: int) -> None:
        """FailedError if there is no room for so much more: a flush that stops half way leaves a file that none can
        read."""
        with _room(self.path):
            reserve(self._file.id.get_vfd_handle(), self._file.id.get_filesize(), 2 * n_bytes + SPARE_BYTES)

    def _grow(self, names: Iterable[str]) -> None:
        """Make room for all rows in the columns kept in memory."""
        for name in names:
            column = self._metrics.get(name, np.empty(0))
            if len(column) < self._n:
                column = np.append(column, np.full(max(self._n, 2 * len(column)) - len(column), np.nan))
            self._metrics[name] = column

    def _write_metric(self, name: str, known: int, indices: Sequence[int], values: Sequence[float]) -> None:
        if name not in self._group["metrics"]:
            layout.create_metric(self._group, name)
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
        layout.put(self._group, name, first, values)
        if first < len(self._group["rows"]):
            self._file.flush()
        layout.put_checks(self._group, name, first, values)


def read_scores(path: Path) -> list[Scores]:
    """All contexts of a store, oldest first; works while another process writes.

    InputError if there is no such file, DamagedFileError if it can't be read.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist; run 'python cli.py evolve --stage path --run {path.parent}' first")
    _refuse_what_hangs(path)
    for attempt in range(READ_ATTEMPTS):
        try:
            with _explained(path), h5py.File(path, "r", locking=False) as file:
                layout.refuse_newer(path, file)
                scores = [old_layout.read(group) for group in file.values() if not layout.is_unborn(group)]
                return sorted(scores, key=lambda s: s.rows["time"][0] if len(s.rows) else np.inf)
        except DamagedFileError:
            if attempt == READ_ATTEMPTS - 1:
                raise
            time.sleep(0.05)
    raise AssertionError("unreachable")


def _refuse_what_hangs(path: Path) -> None:
    if not probe.comes_back(path):
        raise DamagedFileError(f"{path} is damaged (the HDF5 library never ends on it); move it away to measure anew")


def _open(path: Path) -> h5py.File:
    """The store, to be written to, in the format of today."""
    while True:
        wait_for_readers(path)
        try:
            # libver stays at its default: 'latest' left files that a killed writer made unreadable.
            file = h5py.File(path, "a")
        except BlockingIOError:
            if readers_of(path) is None:  # a writer
                raise
            continue
        layout.refuse_newer(path, file)
        if file.attrs["format"] == layout.FORMAT:
            return file
        _upgrade(path, file)


def _upgrade(path: Path, file: h5py.File) -> None:
    """Put the same scores in the format of today in its place; until that is there, nobody else can write."""
    before, content = file.attrs["format"], old_layout.upgraded(file)
    with _room(path), replacing(path) as partial:
        partial.write_bytes(content)
    file.close()
    log.warning(f"{path} was of format {before}; it is of format {layout.FORMAT} now, which older versions can't read")


def _create(path: Path) -> None:
    """An empty store, under a name of this process first: a writer killed here leaves no half file in the way."""
    empty = io.BytesIO()  # not at once to the disk: the library ends badly where it finds no room
    with h5py.File(empty, "w") as file:
        file.attrs["format"] = layout.FORMAT
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with _room(path):
            partial.write_bytes(empty.getvalue())
        publish(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _room(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise FailedError(f"{path} can't be written ({reason}); make room, and run the same command again") from None


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except BlockingIOError:
        raise InputError(f"{path} is being written by another process; wait for it, or use another --run") from None
    except PermissionError:
        raise InputError(f"{path} can't be opened by this account; ask its owner") from None
    except (OSError, KeyError, ValueError, RuntimeError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        if "locking flag" in reason or "already open" in reason:
            raise InputError(f"{path} is open in this very process; close it first") from None
        raise DamagedFileError(f"{path} is damaged ({reason}); move it away to measure anew") from error
