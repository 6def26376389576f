"""The common context of all workflows: a run, its settings, its job, the machine, and the progress display."""

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
from evo_c2f.runs.run import RunFolder
from evo_c2f.versions import versions
from evo_c2f.workers.machine import Machine
from evo_c2f.workers.processes import Here, Processes, Task, Workers
from evo_c2f.workflows.progress import Show, silent
from supernet.data.pair_data import PairData
from supernet.data.photograph_data import PhotographData
from supernet.device import choose_device
from supernet.drawing.board import Board
from supernet.formats.int8 import require_quantiser
from supernet.jobs.job import Data, Job, OnRound, OnSetback
from supernet.latency.exported import runtime
from supernet.layouts.index import Index
from supernet.layouts.record import read_record
from supernet.metrics.qualities import named_by_count
from supernet.metrics.tasks import SuperResolution, Translation
from supernet.metrics.tasks import Task as ImageTask
from supernet.ranks import ALONE, Ranks, join, told_by_another
from supernet.teachers import opening
from supernet.teachers.bringing import SAMPLES, bring

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Session:
    """A run, with its job, its machine and its progress display.

    settings: the run's recipe, perhaps changed for this session.
    """

    run: RunFolder
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
        """The metrics that a search measures for every candidate."""
        return wanted_metrics(self.settings.search.metrics(), self.settings.search.limits())

    @property
    def rescored(self) -> list[str]:
        """The further qualities of the final front."""
        return named_by_count(self.settings.search.rescore, self.job.data.counts()[1][0])

    def alone(self) -> "Session":
        """The same once the other processes have ended."""
        return replace(self, job=replace(self.job, ranks=ALONE))

    def in_subprocess(self) -> "Session":
        """The same session for a subprocess; only the parent process shows progress."""
        return replace(self, show=silent)

    def note_setting(self, stage: str) -> None:
        """Log the conditions of the next results: device, threads, versions."""
        device = f"{self.job.device}, {torch.get_num_threads()} threads"
        self.run.log("setting", stage=stage, device=device, baseline=self.job.task.baseline_name, versions=versions())

    @contextmanager
    def watching(self, title: str, rounds: int) -> Iterator[tuple[OnRound, OnSetback]]:
        """Callbacks (on_round, on_setback) for a training: they show its progress, and log it in the run."""
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
        """The constructor of a search's workers. InputError if several workers would time latencies at once."""
        machine = self.machine
        if machine.workers == 1:
            return Here
        if "latency_torch_ms" in self.measured:
            raise InputError("latency_torch_ms is measured on a quiet machine alone; use one worker, or latency_ms")
        threads = torch.get_num_threads()
        if machine.workers:
            return partial(Processes, machine.workers, threads=threads)
        from evo_c2f.workers.cluster import RayWorkers, answering  # Ray is an extra

        answering(machine.ray_address)  # else it is refused only after the training
        return partial(RayWorkers, address=machine.ray_address, cpus=threads, gpus=machine.gpus_per_worker)


def open_session(
    run: RunFolder,
    machine: Machine,
    show: Show,
    changes: Sequence[str] = (),
    ranks: Ranks = ALONE,
    teacher: str | None = None,
) -> Session:
    """A session on an existing run. changes: settings for this session, as 'key=value'; teacher: to learn from."""
    settings, named = recipes.changed(run.recipe, tuple(changes)), named_teacher(teacher)
    settings = settings.with_teacher(*named) if named else settings
    return Session(run, settings, make_job(settings, machine, ranks, run), machine, show)


def open_together(
    find: Callable[[], RunFolder], machine: Machine, show: Show, changes: Sequence[str], teacher: str | None = None
) -> Session:
    """A session on the run that `find` gives, in every process that trains with others. changes, teacher: as above."""
    ranks = join(machine.devices, machine.device)
    run = ranks.from_first(find)
    return ranks.together(lambda: open_session(run, machine, show, changes, ranks, teacher))


def is_silent(devices: int | None) -> bool:
    """Whether another process, which trains with this one, tells people all that this one would."""
    return told_by_another(devices)


def begin_training(find: Callable[[], RunFolder], machine: Machine, show: Show, stack: ExitStack) -> Session:
    """A session on the run that `find` returns. The recipe is checked; then the run is claimed until the stack closes.

    If several processes train together, all of them call this.
    """
    ranks = join(machine.devices, machine.device)
    run = ranks.from_first(find)

    def prepare() -> Session:
        ranks.part(run.recipe.data.batch)  # InputError if the batch can't be divided among the processes
        session = Session(run, run.recipe, make_job(run.recipe, machine, ranks, run), machine, show)
        session.job.check(run.recipe.training, session.measured, session.rescored)
        if run.recipe.search.int8:
            require_quantiser()
        if run.recipe.search.algorithm == "agemoea":
            from evo_c2f.engine.algorithms import agemoea  # with pymoo, which a training doesn't need

            agemoea()
        if {"latency_ms", "latency_ratio"} & {*session.measured}:
            runtime(session.job.device)  # InputError before a training, not after it
        return session

    session = ranks.together(prepare)
    ranks.from_first(lambda: claim_with_record(session, stack))
    return session


def claim(run: RunFolder, stack: ExitStack) -> None:
    """Become the run's only writer until the stack closes, and store its recipe."""
    stack.enter_context(lock.writing(run.folder))
    run.keep_recipe()


def claim_with_record(session: Session, stack: ExitStack) -> None:
    """`claim`, and write what is known of the run's pictures, and the record of their use, unless it exists."""
    run = session.run
    record = None if run.data_record.is_file() else session.job.data.record()
    claim(run, stack)
    session.job.data.index.save()
    if record:
        write_text(run.data_record, to_json(record))


def make_job(settings: Recipe, machine: Machine, ranks: Ranks = ALONE, run: RunFolder | None = None) -> Job:
    """The job of a recipe, on the device of the ranks if they have one, else on the machine's.

    run: its record selects the pictures, and its folder takes the TensorBoard files, if wanted. InputError if a picture
    is missing, or if no network meets the limits.
    """
    torch.set_num_threads(machine.threads or max(1, cores() // (machine.workers or 1)))
    task, data = task_and_data(settings, run)
    job = Job(settings.space, task, data, settings.seed, choose_device(ranks.device or machine.device), ranks)
    if run and machine.tensorboard and ranks.first:
        job.board = Board(run.folder / "tensorboard", task, data.search, job.device)
    if run and settings.teacher.file:
        bring_teacher(settings, job, run)
    elif run and settings.data.target == "teacher":  # what serves no run needs none
        raise InputError("data.target is teacher, and none is named; name one with --teacher FILE")
    # Refuse what can't work now, not after hours of training.
    refuse_unreachable(settings.search.limits(), settings.space, job.costs(settings.search.output_size))
    if run and run.data_record.is_file():
        job.data.counts()  # finds the pictures: InputError for missing ones before anything is written
    return job


def named_teacher(name: str | None) -> tuple[str, str] | None:
    """(file, hash of its content) of the teacher with that name, for a recipe. InputError if there is none."""
    if name is None:
        return None
    place = opening.place_of(name)
    return place, opening.digest_of(place)


def bring_teacher(settings: Recipe, job: Job, run: RunFolder) -> None:
    """Give the job its teacher, tried on its images, and the teacher's outputs to learn from."""
    data, alone = job.data, settings.data.target == "teacher"
    job.teacher, data.taught = bring(
        settings.teacher, data.samples(SAMPLES), job.task, alone, run.folder / "teacher", job.device, log.warning
    )
    if job.ranks.first:
        log.info(f"teacher {settings.teacher.file}: {job.teacher.words}")


def task_and_data(settings: Recipe, run: RunFolder | None = None) -> tuple[ImageTask, Data]:
    """The objects for the recipe's `task` and `data`. run: if it has a record, the pictures are those of the record."""
    known = read_record(run.data_record) if run else None
    index = Index(settings.data.folder or "", run.data_index if run else None)
    if isinstance(settings, SuperResolutionRecipe):
        scale, n = settings.task.scale, settings.task.channels
        photographs = PhotographData(settings.data, scale, settings.seed, log.warning, known, index=index, channels=n)
        return SuperResolution(scale, n), photographs
    assert isinstance(settings, TranslationRecipe)
    channels = settings.task.input_channels, settings.task.output_channels
    return Translation(*channels, settings.task.bounded), PairData(
        settings.data, settings.seed, rendering, log.warning, known, index=index, channels=channels
    )


def rendering(done: int, total: int) -> None:
    if done % 500 == 0 or done == total:
        log.info(f"rendering OpenMoji {done}/{total}")


def cores() -> int:
    """The number of CPU cores that this process may use; a scheduler may restrict it to some."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
