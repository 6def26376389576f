"""Searches a run's supernet: one stage, or everything from training to the final front."""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from functools import cache, partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from evo_c2f.engine.search import Progress
from evo_c2f.errors import InputError
from evo_c2f.json_text import to_json
from evo_c2f.objectives.metric import FULL, INT8, Metric
from evo_c2f.runs.recipe import evaluations
from evo_c2f.runs.run import judged_teacher, read_log
from evo_c2f.runs.stage import Instruments, Summary, run_stage
from evo_c2f.scores.layout import Context
from evo_c2f.scores.store import Row
from evo_c2f.space import STAGES, Architecture, Stage
from evo_c2f.workers.processes import Measure, Task, Workers
from evo_c2f.workflows.session import Session
from evo_c2f.workflows.train import train
from supernet import checkpoint
from supernet.batches.ahead import CPU
from supernet.formats.int8 import Pairs, calibration, require_quantiser, score_int8
from supernet.latency.table import describe, measure_table
from supernet.metrics import qualities
from supernet.models.measure import Score
from supernet.network.generator import Supernet

log = logging.getLogger(__name__)


def search(session: Session, on_stage: Callable[[], None] = lambda: None) -> list[Summary]:
    """Train the supernet and search the three stages. Returns each stage's summary.

    on_stage: called after each stage. If several processes train together, only the first one searches and calls it.
    """
    hire, trainings = session.hiring(), session.run.recipe.training.stages
    session.ranks.from_first(lambda: judge_teacher(session))
    if "joint" in trainings:
        train(session, "joint")
    summaries = []
    for stage in STAGES:
        if stage in trainings:
            train(session, stage)
        seed = session.run.recipe.seed
        summaries.append(session.ranks.from_first(partial(evolve, session, stage, seed, hire)))
        if session.ranks.first:
            on_stage()
    return summaries


def judge_teacher(session: Session) -> None:
    """Log the qualities of the run's teacher on the held-out images, once a run, and say how it compares."""
    run, job, first, digest = session.run, session.job, session.first_quality, session.settings.teacher.digest
    if job.judged_teacher is None or judged_teacher(read_log(run.log_file), digest):
        return
    n_whole = job.data.counts()[1][0]  # by which a Frechet distance is named there
    names = {name: qualities.for_count(name, n_whole) for name in (first.name, *session.rescored)}
    score, full = job.score([first.name]), job.score(list(dict.fromkeys(names.values())), full=True)
    found = full.of(job.judged_teacher)
    on_whole = {f"{name}{FULL}": found[whole] for name, whole in names.items()}
    metrics, words = score.of(job.judged_teacher) | on_whole, job.judged_teacher.words
    run.log("teacher", file=session.settings.teacher.file, digest=digest, words=words, metrics=metrics)
    mine, base = metrics[first.name], score.baseline()[first.name]
    compared = f"teacher: {first.name} {mine:.5g}, {job.task.baseline_name} {base:.5g}"
    if first.sign * mine < first.sign * base:
        log.info(compared)
    else:
        log.warning(f"{compared}: the teacher is no better, and what learns from it can hardly be")


def evolve(
    session: Session, stage: Stage, seed: int, hire: Callable[[Task], Workers], retry_failed: bool = False
) -> Summary:
    """Search one stage, and log its result. hire: starts the workers; retry_failed: measure failed subnets again."""
    run, settings = session.run, session.settings
    tools = replace(instruments(session, stage), hire=hire, retry_failed=retry_failed)
    session.note_setting(stage)
    if settings.search.steady_state and settings.search.screen > 1:
        log.warning("a steady-state search has no surrogate: search.screen is not used")
    with session.show(f"evolving {stage}", evaluations(settings, stage)) as reporter:

        def on_progress(progress: Progress) -> None:
            best = ", ".join(f"{name} {value:.5g}" for name, value in progress.best.items())
            known = f", best {best}" if best else ""
            note = f"generation {progress.generation}{known}, hypervolume {progress.hypervolume:.4f}"
            reporter.update(progress.asked, note)

        def on_front(done: int, total: int) -> None:
            reporter.update(reporter.total, f"the front on whole images: {done} of {total}")

        searched, start = replace(run, recipe=settings), time.perf_counter()
        try:
            summary = run_stage(searched, stage, tools, seed, on_progress, on_front)
        except KeyboardInterrupt:  # the next sitting logs its own seconds
            run.log("interrupted", stage=stage, seconds=time.perf_counter() - start)
            raise
        objectives = [o.name for o in settings.search.metrics()]
        # Before a Ctrl-C is heard, at the end of `show`: a front without its line counts as older than the others.
        run.log("evolved", objectives=objectives, **{k: v for k, v in asdict(summary).items() if k != "front"})
    log.info(
        f"{stage}: {summary.asked} subnets asked for, {summary.measured} measured, front of {len(summary.front)}; "
        f"hypervolume {summary.hypervolume_before:.4f} -> {summary.hypervolume:.4f}; "
        f"{summary.seconds:.1f} s, {summary.overhead:.2%} of it the search's own"
    )
    tell_int8(summary.front, session.first_quality)
    return summary


def latency_table(session: Session) -> Path | None:
    """The file of the table that a search's latencies are summed from; None if it has no such objective or limit.

    Unless the recipe names one, it is made in the run's folder, and named by what it holds for. InputError if the task
    has no plain network to state a ratio to.
    """
    job, search = session.job, session.settings.search
    given, size = search.latency_table, search.output_size
    if not {"latency_ms", "latency_ratio"} & {*session.measured}:
        return None
    if "latency_ratio" in session.measured and not job.task.frame.residual:
        raise InputError("latency_ratio names super-resolution's plain network; take latency_ms for another task")
    if given:
        return Path(given)
    about = to_json(describe(job.space, job.task.frame, size, job.device))
    file = session.run.folder / f"latency-{sha256(about.encode()).hexdigest()[:8]}.json"
    if not file.exists():
        log.info(f"timing each part of the space at {size[1]}x{size[0]}, for latencies; leave the machine quiet")
        measure_table(job.space, job.task.frame, size, job.device).save(file)
    return file


def protocol(session: Session, table: Path | None) -> str:
    """How subnets are scored, by a search and by a study. table: of the latencies."""
    job, (height, width) = session.job, session.settings.search.output_size
    device = f"{job.device}, {torch.get_num_threads()} threads, float32"
    if table:
        device += f", latency by table {checkpoint.fingerprint(table)}"
    return f"{job.task.protocol()}; costs at {height}x{width}; {device}"


def instruments(session: Session, stage: Stage) -> Instruments:
    """The measures of a stage's search: the run's weights on the validation images."""
    job, settings = session.job, session.settings
    weights = session.run.weights_for(stage)
    supernet = job.trained(weights)
    names, size = session.measured, settings.search.output_size
    table = latency_table(session)
    measure = job.measure(supernet, names, size, table)
    full = job.full_measure(supernet, list(dict.fromkeys([*names, *session.rescored])), size)
    is_last = not job.space.still_open(stage).any()
    int8, int8_names = int8_measure(session, supernet) if settings.search.int8 and is_last else (None, ())
    context = Context(
        settings.space.to_dict(), checkpoint.fingerprint(weights), job.data.fingerprint, protocol(session, table)
    )
    return Instruments(
        measure,
        tuple(measure.names),
        full,
        tuple(full.names),
        measure.baseline() | full.baseline(),
        job.costs(size),
        context,
        int8=int8,
        int8_names=int8_names,
    )


def int8_measure(session: Session, supernet: Supernet) -> tuple[Measure, tuple[str, ...]]:
    """The measure of a final front in 8 bits, and its metrics: the objectives' qualities, and the file's size.

    Training pictures calibrate it; they are read for the first network.
    """
    require_quantiser()
    job = session.job
    names = [o.name for o in session.settings.search.metrics() if o.kind == "quality"]

    @cache
    def prepared() -> tuple[Score, Pairs]:
        with closing(job.batches(0)) as batches:
            pairs = calibration(batches, job.task.frame.output_channels)
        return Score(job.task, job.data.full(), names, CPU, INT8 + FULL, job.data.reals("full")), pairs

    def measure(architectures: Sequence[Architecture]) -> list[Row]:
        return [score_int8(supernet.extract(architecture), *prepared()) for architecture in architectures]

    return measure, (*(name + INT8 + FULL for name in names), "size_mb" + INT8)


def tell_int8(front: Sequence[dict[str, Any]], first: Metric) -> None:
    """Say what a final front loses in 8 bits, in the quality that decides, and which of it is then the best."""
    whole, quantised = first.name + FULL, first.name + INT8 + FULL
    rows = [row for row in front if row.get(quantised) is not None]
    if rows:
        lost = [first.sign * (row[quantised] - row[whole]) for row in rows]
        best = min(rows, key=lambda row: first.sign * row[quantised])
        log.info(
            f"in 8 bits, {len(rows)} of the front lose {min(lost):.4g} to {max(lost):.4g} of {first.name}; the best is "
            f"then {best['id']}, of {best['size_mb' + INT8]:.3g} MB"
        )
