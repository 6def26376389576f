"""Runs the races: each of one contestant on one table with one seed. What is done is not done again."""

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from evo_c2f.contest.contestants import CONTESTANTS, JOINT, MORE, OPTUNA, OURS, SLOW, networks_of
from evo_c2f.contest.noise import disturbed
from evo_c2f.contest.outcome import outcome
from evo_c2f.errors import DamagedFileError
from evo_c2f.json_text import to_json
from evo_c2f.tables.catalogue import load

EVALUATIONS = 150  # networks of a race; see `allowed`
CHUNK = 10  # seeds of a row, before the next row's
THOROUGH = ("NAS-Bench-Macro, FLOPs", "TransNAS-Bench-101, autoencoder")  # tables on which all contestants race
NOISY = THOROUGH[0]
TAUS = (0.9, 0.8, 0.6)
NOISE = 7  # stream of the seed


@dataclass(frozen=True)
class Row:
    """A contestant on a table. tau: of the scores that it sees; biased: whether by operator, too."""

    table: str
    contestant: str
    tau: float = 1.0
    biased: bool = False


def rows_of(tables: Sequence[str]) -> list[Row]:
    """All rows of the study; those of optuna only if it is installed."""
    more = [name for name in MORE if name != OPTUNA or find_spec("optuna")]
    found = [Row(table, name) for table in tables for name in CONTESTANTS]
    found += [Row(table, name) for table in tables if table in THOROUGH for name in more]
    if NOISY in tables:
        levels = [(tau, biased) for tau in TAUS for biased in (False, True)]
        found += [Row(NOISY, name, *level) for level in levels for name in (OURS, JOINT, "random")]
    return found


def allowed(row: Row) -> int:
    """How many networks a contestant asks for: twice as many where all race, less for those that take a second."""
    if row.contestant in SLOW:
        return EVALUATIONS * 2 // 3
    return EVALUATIONS * (2 if row.table in THOROUGH and row.tau == 1 else 1)


def race(folder: Path, row: Row, seed: int) -> dict[str, Any]:
    """One race in numbers: the row, the seed, and its outcome."""
    table = load(folder, row.table)
    rng = np.random.default_rng([seed, NOISE, round(100 * row.tau), row.biased])
    scores = disturbed(table, row.tau, row.biased, rng) if row.tau < 1 else None
    asked = networks_of(table, {**CONTESTANTS, **MORE}[row.contestant], allowed(row), seed, scores)
    return {**asdict(row), "seed": seed, **outcome(table, asked, scores)}


def race_all(
    folder: Path, rows: Sequence[Row], seeds: int, path: Path, workers: int, step: Callable[[int], None]
) -> None:
    """Race the rows' missing seeds, and append each race to the file at `path`; step: told how many are done."""
    done = {(row, int(found["seed"])) for found in read(path) for row in [row_of(found)]}
    step(sum((row, seed) in done for row in rows for seed in range(seeds)))
    missing = [
        (row, [seed for seed in range(start, min(start + CHUNK, seeds)) if (row, seed) not in done])
        for start in range(0, seeds, CHUNK)
        for row in rows
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        for found in _raced(folder, [(row, some) for row, some in missing if some], workers):
            file.write("".join(to_json(one) + "\n" for one in found))
            file.flush()
            step(len(found))


def _raced(folder: Path, jobs: list[tuple[Row, list[int]]], workers: int) -> Iterator[list[dict[str, Any]]]:
    if workers == 1 or len(jobs) < 2:
        for row, seeds in jobs:
            yield [race(folder, row, seed) for seed in seeds]
        return
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        flying: list[Future[list[dict[str, Any]]]] = [pool.submit(_chunk, folder, *job) for job in jobs]
        try:
            for future in as_completed(flying):
                yield future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _chunk(folder: Path, row: Row, seeds: list[int]) -> list[dict[str, Any]]:
    return [race(folder, row, seed) for seed in seeds]


def row_of(found: dict[str, Any]) -> Row:
    return Row(found["table"], found["contestant"], found["tau"], found["biased"])


def read(path: Path) -> list[dict[str, Any]]:
    """The races in a file. A last line that was cut off is removed. DamagedFileError if another can't be read."""
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if len(whole) < len(text):
        with path.open("r+", encoding="utf-8") as file:
            file.truncate(len(whole.encode()))
    try:
        found = [json.loads(line) for line in whole.splitlines()]
        return [one for one in found if row_of(one) and isinstance(one["seed"], int)]
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedFileError(f"{path} is damaged ({error}); move it away to race anew") from None
