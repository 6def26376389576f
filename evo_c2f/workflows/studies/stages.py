"""`study stages`: how much of the quality paths, operators and widths explain, from a hundred measured subnets."""

import logging
from contextlib import closing
from typing import Any

import numpy as np

from evo_c2f.contest import explained
from evo_c2f.errors import InputError
from evo_c2f.scores.store import ScoreStore
from evo_c2f.workers.evaluator import Evaluator
from evo_c2f.workers.processes import Task
from evo_c2f.workflows.search import instruments
from evo_c2f.workflows.session import Session

log = logging.getLogger(__name__)

STREAM = 8  # of the seed


def stages_study(session: Session) -> dict[str, Any]:
    """Measure a nested sample with the run's joint weights, and tell the share of the variance by each kind of genes.

    InputError if the run has no joint weights: others know no operators or widths but their stage's.
    """
    run, space = session.run, session.settings.space
    tools, quality = instruments(session, "joint"), session.first_quality.name
    genomes = explained.draw(space, np.random.default_rng([run.recipe.seed, STREAM]))
    flat = np.unique(genomes.reshape(-1, space.n_genes), axis=0)
    with (
        closing(session.hiring()(Task(tools.search, tools.names))) as workers,
        ScoreStore(run.folder / "stages.h5", tools.context) as store,
        session.show("measuring", len(flat)) as reporter,
    ):
        evaluator = Evaluator(space, store, workers)
        evaluator(flat, "sample", 0, reporter.step)
        column = tools.names.index(quality)
        values = np.array([evaluator.values(genome)[column] for genome in genomes.reshape(-1, space.n_genes)])
    if not np.isfinite(values).all():
        raise InputError("a subnet of the sample gave no finite score; train the supernet longer")
    found = explained.shares(values.reshape(genomes.shape[:3]), np.random.default_rng([run.recipe.seed, STREAM + 1]))
    log.info(
        f"{len(flat)} subnets: paths explain {found['path']:.0%} of the variance of {quality} (95 % interval "
        f"{found['path_low']:.0%} to {found['path_high']:.0%}), operators {found['operator']:.0%}, widths "
        f"{found['channel']:.0%}"
    )
    return {"rows": [{"quality": quality, "subnets": len(flat), **found}]}
