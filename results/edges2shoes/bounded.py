"""The best network of a search with bounded outputs (task.bounded=true), with four seeds.

python -P results/edges2shoes/bounded.py RUN

It is chosen and trained as `compare` does it. The table goes to bounded.md and .json beside this file.
"""

import sys
from pathlib import Path

from evo_c2f.files import write_text
from evo_c2f.json_text import to_json
from evo_c2f.runs.run import RunFolder
from evo_c2f.scores.tables import markdown
from evo_c2f.workers.machine import Machine
from evo_c2f.workflows.progress import silent
from evo_c2f.workflows.session import open_session
from evo_c2f.workflows.studies.against_teacher import AgainstTeacher, Terms, over_seeds

TERMS = Terms(
    width=32,
    images=6400,
    trial_images=800,
    candidates=8,
    rates=(),
    searched_rates=(0.001, 0.002, 0.004),
    params_ratio=16,
    macs_ratio=12,
    prune=False,
    distil=False,
    seeds=4,
)


def main(folder: str) -> None:
    work = AgainstTeacher(open_session(RunFolder.open(Path(folder)), Machine(threads=1), silent), TERMS)
    chosen, tried = work.choose()
    _, *searched = work.contenders(chosen, narrow=0)  # all but the teacher
    rows, more = work.train(searched, work.trainer.job.score(work.names, full=True))
    run, means = work.session.run, over_seeds(rows, work.names)
    table = {"rows": means, "each_seed": rows, "subnet": chosen.id, "trials": tried + more}
    table |= {"supernet_seconds": run.seconds_of("trained"), "search_seconds": run.seconds_of("evolved")}
    here = Path(__file__)
    write_text(here.with_suffix(".json"), to_json(table, indent=1) + "\n")
    write_text(here.with_suffix(".md"), markdown(means))


if __name__ == "__main__":
    main(*sys.argv[1:])
