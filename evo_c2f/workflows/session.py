"""What every workflow works on: a run's folder, its settings, the torch side of both, and who hears of progress."""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial

import torch

from evo_c2f import lock
from evo_c2f.engine.problem import refuse_unreachable
from evo_c2f.errors import InputError
from evo_c2f.files import write_text
from evo_c2f.json_text import to_json
from evo_c2f.objectives.metric import Metric, wanted_metrics
from evo_c2f.runs import recipe as recipes
from evo_c2f.runs.recipe import Recipe, SuperResolutionRecipe, TranslationRecipe
from evo_c2f.runs.run import Run
from evo_c2f.versions import versions
from evo_c2f.workers.processes import Here, Processes, Task, Workers
from evo_c2f.workflows.machine import Machine
from evo_c2f.workflows.progress import Show, silent
from supernet.data.pair_data import PairData
from supernet.data.photographs import PhotographData
from supernet.data.record import read_record
from supernet.drawing.board import Board
from supernet.jobs.job import Data, Job, OnRound, OnSetback, choose_device
from supernet.metrics.tasks import SuperResolution, Translation
from supernet.metrics.tasks import Task as ImageTask
from supernet.ranks import ALONE, Ranks, join

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Session:
    """settings: the run's recipe, perhaps with other settings for this session."""

    run: Run
    settings: Recipe
    job: Job
    machine: Machine = Machine()
    show: Show = silent

    @property
    def ranks(self) -> Ranks:
        return self.job.ranks

    @property
    def first_quality(self) -> Metric:
        """The first objective, which decides between networks."""
        return self.settings.search.metrics()[0]

    @property
    def measured(self) -> list[str]:
        """The metrics that a search takes of every candidate."""
        return wanted_metrics(self.settings.search.metrics(), self.settings.search.limits())

    def in_subprocess(self) -> "Session":
        """The same for a process of its own, which leaves the progress to the first."""
        return replace(self, show=silent)

    def note_setting(self, stage: str) -> None:
        """Log what the run rests on from here: device, threads, versions."""
        device = f"{self.job.device}, {torch.get_num_threads()} threads"
        self.run.log("setting", stage=stage, device=device, baseline=self.job.task.baseline_name, versions=versions())

    @contextmanager
    def watching(self, title: str, rounds: int) -> Iterator[tuple[OnRound, OnSetback]]:
        """(on_round, on_setback) of a training: they show it, and log it in the run."""
        with self.show(f"training {title}", rounds) as reporter:
            smooth: float | None = None

            def on_round(index: int, loss: float) -> None:
                nonlocal smooth
                smooth = loss if smooth is None else 0.98 * smooth + 0.02 * loss
                if index % 100 == 0:
                    self.run.log("round", stage=title, index=index, loss=round(smooth, 6))
                reporter.update(index, f"loss {smooth:.4f}")

            def on_setback(index: int, trouble: str) -> None:
                self.run.log("setback", stage=title, index=index, trouble=trouble)
                consequence = "training goes back to its last good state, at half the learning rate"
                log.warning(f"round {index}: {trouble}; {consequence}")

            yield on_round, on_setback

    def hiring(self) -> Callable[[Task], Workers]:
        """Who measures the candidates of a search. InputError if latencies would be timed on a busy machine."""
        machine = self.machine
        if machine.workers == 1:
            return Here
        if "latency_ms" in self.measured and not self.settings.search.latency_table:
            raise InputError(
                "latency_ms is measured on a quiet machine alone; use one worker, or 'python cli.py bench "
                "--latency-table table.json' and --set search.latency_table=table.json"
            )
        threads = torch.get_num_threads()
        if machine.workers:
            return partial(Processes, machine.workers, threads=threads)
        from evo_c2f.workers.cluster import RayWorkers  # Ray is an extra

        return partial(RayWorkers, address=machine.ray_address, cpus=threads, gpus=machine.gpus_per_worker)


def open_session(run: Run, machine: Machine, show: Show, changes: Sequence[str] = (), ranks: Ranks = ALONE) -> Session:
    """On a run that was begun. changes: settings of this session, as 'key=value'."""
    settings = recipes.changed(run.recipe, tuple(changes))
    return Session(run, settings, make_job(settings, machine, ranks, run), machine, show)


def begin_training(find: Callable[[], Run], machine: Machine, show: Show, stack: ExitStack) -> Session:
    """On the run that `find` gives, claimed until the stack closes, once its recipe has proved to work.

    Several processes that train together all call this.
    """
    ranks = join(machine.devices, machine.device)
    run = ranks.from_first(find)

    def prepare() -> Session:
        ranks.part(run.recipe.data.batch)  # refused now, if it can't be dealt
        session = Session(run, run.recipe, make_job(run.recipe, machine, ranks, run), machine, show)
        session.job.check(run.recipe.training, session.measured, run.recipe.search.rescore)
        return session

    session = ranks.together(prepare)
    ranks.from_first(lambda: claim_with_record(session, stack))
    return session


def claim(run: Run, stack: ExitStack) -> None:
    """Be the run's only writer until the stack closes, and keep its recipe."""
    stack.enter_context(lock.writing(run.folder))
    run.keep_recipe()


def claim_with_record(session: Session, stack: ExitStack) -> None:
    """`claim`, and have the run remember its pictures and what each is for, unless it does."""
    run = session.run
    record = None if run.data_record.is_file() else session.job.data.record()
    claim(run, stack)
    if record:
        write_text(run.data_record, to_json(record))


def make_job(settings: Recipe, machine: Machine, ranks: Ranks = ALONE, run: Run | None = None) -> Job:
    """The torch side of a recipe, on the machine's device, or on that of these ranks.

    run: whose pictures must be those that it was begun with, and where its trainings are drawn, if asked.
    """
    torch.set_num_threads(machine.threads or max(1, cores() // (machine.workers or 1)))
    task, data = task_and_data(settings, run)
    job = Job(settings.space, task, data, settings.seed, choose_device(ranks.device or machine.device), ranks)
    if run and machine.tensorboard and ranks.first:
        job.board = Board(run.folder / "tensorboard", task, data.search, job.device)
    # What can't work is refused before hours of training.
    refuse_unreachable(settings.search.limits(), settings.space, job.costs(settings.search.output_size))
    if run and run.data_record.is_file():
        job.data.counts()  # reads them: missing ones are named before anything is written
    return job


def task_and_data(settings: Recipe, run: Run | None = None) -> tuple[ImageTask, Data]:
    """What the recipe's `task` and `data` stand for; of a run that was begun, the pictures of then."""
    known = read_record(run.data_record) if run else None
    if isinstance(settings, SuperResolutionRecipe):
        scale = settings.task.scale
        return SuperResolution(scale), PhotographData(settings.data, scale, settings.seed, log.warning, known)
    assert isinstance(settings, TranslationRecipe)
    return Translation(), PairData(settings.data, settings.seed, rendering, log.warning, known)


def rendering(done: int, total: int) -> None:
    if done % 500 == 0 or done == total:
        log.info(f"rendering OpenMoji {done}/{total}")


def cores() -> int:
    """That this process may use: a scheduler may have bound it to some."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
