"""`study tables`: searches on public tables of trained networks, whose true front is known. No torch."""

import logging
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from evo_c2f.contest import explained, pictures, race, summary
from evo_c2f.contest.contestants import OURS
from evo_c2f.contest.outcome import FEWEST
from evo_c2f.errors import InputError
from evo_c2f.files import write_text
from evo_c2f.json_text import to_json
from evo_c2f.scores.tables import markdown
from evo_c2f.tables.catalogue import READERS, available, load
from evo_c2f.workflows.progress import Show, silent

log = logging.getLogger(__name__)

RACES = "races.jsonl"


def tables_study(
    folder: Path, run: Path, seeds: int, workers: int, wanted: Sequence[str] = (), show: Show = silent
) -> dict[str, Any]:
    """Race all contestants on the tables in `folder`, and write tables and pictures to `run`. Races there stay.

    wanted: names of tables; none: all that are there. InputError if one of them, or an optional package, isn't there.
    """
    there = available(folder)
    for name in wanted:
        if name not in there:
            raise InputError(f"table {name!r} is unknown or not in {folder}; there are {', '.join(there)}")
    if missing := [name for name in READERS if name not in there]:
        log.warning(f"left out, since their files are not in {folder}: {'; '.join(missing)}")
    if not find_spec("optuna"):
        log.warning("left out: optuna's search, since it isn't installed; run 'pip install optuna'")
    if seeds < FEWEST:
        log.warning(f"medians of {seeds} seeds have no 95 % intervals; take at least {FEWEST}")
    tables = list(wanted) or there
    rows = race.rows_of(tables)
    with show("racing", seeds * len(rows)) as reporter:

        def step(n: int) -> None:
            reporter.steps += n
            reporter.update(reporter.steps, "")

        race.race_all(folder, rows, seeds, run / RACES, workers, step)
    return write_findings(folder, run, seeds, tables)


def write_findings(folder: Path, run: Path, seeds: int, tables: Sequence[str]) -> dict[str, Any]:
    """Tables and pictures of the races in `run` so far."""
    races = summary.by_row(race.read(run / RACES), race.rows_of(tables), seeds)
    about = {name: what_paths_explain(folder, name) for name in tables}
    found: dict[str, Any] = {
        "rows": summary.search_rows(races),
        "leads": summary.lead_rows(races, about),
        "noise": summary.noise_rows(races),
        "evaluations": race.EVALUATIONS,
    }
    for name, part in (("search", "rows"), ("leads", "leads"), ("noise", "noise")):
        write_text(run / f"{name}.md", markdown(found[part]) if found[part] else "")
    write_text(run / "tables.json", to_json(found, indent=1) + "\n")
    draw(races, found, run)
    return found


def what_paths_explain(folder: Path, name: str) -> dict[str, float]:
    """The share of the quality's variance that paths explain: of all networks, and as 100 of them tell."""
    table = load(folder, name)
    genomes = explained.draw(table.space, np.random.default_rng([0, 1]))
    flat = genomes.reshape(-1, table.space.n_genes)
    numbers = [table.numbers[table.network(table.space.decode(genome))] for genome in flat]
    values = table.values[numbers, 0].reshape(genomes.shape[:3])
    told = explained.shares(values, np.random.default_rng([0, 2]))
    exact = explained.exactly(table, np.random.default_rng([0, 3]))
    return {"paths_explain": exact, **{f"sample_{key}": value for key, value in told.items()}}


def draw(races: summary.Races, found: dict[str, Any], run: Path) -> None:
    """The pictures of what there is."""
    plain = {row: some for row, some in races.items() if row.tau == 1}
    curves = {
        table: {row.contestant: summary.curve(some) for row, some in plain.items() if row.table == table}
        for table in race.THOROUGH
        if race.Row(table, OURS) in plain
    }
    if curves:
        pictures.draw_curves(curves, run / "search.png")
    if found["leads"]:
        points = {
            row["table"]: (row["paths_explain"], (row["final_lead"], row["final_low"], row["final_high"]))
            for row in found["leads"]
        }
        pictures.draw_gains(points, run / "leads.png")
    lines: dict[str, list[tuple[float, pictures.Band]]] = {}
    for row in sorted(found["noise"], key=lambda row: row["tau"]):
        band = (row["found"], row["found_low"], row["found_high"])
        # Without noise, and with nothing but noise, there is no bias.
        for biased in {row["biased"]} if 0 < row["tau"] < 1 else (False, True):
            name = f"{row['contestant']}, biased by operator" if biased else row["contestant"]
            lines.setdefault(name, []).append((row["tau"], band))
    if lines:
        pictures.draw_noise(lines, run / "noise.png")
