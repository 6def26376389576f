"""`study operators`, and `search --check-ranking`: how well shared scores predict networks trained alone."""

import logging
from dataclasses import replace
from typing import Any

import numpy as np

from evo_c2f.errors import InputError
from evo_c2f.files import write_text
from evo_c2f.json_text import to_json
from evo_c2f.runs.plots import draw_operators
from evo_c2f.runs.recipe import Recipe
from evo_c2f.runs.stage import read_survivors
from evo_c2f.scores import analysis
from evo_c2f.studies import operators, ranking, study
from evo_c2f.workflows.search import instruments
from evo_c2f.workflows.session import Session
from evo_c2f.workflows.studies.laboratory import checking, laboratory, shared_operators

log = logging.getLogger(__name__)

# Most rounds of training alone in `search --check-ranking`; never more than the supernet's.
CHECK_ROUNDS = 200
LEAST_NETWORKS = 6  # two in each third by MACs
OPERATOR_ROUNDS = 1500  # more, since the order of operators changes with the length


def operators_study(session: Session, n_costs: int) -> dict[str, Any]:
    """Train one network of each operator alone at several costs, and compare them with the run's shared scores."""
    run, settings = session.run, session.settings
    n_networks = len(operators.single_operator_networks(settings.space, n_costs)[0])
    if n_networks < LEAST_NETWORKS or len(settings.space.operators) < 3:
        raise InputError(
            f"{n_networks} networks of {len(settings.space.operators)} operators are too few to rank; take more "
            "--costs, or a space of at least three operators"
        )
    shared = shared_operators(session)
    workers, whole = session.hiring(), settings.finetune.rounds
    rounds = sorted({max(1, whole // 4), whole})
    labs = []
    for n in rounds:
        how = settings.finetune.model_copy(update={"rounds": n})
        labs.append(laboratory(replace(session, settings=settings.model_copy(update={"finetune": how})), workers))
    lengths = [(n, lab.alone(0)) for n, lab in zip(rounds, labs, strict=True)]
    with session.show("training alone", n_networks * len(rounds)) as reporter:
        store = run.folder / "operators.h5"
        frame = operators.study_operators(labs[-1], lengths, shared, n_costs, store, reporter.step)
    analysis.write_front(frame, run.folder / "operators.csv")
    draw_operators(frame, [f"alone_{n}" for n in rounds], run.folder / "operators.png")
    rows, summary = (
        operators.operators_table(labs[-1], frame, rounds),
        operators.operators_summary(labs[-1], frame, rounds),
    )
    return {"rows": rows, "summary": summary, "rounds": rounds}


def check_number(settings: Recipe, n: int) -> None:
    """InputError if `check_ranking` could not draw n subnets after the search."""
    space = settings.space
    # Of the paths that a search by stages will leave, the reference's alone is sure.
    ranking.candidates(space, n, np.random.default_rng(0), space.reference[None] if by_stage(settings) else None)


def by_stage(settings: Recipe) -> bool:
    """Whether no joint training comes first: then the supernet knows all operators only on the surviving paths."""
    return "joint" not in settings.training.stages


def check_ranking(session: Session, n: int) -> None:
    """Train n subnets alone for a few rounds. Write and log how well the search's order agrees, credit included."""
    run, how = session.run, session.run.recipe.training
    rounds = min(how.rounds, CHECK_ROUNDS)
    lab = checking(session, rounds)
    staged = by_stage(run.recipe)
    sample = study.Sample.draw(lab, n, 0, read_survivors(run, "operator") if staged else None)
    with session.show("checking the ranking", n) as reporter:
        frame = study.train_alone(lab, sample, run.folder / "alone.h5", reporter.step)
    tools = instruments(session, "operator" if staged else "path")
    found = study.check(lab, frame, sample.genomes, tools.search, run.recipe.search.macs_credit)
    log.info(
        f"ranking: tau {found['tau']:.2f} ({found['low']:.2f} to {found['high']:.2f}) between the search's order of "
        f"{n} subnets and theirs after {rounds} rounds alone; MACs by themselves come to {found['macs']:.2f}"
    )
    table: dict[str, Any] = {**found, "rounds": rounds}
    if len(lab.space.operators) > 3:  # with fewer, the order of the others says nothing
        table["operators"] = check_operators(session)
    write_text(run.folder / "ranking.json", to_json(table, indent=1) + "\n")


def check_operators(session: Session) -> dict[str, float]:
    """Train one network of each operator alone. Log and return how well the supernet distinguishes operators."""
    run = session.run
    rounds = min(run.recipe.training.rounds, OPERATOR_ROUNDS)
    lab, shared = checking(session, rounds), shared_operators(session)
    with session.show("checking the operators", len(lab.space.operators)) as reporter:
        lengths = [(rounds, lab.alone(0))]
        frame = operators.study_operators(lab, lengths, shared, 1, run.folder / "operators.h5", reporter.step)
    found = operators.sight(lab, frame, rounds)
    log.info(
        f"operators, without the reference: tau {found['tau_others']:.2f} between networks of one operator each and "
        f"theirs after {rounds} rounds alone; the supernet's {lab.quality} spreads over {found['spread']:.3g}, "
        f"training alone over {found['spread_alone']:.3g}"
    )
    if not operators.sees_operators(found):
        log.warning(
            "the supernet cannot tell operators apart, so the front's operators mean little; train the operator stage "
            "for longer (training.stages, training.stage_rounds) or on fewer paths (search.survivors)"
        )
    return {**found, "rounds": rounds}
