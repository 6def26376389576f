"""The score store: every subnet's metrics in one HDF5 file, which `layout` describes."""

import io
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from evo_c2f import layout, probe
from evo_c2f.errors import DamagedFileError, FailedError, InputError
from evo_c2f.files import reserve
from evo_c2f.layout import Context, Scores
from evo_c2f.space import Genomes, genome_keys

READ_ATTEMPTS = 20  # a reader may open the file in the middle of a flush
SPARE_BYTES = 1 << 20  # chunks begun, and the library's own trees and heaps

Row = dict[str, float]


class ScoreStore:
    """Append-only map from genome to raw metrics, in one HDF5 group.

    One writer. A value is never overwritten: a new checkpoint or protocol is a new group. A row is
    acknowledged when `append` returns, and then survives the death of the process: the number of
    rows is written after the rows, and a tail that was never counted is dropped on opening.
    """

    def __init__(self, path: Path, context: Context, notes: Mapping[str, Any] | None = None):
        """notes: what a reader should know beside the scores (JSON); kept from the first opening.

        InputError if another process writes, DamagedFileError if the file can't be read, FailedError if there is no
        room.
        """
        self.path = path
        with _explained(path):
            if path.exists():
                _refuse_what_hangs(path)
            else:
                _create(path)
            # libver stays at its default: 'latest' left files that a killed writer made unreadable.
            self._file = h5py.File(path, "a")
            layout.refuse_newer(path, self._file)
            self._checked = self._file.attrs["format"] > 1
            born = context.key in self._file and not layout.is_unborn(self._file[context.key])
            if not born:
                self._reserve(0)
            self._group = self._file.require_group(context.key)
            if not born:
                layout.begin(self._group, context, notes or {}, self._checked)
            layout.drop_uncounted(self._group)
            self._file.flush()
            scores = layout.read_context(self._group)
        self.notes = scores.notes
        self._n = len(scores.rows)
        self._index = dict(zip(genome_keys(scores.rows["genome"]), range(self._n), strict=True))
        self._failed = set(scores.failed.tolist())
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
        """The metrics known of a canonical genome, or None if it was never measured."""
        index = self._index.get(genome.tobytes())
        if index is None:
            return None
        known = {name: float(column[index]) for name, column in self._metrics.items()}
        return {name: value for name, value in known.items() if value == value}

    def failed(self, genome: Genomes) -> bool:
        """Whether the genome was measured and one of its metrics was not finite."""
        return self._index.get(genome.tobytes()) in self._failed

    def append(
        self,
        genomes: Genomes,
        rows: Sequence[Row],
        stage: str,
        generation: int | Sequence[int],
        seconds: Sequence[float],
        reasons: Sequence[str] = (),
    ) -> None:
        """Add different genomes with their metrics, or metrics that known ones lack; acknowledged on return.

        generation: of all, or of each. A metric that is not finite makes the row a failure, which says so by name,
        after its reason if one is given; once it has got all that it lacked it is one no longer.
        FailedError if there is no room.
        """
        new = {name for row in rows for name in row} - self._metrics.keys()
        cells = len(genomes) * (1 + len(self._metrics)) + (self._n + len(genomes)) * len(new)
        self._reserve(len(genomes) * self._group["rows"].dtype.itemsize + 16 * cells)
        with _room(self.path):
            known, generations = self._n, np.broadcast_to(generation, len(genomes))
            indices = [self._index.setdefault(genome.tobytes(), len(self._index)) for genome in genomes]
            self._n = len(self._index)
            records = np.zeros(self._n - known, dtype=self._group["rows"].dtype)
            for i, index in enumerate(indices):
                failed = [name for name, value in rows[i].items() if not np.isfinite(value)]
                because = f"{reasons[i]}; " if reasons and reasons[i] else ""
                reason = f"{because}not finite: {', '.join(failed)}".encode() if failed else b""
                if index >= known:
                    records[index - known] = (
                        genomes[i],
                        stage.encode(),
                        generations[i],
                        seconds[i],
                        time.time(),
                        reason,
                    )
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
                self._group.attrs.modify("n_rows", layout.count(self._n) if self._checked else self._n)
            self._file.flush()

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
            layout.create_metric(self._group, name, self._checked)
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
            for column, found in layout.checks_of(self._group, name, values, first).items():
                self._put(column, first, found)

    def _put(self, name: str, first: int, values: NDArray[Any]) -> None:
        dataset, end = self._group[name], first + len(values)  # to open it takes longer than to write a row
        if len(dataset) < end:
            dataset.resize((end,))
        dataset[first:end] = values


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
                scores = [layout.read_context(group) for group in file.values() if not layout.is_unborn(group)]
                return sorted(scores, key=lambda s: s.rows["time"][0] if len(s.rows) else np.inf)
        except DamagedFileError:
            if attempt == READ_ATTEMPTS - 1:
                raise
            time.sleep(0.05)
    raise AssertionError("unreachable")


def _refuse_what_hangs(path: Path) -> None:
    if not probe.comes_back(path):
        raise DamagedFileError(f"{path} is damaged (the HDF5 library never ends on it); move it away to measure anew")


def _failures(text: bytes) -> set[str]:
    """The metrics that a failure names."""
    return set(text.decode().rpartition("not finite: ")[2].split(", "))


def _create(path: Path) -> None:
    """An empty store, under a name of this process first: a writer killed here leaves no half file in the way.

    Linked, not renamed: a file that another process has published meanwhile stays.
    """
    empty = io.BytesIO()  # not at once to the disk: the library ends badly where it finds no room
    with h5py.File(empty, "w") as file:
        file.attrs["format"] = layout.FORMAT
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with _room(path):
            partial.write_bytes(empty.getvalue())
        with suppress(FileExistsError):
            os.link(partial, path)
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
    except (OSError, KeyError, ValueError, RuntimeError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        if "locking flag" in reason:
            raise InputError(f"{path} is open for writing in this very process; close it first") from None
        raise DamagedFileError(f"{path} is damaged ({reason}); move it away to measure anew") from error
