"""The trainings and measures of the studies: networks alone, and supernets trained in several ways."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from math import nan
from pathlib import Path

import torch

from evo_c2f.scores.layout import Context
from evo_c2f.sections.training import FinetuneSection
from evo_c2f.studies.study import PLAIN, TRAININGS, Instrument, Laboratory
from evo_c2f.workers.processes import Task, Workers, in_processes
from evo_c2f.workflows.search import instruments, latency_table, protocol
from evo_c2f.workflows.session import Session
from supernet import checkpoint
from supernet.jobs.finetune import plan_of
from supernet.jobs.job import Job, StageTraining
from supernet.jobs.study import TrainedAlone, rounds_at_cost
from supernet.rounds.fairness import Ledger


def laboratory(session: Session, workers: Callable[[Task], Workers]) -> Laboratory:
    """A laboratory that trains networks alone by the settings' `finetune`, and supernets by `training`."""
    run, settings, job = session.run, session.settings, session.job
    size, quality = settings.search.output_size, session.first_quality.name
    about = partial(Context, settings.space.to_dict(), dataset=job.data.fingerprint)

    def alone(number: int) -> Instrument:
        again = replace(job, seed=job.seed + number, board=None)
        training = settings.for_finetuning()
        plan = plan_of(settings.finetune, training.losses, None)
        measure = TrainedAlone(again, training, plan, [quality], run.folder / "supernet")
        words = about(checkpoint="none", protocol=protocol_alone(again, settings.finetune))
        return Instrument(measure, tuple(measure.names), words, {})

    def shared(training: str, number: int) -> tuple[Instrument, dict[str, float]]:
        target, costs = train_shared(session, training, number)
        table = latency_table(session)
        measure = job.measure(job.trained(target), session.measured, size, table)
        context = about(checkpoint=checkpoint.fingerprint(target), protocol=protocol(session, table))
        return Instrument(measure, tuple(measure.names), context, measure.baseline()), costs

    ours = settings.training
    if ours.sampler == "widest_first":  # equal in the joint training, the only one in a study
        ours = ours.model_copy(update={"sampler": "fair_widest"})
    own = next((n for n, how in TRAININGS.items() if ours.model_copy(update={**PLAIN, **how}) == ours), None)
    return Laboratory(settings.space, job.costs(size), quality, job.seed, own, alone, shared, workers)


def protocol_alone(job: Job, how: FinetuneSection) -> str:
    """How networks are trained alone and scored, in words."""
    # Scores of the CPU, of older versions too, don't name it. On a GPU the precision is another.
    where = "" if job.device.type == "cpu" else f" on {job.device.type}"
    return f"{job.task.protocol()}; trained alone with seed {job.seed} by {how.model_dump_json()}{where}"


def checking(session: Session, rounds: int) -> Laboratory:
    """A laboratory that trains alone for this number of rounds, by the supernet's optimizer and learning rate."""
    how = session.settings.training
    short = FinetuneSection(
        rounds=rounds, optimizer=how.optimizer, learning_rate=how.learning_rate, final_rate=0.01, ema=0.99
    )
    return laboratory(
        replace(session, settings=session.settings.model_copy(update={"finetune": short})), session.hiring()
    )


def shared_operators(session: Session) -> Instrument:
    """The run's weights for the operator stage, as a study's instrument."""
    tools = instruments(session, "operator")
    return Instrument(tools.search, tools.names, tools.context, tools.baseline)


def train_shared(session: Session, training: str, number: int) -> tuple[Path, dict[str, float]]:
    """Train a study's supernet, unless it exists, with the run's seed plus `number`. Returns its file and its costs."""
    run, settings, job = session.run, session.run.recipe, session.job
    again, name = replace(job, seed=job.seed + number), shared_name(training, number)
    target = run.checkpoint(name)
    if not target.is_file():
        how = settings.training.model_copy(update={**PLAIN, **TRAININGS[training]})
        rounds, macs = rounds_at_cost(again, how.sampler, how.rounds)
        costs = {"rounds": rounds, "forward_gmacs": macs * settings.data.batch / 1e9}

        def finish(ledger: Ledger, seconds: float) -> None:
            run.log("trained", stage=name, **costs, seconds=seconds)

        with session.watching(name, rounds) as (on_round, on_setback):
            how = how.lasting(rounds)
            again.train(StageTraining("joint"), how, target, finish, on_round, on_setback)
    line = run.last("trained").get(name, {})  # a damaged log may have been moved away
    return target, {key: line.get(key, nan) for key in ("rounds", "forward_gmacs", "seconds")}


def shared_name(training: str, number: int) -> str:
    return f"{training.replace(', ', '-')}-{number}"


def train_several(session: Session, planned: Sequence[tuple[str, int]]) -> None:
    """Train a study's supernets (training, number), before any scoring: training needs no store."""
    n_processes = session.machine.workers or 1
    if n_processes == 1:
        for training, number in planned:
            train_shared(session, training, number)
        return
    missing = [which for which in planned if not session.run.checkpoint(shared_name(*which)).is_file()]
    work = [(session.in_subprocess(), *which) for which in missing]
    with session.show("training supernets", len(work)) as reporter:
        for _ in in_processes(n_processes, torch.get_num_threads(), train_shared, work):
            reporter.step()
