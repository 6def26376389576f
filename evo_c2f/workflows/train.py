"""Trains a stage of a run's supernet, or a teacher from pictures without pairs."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from evo_c2f.errors import InputError
from evo_c2f.runs.run import RunFolder
from evo_c2f.space import STAGES, Stage, subnet_ids
from evo_c2f.workers.machine import Machine
from evo_c2f.workflows.session import Session, cores
from supernet import checkpoint
from supernet.jobs.job import StageTraining
from supernet.rounds.fairness import Ledger
from supernet.unpaired.training import UnpairedTraining

log = logging.getLogger(__name__)


def train(session: Session, stage: Stage) -> dict[str, Any]:
    """Train one stage of the run's supernet, unless that is done. Returns its checkpoint and the rounds trained now."""
    run, ranks = session.run, session.ranks
    target, settings = run.checkpoint(stage), run.recipe.training
    if stage not in settings.stages:
        raise InputError(f"the recipe has no training {stage}; its training.stages are {', '.join(settings.stages)}")
    if ranks.from_first(target.is_file):
        if not ranks.from_first(lambda: tell_other_survivors(run, stage)):
            log.info(f"{target} is there already; nothing to train")
        return {"checkpoint": str(target), "rounds": 0}
    survivors = start = None
    if stage not in ("joint", "path"):
        from evo_c2f.runs.stage import read_survivors  # with pymoo and pandas, which a first training doesn't need

        survivors = ranks.from_first(lambda: read_survivors(run, stage))
        before = STAGES[STAGES.index(stage) - 1]
        start = ranks.from_first(lambda: run.weights_for(before))
    rounds = settings.rounds if stage == settings.stages[0] else settings.stage_rounds
    space = run.recipe.space
    log.info(f"space: {space.n_subnets:,} subnets, {space.n_architectures:,} architectures")
    settings = settings.lasting(rounds)
    ranks.from_first(lambda: session.note_setting(stage))

    def finish(ledger: Ledger, seconds: float) -> None:
        run.write_ledger(stage, ledger.to_dict())
        unfair = ledger.unfair()
        run.log("trained", stage=stage, rounds=rounds, seconds=round(seconds, 1), unfair=unfair)
        if unfair:
            gaps = ", ".join(f"{name} {gap:,}" for name, gap in unfair.items())
            log.warning(f"sampler {settings.sampler} is not fair: updates of competing choices differ by up to {gaps}")

    with every_thread(session.machine), session.watching(stage, rounds) as (on_round, on_setback):
        work = StageTraining(stage, survivors, start)
        session.job.train(work, settings, target, finish, on_round, on_setback)
    return {"checkpoint": str(target), "rounds": rounds}


@contextmanager
def every_thread(machine: Machine) -> Iterator[None]:
    """All of the machine's threads: a training is one process, whichever number of workers measures later."""
    before = torch.get_num_threads()
    torch.set_num_threads(machine.threads or cores())
    try:
        yield
    finally:
        torch.set_num_threads(before)


def unpaired_training(session: Session, width: int, images: int, learning_rate: float) -> UnpairedTraining:
    """CycleGAN on the session's pictures. InputError if these are not of two domains without pairs, or too small."""
    job, data = session.job, session.settings.data
    if not job.data.unpaired:
        raise InputError(
            f"--unpaired is for translation, and takes a folder of trainA/, trainB/, testA/ and testB/; {data.folder} "
            "is no such one"
        )
    rounds = max(1, images // data.batch)
    training = UnpairedTraining(job, session.settings.training, width, images, rounds, learning_rate)
    training.learning()  # its discriminators may be too deep, which is told before the run is begun
    return training


def train_unpaired(session: Session, training: UnpairedTraining) -> dict[str, Any]:
    """Train it into the run's models/, unless that is done. Returns its files and the seconds that it took."""
    target = session.run.model("teacher")
    with session.watching("teacher", training.rounds) as (on_round, on_setback):
        seconds = training.run(target, on_round, on_setback)
    return {"model": str(target), "back": str(training.way_back(target)), "seconds": seconds}


def tell_other_survivors(run: RunFolder, training: str) -> bool:
    """Warn if a supernet was trained on other survivors than the previous front has now. Returns whether it was.

    False for a checkpoint of an older version, which doesn't store its survivors.
    """
    path = run.checkpoint(training)
    stage = next((stage for stage in STAGES[1:] if stage == training), None)
    if stage is None or not path.is_file():
        return False
    before = STAGES[STAGES.index(stage) - 1]
    if not run.front(before).is_file():
        return False
    from evo_c2f.runs.stage import read_survivors

    now, then = read_survivors(run, stage), checkpoint.load(path)[1].get("survivors")
    if now is None or then is None or set(then) == set(subnet_ids(now)):
        return False
    log.warning(
        f"{path} was trained on other survivors than the front of stage {before} has now; remove it, and train again"
    )
    return True
