"""`study ranking`, `fairness`, `search` and `stages`: how well supernets rank, how fast search strategies improve, and
how much of the quality paths, operators and widths explain.
"""

import logging
from collections.abc import Sequence
from contextlib import closing
from importlib.util import find_spec
from typing import Any

import numpy as np

from evo_c2f.contest import explained
from evo_c2f.errors import InputError
from evo_c2f.objectives.metric import Metric
from evo_c2f.runs.plots import draw_curves, draw_ranking
from evo_c2f.scores import analysis
from evo_c2f.scores.store import ScoreStore
from evo_c2f.studies import study
from evo_c2f.studies.strategies import STRATEGIES, Strategy, once_for_all
from evo_c2f.studies.study import Laboratory
from evo_c2f.workers.evaluator import Evaluator
from evo_c2f.workers.processes import Task
from evo_c2f.workflows.search import instruments
from evo_c2f.workflows.session import Session
from evo_c2f.workflows.studies.laboratory import laboratory, train_several

log = logging.getLogger(__name__)

STAGES_STREAM = 8  # of the seed


def ranking_study(
    session: Session, what: str, sizes: tuple[int, int], seeds: int, trainings: Sequence[str]
) -> dict[str, Any]:
    """Train architectures alone, and measure how well supernets rank them.

    what: 'ranking' for the recipe's training, 'fairness' for several. sizes: (architectures, how many of them are
    trained twice). trainings: those to compare, each with so many seeds; none: all. InputError if one is unknown, or a
    size too large.
    """
    lab, run = laboratory(session, session.hiring()), session.run
    planned = planned_trainings(lab, what, seeds, trainings)
    sample = study.Sample.draw(lab, *sizes)  # before hours of training, since it may be refused
    train_several(session, planned)
    with session.show("training alone", sum(sizes)) as reporter:
        frame = study.train_alone(lab, sample, run.folder / "alone.h5", reporter.step)
    rows = study.study_trainings(lab, frame, sample.genomes, planned, run.folder / "shared.h5")
    analysis.write_front(frame, run.folder / f"{what}.csv")
    shown = [f"{training} 0" for training in dict(planned)]
    draw_ranking(frame, f"alone_{lab.quality}_full", shown, run.folder / f"{what}.png")
    return {"rows": rows, "ceiling": study.ceiling(lab, frame), "trained_twice": sizes[1]}


def planned_trainings(lab: Laboratory, what: str, seeds: int, trainings: Sequence[str]) -> list[tuple[str, int]]:
    """(training, seed number) of each supernet of a study. InputError if a training is unknown."""
    trainings = trainings or (list(study.TRAININGS) if what == "fairness" else [study.own_training(lab)])
    for training in trainings:
        if training not in study.TRAININGS:
            raise InputError(f"no training is called {training!r}; choose from {', '.join(map(repr, study.TRAININGS))}")
    return [(training, number) for training in trainings for number in range(seeds)]


def usable_strategies(objectives: Sequence[Metric]) -> dict[str, Strategy]:
    """The strategies that can search here; a warning tells of each other."""
    usable = dict(STRATEGIES)
    if not find_spec("numba"):
        usable = {name: how for name, how in usable.items() if "AGE-MOEA" not in name}
        log.warning("AGE-MOEA is left out: it needs numba; run 'pip install numba'")
    if objectives[1].kind != "static cost":
        usable = {name: how for name, how in usable.items() if how is not once_for_all}
        log.warning(f"Once-for-All is left out: its limits are on a cost known beforehand, not on {objectives[1].name}")
    return usable


def search_study(session: Session, seeds: int) -> dict[str, Any]:
    """Let all strategies search the same supernet, and measure how fast each one's hypervolume grows."""
    lab, run = laboratory(session, session.hiring()), session.run
    search = run.recipe.search
    usable = usable_strategies(search.metrics())
    contest = study.Contest(usable, seeds, search.evaluations.joint, search.population)
    with session.show("searching", seeds * len(usable)) as reporter:
        frame = study.study_search(lab, search.metrics(), run.folder / "search.h5", contest, reporter.step)
    rows = study.search_table(frame, study.RIVAL)
    analysis.write_front(frame, run.folder / "search.csv")
    goal = next(row["final_median"] for row in rows if row["strategy"] == study.RIVAL)
    draw_curves(frame, goal, run.folder / "search.png")
    return {"rows": rows, "rival": study.RIVAL, "evaluations": contest.evaluations}


def stages_study(session: Session) -> dict[str, Any]:
    """Measure a nested sample with the run's joint weights, and tell the share of the variance by each kind of genes.

    InputError if the run has no joint weights: others know no operators or widths but their stage's.
    """
    run, space = session.run, session.settings.space
    tools, quality = instruments(session, "joint"), session.first_quality.name
    genomes = explained.draw(space, np.random.default_rng([run.recipe.seed, STAGES_STREAM]))
    flat = np.unique(genomes.reshape(-1, space.n_genes), axis=0)
    with (
        closing(session.hiring()(Task(tools.search, tools.names))) as workers,
        ScoreStore(run.folder / "stages.h5", tools.context) as store,
        session.show("measuring", len(flat)) as reporter,
    ):
        evaluator = Evaluator(space, store, workers, retry_failed=True)
        evaluator(flat, "sample", 0, reporter.step)
        column = tools.names.index(quality)
        values = np.array([evaluator.values(genome)[column] for genome in genomes.reshape(-1, space.n_genes)])
    if not np.isfinite(values).all():
        why = evaluator.reason(flat)
        cause = f"could not be measured ({why}); repeat this" if why else "gave no finite score; train longer"
        raise InputError(f"a subnet of the sample {cause}")
    found = explained.shares(
        values.reshape(genomes.shape[:3]), np.random.default_rng([run.recipe.seed, STAGES_STREAM + 1])
    )
    log.info(
        f"{len(flat)} subnets: paths explain {found['path']:.0%} of the variance of {quality} (95 % interval "
        f"{found['path_low']:.0%} to {found['path_high']:.0%}), operators {found['operator']:.0%}, widths "
        f"{found['channel']:.0%}"
    )
    return {"rows": [{"quality": quality, "subnets": len(flat), **found}]}
