"""The network that was searched with bounded outputs, and one more cell at full resolution, with six seeds.

python results/edges2shoes/finer.py PAIRS

It is trained from scratch as bounded.py trains the network without the cell. The table goes to finer.md and .json
beside this file, with the leads over the networks of bounded.json and students-64.json, seed by seed.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from students import HERE, NAMES, PLANS, RATE, settings_for, trainer, white

from evo_c2f.files import write_text
from evo_c2f.json_text import to_json
from evo_c2f.runs.run import RunFolder
from evo_c2f.scores.tables import markdown
from evo_c2f.space.architecture import Architecture, Cell
from evo_c2f.studies.winners import with_interval
from evo_c2f.workflows.studies.against_teacher import over_seeds
from supernet.network.cost import network_costs

SEEDS, IMAGES, WIDTH, OPERATOR = 6, 6400, 8, "large_kernel"
RIVALS = {"searched-from-scratch": "bounded", "narrow teacher": "students-64"}  # and the files of their rows


def finer(architecture: Architecture) -> Architecture:
    """The same with a last cell at level 0, the output's resolution."""
    cells = (*architecture.cells, Cell(len(architecture.cells), 0, OPERATOR, WIDTH))
    return Architecture(cells, ((0, WIDTH), *architecture.widths))


def leads(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """By how much these rows are better than each rival's, in the mean over the seeds that both have."""
    found = []
    for network, file in RIVALS.items():
        every = json.loads((HERE / f"{file}.json").read_text())["each_seed"]
        both = [*zip(rows, (row for row in every if row["network"] == network), strict=False)]
        lead: dict[str, Any] = {"lead over": network, "seeds": len(both)}
        for name, sign in (("lpips", 1), ("fd_vgg_n200", 1), ("psnr_y", -1)):
            lead |= with_interval(name, [sign * (theirs[name] - mine[name]) for mine, theirs in both])
        found.append(lead)
    return found


def main(pairs: str) -> None:
    settings = settings_for(pairs, 64, bounded=True)
    run = RunFolder.begin(HERE / "models" / "finer", settings)
    alone = trainer(run, settings)
    score, rows = alone.job.score(NAMES, full=True), list[dict[str, Any]]()
    for number in range(SEEDS):
        by = alone.with_seed(number)
        found = by.train("finer", by.job.fresh(finer(PLANS[128].architecture())), IMAGES, RATE)
        seen = {"white": white(found.network, alone.job.data.full())}
        costs = network_costs(found.network, settings.search.output_size)
        rows.append(
            {"network": "with a cell at full resolution", **costs, **score.of(found.network), **seen, **found.row()}
        )
        print(rows[-1], flush=True)
    table = {"rows": over_seeds(rows, [*NAMES, "white"]), "leads": leads(rows), "each_seed": rows}
    write_text(HERE / "finer.json", to_json(table, indent=1) + "\n")
    write_text(HERE / "finer.md", f"{markdown(table['rows'])}\n{markdown(table['leads'])}")


if __name__ == "__main__":
    main(*sys.argv[1:])
