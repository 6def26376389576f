"""The command line: fair supernet training and coarse-to-fine search of small image generators."""

import errno
import io
import logging
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from functools import cache, partial
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import rich_click as click
from click import get_current_context
from rich.console import Console

from evo_c2f import __version__, lock
from evo_c2f.commands import models as commands
from evo_c2f.commands.progress import reporting
from evo_c2f.errors import DamagedFileError, FailedError, InputError
from evo_c2f.files import write_text
from evo_c2f.json_text import to_json
from evo_c2f.runs import recipe, sections
from evo_c2f.runs.recipe import Recipe
from evo_c2f.runs.run import Run
from evo_c2f.space import STAGES, Stage, subnet_id
from evo_c2f.tables import in_short, markdown, print_front

if TYPE_CHECKING:
    from torch import nn

    from evo_c2f.engine.search import Progress
    from evo_c2f.objectives.metric import Limit, Metric
    from evo_c2f.runs.fronts import Front
    from evo_c2f.runs.stage import Instruments, Summary
    from evo_c2f.space import Genomes
    from evo_c2f.studies.study import Instrument, Laboratory
    from evo_c2f.workers.processes import Task, Workers
    from supernet.jobs.comparison import Comparison
    from supernet.jobs.contestants import Contestant
    from supernet.jobs.finetune import Finetuning
    from supernet.jobs.job import Data, Job, OnRound, OnSetback
    from supernet.metrics.tasks import Task as ImageTask
    from supernet.rounds.fairness import Ledger
    from supernet.training.ranks import Ranks

    Found = tuple[Stage, Genomes]  # a subnet, and the stage whose weights scored it

console = Console(stderr=True)  # for people; what programs read goes to standard output
DEFAULT_RECIPE = "quick"
# Of training alone, in `search --check-ranking`; never more than the supernet's own.
CHECK_ROUNDS = 200
OPERATOR_ROUNDS = 1500  # the order of operators changes with the length
RANDOM_NETWORKS = 7  # the stream of the seed that draws the random networks of `study winners`
FILL = 0.75  # the least share of a size that a searched network uses in `study winners`


def n_workers(context: click.Context, parameter: click.Parameter, value: str) -> int | None:
    """The number of processes; None for those of Ray."""
    return None if value == "ray" else click.IntRange(min=1)(value, parameter, context)


def within_run(context: click.Context, parameter: click.Parameter, value: str) -> str:
    """A folder's name that stays within the run."""
    parts = Path(value).parts
    if not parts or ".." in parts or Path(value).is_absolute():
        raise click.BadParameter(f"{value!r} is no folder within the run; name one such as models/small")
    return value


PATH = click.Path(path_type=Path)
OPTIONS = {
    "recipe": click.option("--recipe", help="A recipe by name, or a .yaml file.  [default: quick]"),
    "data": click.option("--data", type=PATH, help="A folder of photographs to train on."),
    "moved": click.option("--data", type=PATH, help="The run's pictures, where they were moved."),
    "run": click.option("--run", type=PATH, help="The run's folder.  [default: results/<recipe>]"),
    "set": click.option("--set", multiple=True, metavar="KEY=VALUE", help="A setting: training.rounds=500."),
    "seed": click.option("--seed", type=click.IntRange(min=0), help="Where all random draws start."),
    "objective": click.option("--objective", multiple=True, help="A metric to search on; repeat it."),
    "candidates": click.option(
        "--candidates",
        type=click.IntRange(min=1),
        default=16,
        show_default=True,
        help="Subnets of the search that are tried, of all depths and operators.",
    ),  # fmt: skip
    "trial_images": click.option(
        "--trial-images",
        type=click.IntRange(min=1),
        default=3200,
        show_default=True,
        help="Images that the last candidates are trained on; the first see a quarter of them.",
    ),  # fmt: skip
    "max": click.option("--max", multiple=True, metavar="METRIC=VALUE", help="An upper limit: size_mb=1.49."),
    "min": click.option("--min", multiple=True, metavar="METRIC=VALUE", help="A lower limit: psnr_y=25."),
    "evaluations": click.option("--evaluations", type=click.IntRange(min=1), help="Distinct subnets a stage asks for."),
    "algorithm": click.option(
        "--algorithm", type=click.Choice(get_args(sections.AlgorithmName)), help="pymoo's optimiser.  [default: nsga2]"
    ),  # fmt: skip
    "device": click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, ..."),
    "threads": click.option("--threads", type=click.IntRange(min=1), help="CPU threads.  [default: all cores]"),
    "workers": click.option(
        "--workers",
        default="1",
        show_default=True,
        metavar="N|ray",
        callback=n_workers,
        help="Processes that measure subnets; ray: as many as a Ray cluster has room for.",
    ),  # fmt: skip
    "ray_address": click.option("--ray-address", metavar="ADDR", help="A running cluster's.  [default: this machine]"),
    "gpus_per_worker": click.option(
        "--gpus-per-worker",
        type=click.FloatRange(min=0),
        default=0.0,
        show_default=True,
        help="Of Ray's workers; 0.5: two share one.",
    ),  # fmt: skip
    "steady_state": click.option("--steady-state", is_flag=True, help="Let no worker wait for a generation to end."),
    "devices": click.option(
        "--devices", type=click.IntRange(min=1), help="Processes that train together, one a GPU.  [default: 1]"
    ),
    "tensorboard": click.option("--tensorboard", is_flag=True, help="Draw the training in <run>/tensorboard."),
    "json": click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on standard output."),
}
PORT = click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="Of the page.")
SEARCHING = ("objective", "max", "min", "evaluations", "algorithm", "steady_state")
MEASURING = ("workers", "ray_address", "gpus_per_worker")
RUNNING = ("device", "threads")
Given = dict[str, Any]  # a command's options, by name


def options(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The named ones of OPTIONS on a command."""

    def add(command: Callable[..., None]) -> Callable[..., None]:
        for name in reversed(names):
            command = OPTIONS[name](command)
        return command

    return add


@click.group()
@click.command_panel("Search", commands=["search", "train-supernet", "evolve", "front", "report"])
@click.command_panel("From a front to a model", commands=["finetune", "evaluate", "export", "apply"])
@click.command_panel("Compare", commands=["benchmark", "compare", "train-teacher", "study"])
@click.command_panel("Data, files and machines", commands=["data", "verify", "bench"])
@click.version_option(__version__, prog_name="evo-c2f")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Search small image generators: train a supernet fairly, then evolve paths, operators and channels."""


@cli.command("train-supernet")
@options("recipe", "data", "run", "set", "seed", *RUNNING, "devices", "tensorboard", "json")
@click.option("--stage", type=click.Choice(["joint", *STAGES]),
              help="One of the recipe's training.stages.  [default: the first]")  # fmt: skip
def train_command(stage: Stage | None, as_json: bool, **given: Any) -> None:
    """Train the supernet in fair rounds; a warning says where the recipe's sampler is not fair."""
    run, job = begin_training(given)
    done = train(run, stage or run.recipe.training.stages[0], job)
    if as_json and job.ranks.first:
        click.echo(to_json(done))


@cli.command("evolve")
@options("recipe", "moved", "run", "set", "seed", *SEARCHING, *MEASURING, *RUNNING, "json")
@click.option("--stage", type=click.Choice([*STAGES, "all", "joint"]), required=True,
              help="all: the three in order; joint: all genes at once, to compare with.")  # fmt: skip
@click.option("--retry-failed", is_flag=True, help="Measure those again that failed (not finite, memory, time).")
def evolve_command(stage: str, retry_failed: bool, as_json: bool, **given: Any) -> None:
    """Search one stage with NSGA-II, starting from the front of the stage before."""
    run = open_run(given)
    lock.wait_for_readers(run.scores, lock.PATIENCE_WITH_READERS)  # later, a search waits as long as it takes
    stages: tuple[Stage, ...] = STAGES if stage == "all" else (stage,)  # type: ignore[assignment]
    settings = recipe.changed(run.recipe, (*given["set"], *search_changes(given, stages)))
    job = make_job(settings, given, run=run)
    hire = hiring(given, settings)
    claim(run)
    seed = settings.seed if given["seed"] is None else given["seed"]
    summaries = []
    for each in stages:
        tell_other_survivors(run, run.weights_for(each).stem)
        summaries.append(evolve(run, settings, each, job, seed, hire, retry_failed))
    if as_json:
        click.echo(to_json([asdict(summary) for summary in summaries]))


@cli.command("search")
@options("recipe", "data", "run", "set", "seed", *SEARCHING, *MEASURING, *RUNNING, "devices", "tensorboard", "json")
@click.option("--check-ranking", type=click.IntRange(min=8), metavar="N",
              help="Train N subnets and one of each operator alone; does the supernet rank them so?")  # fmt: skip
@click.option("--live", is_flag=True, help="Serve the run's page on this machine meanwhile.")
@PORT
def search_command(check_ranking: int | None, as_json: bool, live: bool, port: int, **given: Any) -> None:
    """Train the supernet and search the three stages, in one; at the end the page, report.html."""
    from evo_c2f.runs import fronts
    from supernet.training.ranks import ALONE

    run, job = begin_training(given)
    if live and job.ranks.first:
        show_live(run, port)
    hire = hiring(given, run.recipe)
    trainings = run.recipe.training.stages
    if "joint" in trainings:
        train(run, "joint", job)
    summaries = []
    for stage in STAGES:
        if stage in trainings:
            train(run, stage, job)
        summaries.append(job.ranks.from_first(partial(evolve, run, run.recipe, stage, job, run.recipe.seed, hire)))
        if live and job.ranks.first:
            draw_pictures(run, job)
    if not job.ranks.first:
        return
    job = replace(job, ranks=ALONE)  # the others have gone
    conclude(summaries, job.task.baseline_name)
    draw_samples(run, job, fronts.latest(run))
    draw_pictures(run, job)
    write_report(run)
    if check_ranking:
        tell_ranking(run, job, check_ranking)
    commands.tell(f"next: python cli.py finetune --run {shlex.quote(str(run.folder))} trains one of the front alone")
    if as_json:
        click.echo(to_json([asdict(summary) for summary in summaries]))


@cli.command("front")
@options("recipe", "run", "json")
@click.option("--stage", type=click.Choice([*STAGES, "joint"]), help="[default: the latest searched]")
@click.option("--csv", type=PATH, help="Write it as CSV.")
@click.option("--parquet", type=PATH, help="Write it as parquet (needs pyarrow).")
def front_command(as_json: bool, stage: Stage | None, csv: Path | None, parquet: Path | None, **given: Any) -> None:
    """The Pareto front of a run as a table."""
    from evo_c2f.runs import fronts
    from evo_c2f.scores import analysis

    frame = fronts.latest(open_run(given), stage).frame.drop(columns=["genome"])
    if csv:
        frame.to_csv(csv, index=False)
    if parquet:
        try:
            frame.to_parquet(parquet)
        except ImportError:
            raise InputError("--parquet needs pyarrow; run 'pip install pyarrow'") from None
    if as_json:
        click.echo(to_json(analysis.records(frame)))
    elif not (csv or parquet):
        print_front(Console(), analysis.records(frame))


@cli.command("report")
@options("recipe", "moved", "run", *RUNNING)
@click.option("--serve", is_flag=True, help="Serve the page on this machine while the run goes on; Ctrl-C ends it.")
@PORT
def report_command(serve: bool, port: int, **given: Any) -> None:
    """A run as one page, <run>/report.html: fronts, subnets with pictures, ledger, gene effects, costs."""
    run = open_run(given)
    if serve:
        from evo_c2f.page.server import open_server

        with open_server(run, port) as server, suppress(KeyboardInterrupt):
            commands.tell(f"{server.url} shows {run.folder}; Ctrl-C ends it")
            server.serve_forever()
        return
    try:
        draw_pictures(run, make_job(run.recipe, given, run=run))
    except (InputError, DamagedFileError) as error:
        commands.warn(f"the page has no new pictures: {error}")
    write_report(run)


@cli.command("verify")
@click.argument("run", type=PATH)
@options("json")
def verify_command(run: Path, as_json: bool) -> None:
    """Whether the files of the run are as they were written, and what to do where one is not (then the exit code is 1).

    Text, such as pages and cards, can't be checked, and is named.
    """
    from evo_c2f.runs.verify import verify
    from supernet import checkpoint
    from supernet.models.seal import check_export

    readers: dict[str, Callable[[Path], object]] = dict.fromkeys(
        (".onnx", ".pt2"), partial(check_export, warn=commands.warn)
    )
    readers[".safetensors"] = checkpoint.load
    findings = list(verify(run, readers))
    faults = [finding.fault for finding in findings if finding.fault]
    if as_json:
        click.echo(to_json([{"file": str(f.path), "fault": f.fault, "checked": f.checked} for f in findings]))
    else:
        others = [str(finding.path) for finding in findings if not finding.checked]
        not_checked = [f"{len(others)} files were not checked: {', '.join(others)}"] if others else []
        total = f"{len(findings) - len(others)} files were read, {len(faults)} of them are not whole"
        click.echo("\n".join([*faults, *not_checked, total]))
    if faults:
        get_current_context().exit(1)


@cli.command("bench")
@options("recipe", "data", "set", "seed", *RUNNING, "json")
@click.option("--rows", type=click.IntRange(min=1), default=10_000, show_default=True, help="Scores in the store.")
@click.option("--latency-table", type=PATH, help="Time every part of the space, and write this file; nothing else.")
@click.option("--workers", type=click.IntRange(min=2), help="Compare so many that measure with one; nothing else.")
@click.option("--simulate", type=PATH, metavar="RUN",
              help="A steady search by many workers that sleep as long as measuring took in RUN, alone.")  # fmt: skip
def bench_command(as_json: bool, rows: int, latency_table: Path | None, **given: Any) -> None:
    """What a subnet, a round, an evaluation and the store cost on this machine."""
    import numpy as np

    from evo_c2f.studies.bench import bench_processes, bench_store
    from evo_c2f.workers.processes import Task
    from supernet.jobs.bench import bench, bench_latencies

    settings = load_recipe(given)
    if given["simulate"]:
        simulation(settings, given["simulate"], as_json)
        return
    job, size = make_job(settings, given), settings.search.output_size
    if latency_table:
        click.echo(to_json(bench_latencies(job, size, latency_table, commands.tell)))
        return
    rng = np.random.default_rng(settings.seed)
    if given["workers"]:
        measure = job.measure(job.supernet(), measured(settings), size)
        task = Task(measure, tuple(measure.names))
        click.echo(to_json(bench_processes(given["workers"], task, settings.space, rng)))
        return
    results = bench(job, measured(settings), size, console.print)
    store = bench_store(settings.space, rows, rng)
    console.print("the store: " + ", ".join(f"{name} {value:.4g}" for name, value in store.items()))
    if as_json:
        click.echo(to_json(results | store))


def simulation(settings: Recipe, run: Path, as_json: bool) -> None:
    """Print how busy many workers would be, and what each subnet costs the search itself."""
    from evo_c2f.scores.analysis import load_scores
    from evo_c2f.studies.simulation import MEAN_SECONDS, bench_workers

    seconds = load_scores(run, objectives=None)["seconds"].to_numpy()
    table = bench_workers(settings.space, seconds, settings.seed)
    commands.tell(f"measuring takes {MEAN_SECONDS:g} s in the mean, and varies as in {run}")
    click.echo(to_json(table) if as_json else markdown(table))


@cli.command("train-teacher")
@options("recipe", "data", "run", "set", "seed", *RUNNING, "json")
@click.option("--width", type=click.IntRange(min=1), default=64, show_default=True, help="Base channels.")
@click.option("--images", type=click.IntRange(min=1), required=True, help="Training images seen, with repetition.")
@click.option("--learning-rate", type=float, default=0.0002, show_default=True)
def teacher_command(width: int, images: int, learning_rate: float, as_json: bool, **given: Any) -> None:
    """Train pix2pix's ResNet of 9 blocks, to compare with and to distil from: models/teacher.safetensors of the run."""
    from supernet.jobs.comparison import new_teacher

    run = begin(given)
    job = make_job(run.recipe, given, run=run)
    trainer = comparison(run, job)
    claim_with_record(run, job)
    trained = trainer.train("teacher", new_teacher(width, job), images, learning_rate)
    if as_json:
        click.echo(to_json({"model": str(run.model("teacher")), "seconds": trained.seconds, "curve": trained.curve}))


@cli.command("compare")
@options("recipe", "moved", "run", *RUNNING, "json")
@click.option("--width", type=click.IntRange(min=1), default=64, show_default=True, help="The teacher's base channels.")
@click.option("--images", type=click.IntRange(min=1), default=16000, show_default=True, help="Seen by each network.")
@options("candidates", "trial_images")
@click.option("--rate", "rates", type=float, multiple=True, default=(0.0002, 0.0005, 0.001), show_default=True,
              help="A learning rate to try the teacher with; repeat it.")  # fmt: skip
@click.option("--searched-rate", "searched_rates", type=float, multiple=True, default=(0.001, 0.002, 0.004),
              show_default=True, help="A learning rate to try the searched generator with; repeat it.")  # fmt: skip
@click.option("--params-ratio", type=float, default=16.0, show_default=True, help="Of the teacher to the searched one.")
@click.option("--macs-ratio", type=float, default=12.0, show_default=True, help="Of the teacher to the searched one.")
def compare_command(as_json: bool, **given: Any) -> None:
    """The best subnet within a share of the teacher's costs against the teacher, both trained on the same images.

    Candidates of all depths and operators are trained alone, by successive halving; the best goes on.
    """
    from evo_c2f.engine.halving import successive_halving
    from evo_c2f.objectives.metric import Limit, metric
    from evo_c2f.runs import fronts
    from supernet.jobs.comparison import Finalist, Trials, network_costs, new_teacher

    run = open_run(given)
    front = fronts.latest(run)  # what is drawn at the end is there at the beginning
    job, search, first = make_job(run.recipe, given, run=run), run.recipe.search, first_quality(run.recipe)
    trainer = comparison(run, job)
    names = [*dict.fromkeys(["lpips", *search.rescore, "psnr_y", "ssim_y"])]
    job.check_full(names)
    claim(run)
    costs = network_costs(new_teacher(given["width"], job), search.output_size)
    limits = {name: costs[name] / given[f"{name}_ratio"] for name in ("params", "macs")}
    within = [Limit(metric(name), "max", value) for name, value in limits.items()]
    measured_ones = fronts.candidates(run, first, within, given["candidates"])
    trials = Trials(given["images"], given["trial_images"], first.sign, given["rates"], given["searched_rates"])
    finalists = {
        subnet_id(g): Finalist(subnet_id(g), run.recipe.space.decode(g), run.weights_for(stage))
        for stage, g in measured_ones
    }
    tried = list[dict[str, Any]]()

    def train(names: Sequence[str], seen: int) -> list[float]:
        rows = [trainer.try_finalist(finalists[name], search.output_size, seen, trials) for name in names]
        tried.extend(rows)
        return [row["curve"][-1] for row in rows]

    best, _ = successive_halving([*finalists], trials.trial_images, train, first.sign)
    table = trainer.against_teacher(
        given["width"],
        finalists[best],
        search.output_size,
        trials,
        names,
    )
    table["trials"] = tried + table["trials"]
    table["limits"] = limits
    table |= {"supernet_seconds": run.seconds_of("trained"), "search_seconds": run.seconds_of("evolved")}
    write_text(run.folder / "comparison.json", to_json(table, indent=1) + "\n")
    write_text(run.folder / "comparison.md", markdown(table["rows"]))
    draw_samples(run, job, front)
    click.echo(to_json(table) if as_json else markdown(table["rows"]))


@cli.command("finetune")
@options("recipe", "moved", "run", "set", "max", "min", *RUNNING, "devices", "tensorboard", "json")
@click.option("--pick", default="knee", show_default=True,
              help="knee: of the front; best: of candidates that are trained alone; or any subnet's id.")  # fmt: skip
@options("candidates", "trial_images")
@click.option("--from-scratch", is_flag=True, help="Don't inherit the supernet's weights.")
@click.option("--name", default="model", show_default=True, callback=within_run,
              help="The model's folder within the run.")  # fmt: skip
def finetune_command(
    pick: str, candidates: int, trial_images: int, from_scratch: bool, name: str, as_json: bool, **given: Any
) -> None:
    """Train one subnet alone: a model of its own in <run>/<name>, to evaluate, export and apply.

    --pick best tries candidates of all depths and operators in <run>/trials/, by successive halving.
    """
    from evo_c2f.runs import fronts

    ranks = join(given)
    run = ranks.from_first(lambda: open_run(given))
    settings = recipe.changed(run.recipe, (*given["set"], *search_changes(given, STAGES)))
    job, search = ranks.together(lambda: make_job(settings, given, ranks, run)), settings.search

    def find() -> "dict[str, Found]":
        if pick == "best":
            found = candidates_of(run, settings, [], candidates)
        else:
            found = by_id([fronts.pick(run, search.limits(), pick)])
        if not from_scratch:
            check_weights(run, found)
        return found

    found = ranks.from_first(find)
    ranks.from_first(lambda: claim(run))
    chosen = best_alone(run, settings, job, found, trial_images)
    result = finetune(run, settings, job, name, chosen, from_scratch)
    if ranks.first:
        click.echo(to_json(result) if as_json else markdown([result]))


@cli.command("benchmark")
@options("recipe", "moved", "run", "set", *RUNNING, "json")
@click.argument("folders", nargs=-1, required=True, type=PATH, metavar="BENCHMARK...")
@click.option("--size", "sizes", type=float, multiple=True, default=(0.6, 1.49, 3.9), show_default=True,
              help="The largest model in MB; repeat it.")  # fmt: skip
@click.option("--fill", type=click.FloatRange(0, 1), default=0.0, show_default=True,
              help="The least share of its size that one uses; shared weights rank large ones too low.")  # fmt: skip
@click.option("--plain", "plains", type=click.Choice(["usual", "alike"]), multiple=True, default=("usual",),
              show_default=True, help="Train the plain network as by hand, or as the others; repeat it.")  # fmt: skip
@click.option("--start", "starts", type=click.Choice(["scratch", "inherited"]), multiple=True,
              default=("scratch", "inherited"), show_default=True, help="Where weights begin; repeat it.")  # fmt: skip
@options("candidates", "trial_images")
def benchmark_command(
    folders: tuple[Path, ...],
    sizes: tuple[float, ...],
    fill: float,
    plains: tuple[str, ...],
    starts: tuple[str, ...],
    candidates: int,
    trial_images: int,
    as_json: bool,
    **given: Any,
) -> None:
    """The best upscalers up to some sizes against a plain network, all trained on the same images, on benchmarks.

    For each size, candidates of all depths and operators are trained alone in <run>/trials/, by successive halving; the
    best on the run's own held-out photographs is trained in <run>/models/, from scratch and from the supernet's
    weights. What is there is not trained again. The table, of all models there, goes to <run>/benchmark.md and .json.
    """
    from supernet.jobs.benchmark import check, side_by_side

    run = open_run(given)
    settings = recipe.changed(run.recipe, tuple(given["set"]))
    if not isinstance(settings, recipe.SuperResolutionRecipe):
        raise InputError(f"benchmark is for super-resolution; use 'python cli.py compare --run {run.folder}'")
    check(folders, settings.task.scale, commands.warn)
    found = {size: candidates_of(run, settings, in_megabytes(fill * size, size), candidates) for size in sizes}
    if "inherited" in starts:
        for each in found.values():
            check_weights(run, each)
    job = make_job(settings, given, run=run)
    claim(run)
    for size, each in found.items():
        train_contestants(run, settings, job, size, each, plains, starts, trial_images)
    models = {path.parent.name: path for path in sorted((run.folder / "models").glob("*/model.safetensors"))}
    rows = side_by_side(models, folders, settings.search.output_size, job.device)
    for row in rows:
        if row.get("start") == "inherited":
            row["supernet_seconds"] = run.seconds_of("trained")
    table = {"rows": rows, "search_seconds": run.seconds_of("evolved")}
    write_text(run.folder / "benchmark.json", to_json(table, indent=1) + "\n")
    write_text(run.folder / "benchmark.md", markdown(rows))
    click.echo(to_json(table) if as_json else markdown(rows))


@cli.command("study")
@click.argument("what", type=click.Choice(["ranking", "fairness", "search", "operators", "winners"]))
@options("recipe", "data", "run", "set", "seed", *MEASURING, *RUNNING, "json")
@click.option("--costs", type=click.IntRange(min=2), default=2, show_default=True,
              help="Trunk widths at which each operator is trained, for operators.")  # fmt: skip
@click.option("--size", "sizes", type=float, multiple=True, default=(0.6, 1.49), show_default=True,
              help="The largest network in MB, for winners; repeat it.")  # fmt: skip
@click.option("--benchmark", "benchmarks", type=PATH, multiple=True, help="To judge winners on at last; repeat it.")
@options("candidates", "trial_images")
@click.option("--architectures", type=click.IntRange(min=20), default=100, show_default=True, help="Trained alone.")
@click.option("--again", type=click.IntRange(min=2), default=12, show_default=True,
              help="Of those, how many are trained a second time: what agreement can be had at all.")  # fmt: skip
@click.option("--seeds", type=click.IntRange(min=1), help="Of each way to train (2) or to search (10), or winner (3).")
@click.option("--training", "trainings", multiple=True, help="A way to train, for fairness; repeat it.  [default: all]")
def study_command(
    what: str,
    costs: int,
    sizes: tuple[float, ...],
    benchmarks: tuple[Path, ...],
    candidates: int,
    trial_images: int,
    architectures: int,
    again: int,
    seeds: int | None,
    trainings: tuple[str, ...],
    as_json: bool,
    **given: Any,
) -> None:
    """The evidence: is the ranking right, is fair training, does coarse-to-fine pay, and which operators do?

    ranking: the supernet's scores against training subnets alone; fairness: the same for other ways to train, at the
    same cost in MACs; search: ways to search the trained supernet, at the same number of subnets. The default recipe
    is evidence. operators: each operator of a searched --run trained alone at several costs, for a quarter of
    finetune.rounds and for all of them, beside its shared scores. winners: what a run's search found against random
    and hand-made networks of its size, all trained alike by `finetune`; the best of each kind by successive halving,
    then in full with several seeds. Tables and pictures go to the run's folder; nothing is measured twice.
    """
    if what == "winners":
        run, table = winners_study(given, sizes, benchmarks, (candidates, trial_images, seeds or 3))
        tell_study(run, what, table, as_json)
        return
    if what == "operators":
        run, table = operators_study(given, costs)
        tell_study(run, what, table, as_json)
        return
    run, job = begin_training(given, "evidence")
    lab = laboratory(run, run.recipe, job, hiring(given, run.recipe))
    if what == "search":
        table = search_study(run, lab, seeds or 10)
    else:
        planned = planned_trainings(lab, what, seeds or 2, trainings)
        train_several(run, job, planned, given["workers"] or 1)
        table = ranking_study(run, lab, what, (architectures, again), planned)
    tell_study(run, what, table, as_json)


def tell_study(run: Run, what: str, table: dict[str, Any], as_json: bool) -> None:
    """Write a study's table into the run, and print it."""
    write_text(run.folder / f"{what}.json", to_json(table, indent=1) + "\n")
    write_text(run.folder / f"{what}.md", markdown(table["rows"]))
    click.echo(to_json(table) if as_json else markdown(table["rows"]))


for model_command in commands.COMMANDS:
    cli.add_command(model_command)


def load_plugins(context: click.Context, parameter: click.Parameter, modules: tuple[str, ...]) -> None:
    """Import what adds operators, objectives and datasets; torch only where there is such a thing."""
    if modules or entry_points(group="evo_c2f.plugins"):
        from supernet import plugins

        plugins.load(modules)


for command in cli.commands.values():
    command.params.append(
        click.Option(["--plugin"], multiple=True, metavar="MODULE", is_eager=True, expose_value=False,
                     callback=load_plugins, help="Adds operators, objectives or datasets: a module, or a .py file.")
    )  # fmt: skip


# -- what the commands share --------------------------------------------------------------------


def load_recipe(given: Given, default: str = DEFAULT_RECIPE) -> Recipe:
    """The recipe that the options name, or that of the run that they name, changed by the other options."""
    changes = [*given["set"]]
    if given["data"] is not None:
        changes.append(f"data.folder={to_json(os.path.abspath(given['data']))}")
    if given["seed"] is not None:
        changes.append(f"seed={given['seed']}")
    changes += search_changes(given, STAGES)
    kept = given["run"] / "recipe.yaml" if given.get("run") else None
    if kept and kept.is_file() and given["recipe"] is None:
        return recipe.checked(recipe.load_run(kept).model_dump(mode="json"), tuple(changes), "--set")
    return recipe.load(given["recipe"] or default, tuple(changes))


def search_changes(given: Given, stages: Sequence[Stage]) -> tuple[str, ...]:
    """The options of a search as 'key=value'."""
    changes = [f"search.{side}.{limit}" for side in ("max", "min") for limit in given.get(side, ())]
    if given.get("objective"):
        changes.append(f"search.objectives={to_json(given['objective'])}")
    if given.get("algorithm"):
        changes.append(f"search.algorithm={given['algorithm']}")
    if given.get("steady_state"):
        changes.append("search.steady_state=true")
    if given.get("evaluations") is not None:
        changes += [f"search.evaluations.{stage}={given['evaluations']}" for stage in stages]
    return tuple(changes)


def begin(given: Given, default: str = DEFAULT_RECIPE) -> Run:
    """The run that the options ask for: begun, or taken up where the folder holds the same recipe."""
    settings = load_recipe(given, default)
    settings.search.metrics()  # an unknown objective is refused now, not after hours of training
    return Run.begin(given["run"] or Path("results") / settings.name, settings)


def begin_training(given: Given, default: str = DEFAULT_RECIPE) -> "tuple[Run, Job]":
    """The run that the options ask for, claimed once its recipe has proved to work; and its torch side."""
    ranks = join(given)
    run = ranks.from_first(lambda: begin(given, default))

    def prepare() -> "Job":
        ranks.part(run.recipe.data.batch)  # refused now, if it can't be dealt
        job = make_job(run.recipe, given, ranks, run)
        job.check(run.recipe.training, measured(run.recipe), run.recipe.search.rescore)
        return job

    job = ranks.together(prepare)

    ranks.from_first(lambda: claim_with_record(run, job))
    return run, job


def join(given: Given) -> "Ranks":
    """The processes that train together, as torchrun or --devices has it; those after the first say nothing."""
    from supernet.training import ranks

    if "devices" not in given:
        return ranks.ALONE
    console.quiet = commands.console.quiet = ranks.told_by_another(given["devices"])
    return ranks.join(given["devices"], given["device"])


def claim(run: Run) -> None:
    """Be the run's only writer until the command ends, and keep its recipe."""
    get_current_context().with_resource(lock.writing(run.folder))
    run.keep_recipe()


def claim_with_record(run: Run, job: "Job") -> None:
    """`claim`, and have the run remember its pictures and what each is for, unless it does."""
    record = None if run.data_record.is_file() else job.data.record()
    claim(run)
    if record:
        write_text(run.data_record, to_json(record))


def open_run(given: Given) -> Run:
    named = given["recipe"] or DEFAULT_RECIPE
    run = Run.open(given["run"] or Path("results") / (recipe.load(named).name if Path(named).suffix else named))
    return run if given.get("data") is None else run.with_data(given["data"])


def make_job(settings: Recipe, given: Given, ranks: "Ranks | None" = None, run: Run | None = None) -> "Job":
    """The torch side of a recipe, on the device that the options name, or on that of these processes.

    run: whose pictures must be those that it was begun with, and where its trainings are drawn, if asked.
    """
    import torch

    from evo_c2f.engine.problem import refuse_unreachable
    from supernet.jobs.job import Job, choose_device
    from supernet.training.ranks import ALONE

    ranks = ranks or ALONE
    torch.set_num_threads(given["threads"] or max(1, commands.cores() // (given.get("workers", 1) or 1)))
    task, data = task_and_data(settings, run)
    job = Job(settings.space, task, data, settings.seed, choose_device(ranks.device or given["device"]), ranks)
    if run and given.get("tensorboard") and ranks.first:
        from supernet.training.board import Board

        job.board = Board(run.folder / "tensorboard", task, data.search, job.device)
    # What can't work is refused before hours of training.
    refuse_unreachable(settings.search.limits(), settings.space, job.costs(settings.search.output_size))
    if run and run.data_record.is_file():
        job.data.counts()  # reads them: missing ones are named before anything is written
    return job


def task_and_data(settings: Recipe, run: Run | None = None) -> "tuple[ImageTask, Data]":
    """What the recipe's `task` and `data` stand for; of a run that was begun, the pictures of then."""
    from supernet.data.pair_data import PairData
    from supernet.data.photographs import PhotographData
    from supernet.data.record import read_record
    from supernet.metrics.tasks import SuperResolution, Translation

    known = read_record(run.data_record) if run else None

    if isinstance(settings, recipe.SuperResolutionRecipe):
        scale = settings.task.scale
        return SuperResolution(scale), PhotographData(settings.data, scale, settings.seed, commands.warn, known)
    assert isinstance(settings, recipe.TranslationRecipe)
    return Translation(), PairData(settings.data, settings.seed, commands.rendering, commands.warn, known)


def measured(settings: Recipe) -> list[str]:
    """The metrics that a search takes of every candidate."""
    from evo_c2f.runs.stage import wanted_metrics

    return wanted_metrics(settings.search.metrics(), settings.search.limits())


def first_quality(settings: Recipe) -> "Metric":
    """The quality that decides between networks."""
    return settings.search.metrics()[0]


def comparison(run: Run, job: "Job") -> "Comparison":
    """Trains networks alone, by the run's recipe, into its models/."""
    from supernet.jobs.comparison import Comparison

    search = run.recipe.search
    names = [o.name for o in search.metrics() if o.kind == "quality"]
    settings = run.recipe.training
    job.check(settings, names, search.rescore)
    score = job.score(names)
    return Comparison(job, settings, score, run.recipe.data.batch, run.folder / "models", partial(watching, run))


def finetune(
    run: Run,
    settings: Recipe,
    job: "Job",
    name: str,
    found: "Found",
    from_scratch: bool,
    judged_by: Sequence[str] = (),
) -> dict[str, Any]:
    """Train a subnet alone into <run>/<name>, unless that was done; its costs and metrics, `judged_by` or all."""
    from supernet.jobs.finetune import Finetuning, plan_of
    from supernet.models.card import data_name

    how, (stage, genome) = settings.finetune, found
    architecture, ranks = settings.space.decode(genome), job.ranks
    training, guide = settings.for_finetuning(), None
    if any(part.distillation and part.guide == "widest" for _, part in how.schedule(training.losses)):
        guide = job.trained(ranks.from_first(run.latest_weights), ranks)
    if from_scratch:
        network = job.fresh(architecture)
    else:
        network = job.trained(ranks.from_first(lambda: run.weights_for(stage)), ranks).extract(architecture)
    about = {
        "recipe": settings.name,
        "subnet": subnet_id(genome),
        "start": "scratch" if from_scratch else "inherited",
        "losses": settings.finetune.losses_in_words(settings.training.losses),
        "images": how.rounds * (how.batch or settings.data.batch),
        "data": data_name(settings.data.folder),
        "finetune": how.model_dump(mode="json"),
        "training": settings.training.model_dump(mode="json", include={"beta1", "losses", "discriminator"}),
    }
    work = Finetuning(job, run.folder / name, training, plan_of(how, training.losses, guide), about)
    done = finetuned(run, settings, work, network, judged_by)
    return {
        "model": str(work.folder),
        "subnet": about["subnet"],
        "seconds": done["seconds"],
        **job.costs(settings.search.output_size)(architecture),
        **done["metrics"],
    }


def finetuned(
    run: Run, settings: Recipe, work: "Finetuning", network: "nn.Module", judged_by: Sequence[str] = ()
) -> dict[str, Any]:
    """Let it run, shown and logged; what the model's file says."""
    names = judged_by or list(dict.fromkeys([*work.job.task.metrics, "lpips", *settings.search.rescore]))
    with watching(run, str(work.folder.relative_to(run.folder)), work.training.rounds) as (on_round, on_setback):
        return work.run(network, names, on_round, on_setback)


def train_contestants(
    run: Run,
    settings: recipe.SuperResolutionRecipe,
    job: "Job",
    size: float,
    found: "dict[str, Found]",
    plains: Sequence[str],
    starts: Sequence[str],
    trial_images: int,
) -> None:
    """The plain network, and the best of the candidates up to a size from each start, all on as many images."""
    how = settings.finetune
    images = how.rounds * (how.batch or settings.data.batch)
    best = best_alone(run, settings, job, found, trial_images)
    for habits in plains:
        train_plain(run, settings, job, images, habits)
    for start in starts:
        name = f"models/{size:g}MB-{start}-{images}"
        finetune(run, settings, job, name, best, from_scratch=start == "scratch")


def candidates_of(run: Run, settings: Recipe, limits: "Sequence[Limit]", n: int) -> "dict[str, Found]":
    """Up to n subnets of the search within its limits and these, by id, of all depths and operators."""
    from evo_c2f.runs import fronts

    every = [*settings.search.limits(), *limits]
    return by_id(fronts.candidates(run, first_quality(settings), every, n))


def by_id(found: "Sequence[Found]") -> "dict[str, Found]":
    return {subnet_id(genome): (stage, genome) for stage, genome in found}


def check_weights(run: Run, found: "Mapping[str, Found]") -> None:
    """InputError, before anything is trained, if the weights that one of them inherits are missing."""
    for stage in {stage for stage, _ in found.values()}:
        run.weights_for(stage)


def in_megabytes(least: float, most: float) -> "list[Limit]":
    from evo_c2f.objectives.metric import Limit, metric

    return [Limit(metric("size_mb"), "min", least), Limit(metric("size_mb"), "max", most)]


def best_alone(run: Run, settings: Recipe, job: "Job", found: "dict[str, Found]", images: int) -> "Found":
    """The best of the candidates by successive halving, in which the last of them are trained on so many images."""
    from evo_c2f.engine.halving import successive_halving

    first, how, spent = first_quality(settings), settings.finetune, list[float]()

    def train(names: Sequence[str], seen: int) -> list[float]:
        rounds = -(-seen // (how.batch or settings.data.batch))
        trial = settings.model_copy(update={"finetune": how.model_copy(update={"rounds": rounds})})
        results = [
            finetune(run, trial, job, f"trials/{name}-{seen}", found[name], from_scratch=True, judged_by=[first.name])
            for name in names
        ]
        spent.extend(result["seconds"] for result in results)
        return [float(result[first.name]) for result in results]

    best, trials = successive_halving([*found], images, train, first.sign)
    if trials and job.ranks.first:
        seen = sum(trial.images for trial in trials)
        commands.tell(f"trials: {len(found)} subnets on {seen:,} images in {sum(spent):,.0f} s; {best} goes on")
    return found[best]


def train_plain(run: Run, settings: recipe.SuperResolutionRecipe, job: "Job", images: int, habits: str) -> None:
    """The network to compare with, on as many images, unless that was done; habits: usual, or the recipe's."""
    import torch

    from supernet.jobs.alone import Plan
    from supernet.jobs.finetune import Finetuning, plan_of
    from supernet.models.card import data_name
    from supernet.network.plain import BATCH, PATCH, SETTINGS, PlainUpscaler

    if habits == "usual":
        rounds = -(-images // BATCH)
        others = {"rounds": rounds, "losses": sections.LossesSection(), **SETTINGS}
        training = settings.training.model_copy(update=others)
        name, words, plan = f"plain-{images}", "l1", Plan(BATCH, [(rounds, PATCH)])
    else:
        training = settings.for_finetuning()
        name, words = f"plain-alike-{images}", settings.finetune.losses_in_words(training.losses)
        plan = plan_of(settings.finetune, training.losses, None)
    about = {"network": "plain", "start": "scratch", "losses": words, "images": images}
    about["data"] = data_name(settings.data.folder)
    torch.manual_seed(job.seed)
    network = PlainUpscaler(scale=settings.task.scale)
    finetuned(run, settings, Finetuning(job, run.folder / "models" / name, training, plan, about), network)


def tell_ranking(run: Run, job: "Job", n: int) -> None:
    """Train n subnets alone for a short while, and write and say how the supernet's order agrees with theirs."""
    from evo_c2f.runs.stage import read_survivors
    from evo_c2f.studies import study as studies

    how = run.recipe.training
    rounds = min(how.rounds, CHECK_ROUNDS)
    lab = checking(run, job, rounds)
    # A supernet that is trained stage by stage knows all operators on the surviving paths alone.
    by_stage = "joint" not in how.stages
    sample = studies.Sample.draw(lab, n, 0, read_survivors(run, "operator") if by_stage else None)
    with reporting(console, "checking the ranking", n) as reporter:
        frame = studies.train_alone(lab, sample, run.folder / "alone.h5", reporter.step)
    tools = instruments(run, run.recipe, "operator" if by_stage else "path", job)
    found = studies.check(lab, frame, sample.genomes, tools.search)
    commands.tell(
        f"ranking: tau {found['tau']:.2f} ({found['low']:.2f} to {found['high']:.2f}) between the supernet's order of "
        f"{n} subnets and theirs after {rounds} rounds alone; MACs by themselves come to {found['macs']:.2f}"
    )
    table: dict[str, Any] = {**found, "rounds": rounds}
    if len(lab.space.operators) > 3:  # of fewer, nothing can be said of those beside the reference
        table["operators"] = tell_operators(run, job)
    write_text(run.folder / "ranking.json", to_json(table, indent=1) + "\n")


def checking(run: Run, job: "Job", rounds: int) -> "Laboratory":
    """Which trains alone for so many rounds, by the supernet's optimizer and at its rate."""
    from evo_c2f.workers.processes import Here

    how = run.recipe.training
    short = sections.FinetuneSection(
        rounds=rounds, optimizer=how.optimizer, learning_rate=how.learning_rate, final_rate=0.01, ema=0.99
    )
    return laboratory(run, run.recipe.model_copy(update={"finetune": short}), job, Here)


def tell_operators(run: Run, job: "Job") -> dict[str, float]:
    """Train one network of each operator alone, as long as the supernet; say and give whether it sees operators."""
    from evo_c2f.studies import operators as study

    rounds = min(run.recipe.training.rounds, OPERATOR_ROUNDS)
    lab, shared = checking(run, job, rounds), shared_operators(run, run.recipe, job)
    with reporting(console, "checking the operators", len(lab.space.operators)) as reporter:
        lengths = [(rounds, lab.alone(0))]
        frame = study.study_operators(lab, lengths, shared, 1, run.folder / "operators.h5", reporter.step)
    found = study.sight(lab, frame, rounds)
    commands.tell(
        f"operators, without the reference: tau {found['tau_others']:.2f} between networks of one operator each and "
        f"theirs after {rounds} rounds alone; the supernet's {lab.quality} spreads over {found['spread']:.3g}, "
        f"training alone over {found['spread_alone']:.3g}"
    )
    if not study.sees_operators(found):
        commands.warn(
            "the supernet cannot tell operators apart, so the front's operators mean little; train the operator stage "
            "for longer (training.stages, training.stage_rounds) or on fewer paths (search.survivors)"
        )
    return {**found, "rounds": rounds}


def laboratory(run: Run, settings: Recipe, job: "Job", workers: "Callable[[Task], Workers]") -> "Laboratory":
    """What a study needs: networks trained alone by the recipe's `finetune`, and supernets by its `training`."""
    from evo_c2f.scores.layout import Context
    from evo_c2f.studies.study import PLAIN, TRAININGS, Instrument, Laboratory
    from supernet import checkpoint
    from supernet.jobs.finetune import plan_of
    from supernet.jobs.study import TrainedAlone

    size = settings.search.output_size
    quality = first_quality(settings).name
    about = partial(Context, settings.space.to_dict(), dataset=job.data.fingerprint)

    def alone(number: int) -> Instrument:
        again = replace(job, seed=job.seed + number, board=None)
        training = settings.for_finetuning()
        plan = plan_of(settings.finetune, training.losses, None)
        measure = TrainedAlone(again, training, plan, [quality], run.folder / "supernet")
        words = f"{job.task.protocol()}; trained alone with seed {again.seed} by {settings.finetune.model_dump_json()}"
        return Instrument(measure, tuple(measure.names), about(checkpoint="none", protocol=words), {})

    @cache  # first trained, then scored with
    def shared(training: str, number: int) -> tuple[Instrument, dict[str, float]]:
        target, costs = train_shared(run, job, training, number)
        measure = job.measure(job.trained(target), measured(settings), size)
        words = f"{job.task.protocol()}; costs at {size[0]}x{size[1]}"
        context = about(checkpoint=checkpoint.fingerprint(target), protocol=words)
        return Instrument(measure, tuple(measure.names), context, measure.baseline()), costs

    ours = settings.training
    if ours.sampler == "widest_first":  # the same in the joint training, which is all that a study has
        ours = ours.model_copy(update={"sampler": "fair_widest"})
    own = next((n for n, how in TRAININGS.items() if ours.model_copy(update={**PLAIN, **how}) == ours), "fair")
    return Laboratory(settings.space, job.costs(size), quality, job.seed, own, alone, shared, workers)


def train_shared(run: Run, job: "Job", training: str, number: int) -> tuple[Path, dict[str, float]]:
    """A study's supernet, trained unless it is there, by so many seeds after the run's; what it cost."""
    from evo_c2f.studies.study import PLAIN, TRAININGS
    from supernet.jobs.job import StageTraining
    from supernet.jobs.study import rounds_at_cost

    settings, again = run.recipe, replace(job, seed=job.seed + number)
    name = shared_name(training, number)
    target = run.checkpoint(name)
    if not target.is_file():
        how = settings.training.model_copy(update={**PLAIN, **TRAININGS[training]})
        rounds, macs = rounds_at_cost(again, how.sampler, how.rounds)
        costs = {"rounds": rounds, "forward_gmacs": macs * settings.data.batch / 1e9}

        def finish(ledger: "Ledger", seconds: float) -> None:
            run.log("trained", stage=name, **costs, seconds=seconds)

        with watching(run, name, rounds) as (on_round, on_setback):
            how = how.lasting(rounds)
            again.train(StageTraining("joint"), how, target, finish, on_round, on_setback)
    line = run.last("trained")[name]
    return target, {key: line[key] for key in ("rounds", "forward_gmacs", "seconds")}


def shared_name(training: str, number: int) -> str:
    return f"{training.replace(', ', '-')}-{number}"


def train_several(run: Run, job: "Job", planned: Sequence[tuple[str, int]], n_processes: int) -> None:
    """A study's supernets, before anything is scored: training needs no store."""
    if n_processes == 1:
        for training, number in planned:
            train_shared(run, job, training, number)
        return
    import torch

    from evo_c2f.workers.processes import in_processes

    work = [(run, job, *which) for which in planned if not run.checkpoint(shared_name(*which)).is_file()]
    with reporting(console, "training supernets", len(work)) as reporter:
        for _ in in_processes(n_processes, torch.get_num_threads(), train_quietly, work):
            reporter.step()


def train_quietly(run: Run, job: "Job", training: str, number: int) -> None:
    """`train_shared` in a process of its own, which leaves the progress to the first."""
    console.quiet = True
    train_shared(run, job, training, number)


def planned_trainings(lab: "Laboratory", what: str, seeds: int, trainings: Sequence[str]) -> list[tuple[str, int]]:
    """The supernets of a study: ways to train, and seeds."""
    from evo_c2f.studies import study as studies

    trainings = trainings or (list(studies.TRAININGS) if what == "fairness" else [lab.own])
    for training in trainings:
        if training not in studies.TRAININGS:
            raise InputError(
                f"no training is called {training!r}; choose from {', '.join(map(repr, studies.TRAININGS))}"
            )
    return [(training, number) for training in trainings for number in range(seeds)]


def ranking_study(
    run: Run, lab: "Laboratory", what: str, sizes: tuple[int, int], planned: Sequence[tuple[str, int]]
) -> dict[str, Any]:
    """Train (architectures, again) alone, and tell how well the trained supernets rank them."""
    from evo_c2f.runs.plots import draw_ranking
    from evo_c2f.scores import analysis
    from evo_c2f.studies import study as studies

    sample = studies.Sample.draw(lab, *sizes)
    with reporting(console, "training alone", sum(sizes)) as reporter:
        frame = studies.train_alone(lab, sample, run.folder / "alone.h5", reporter.step)
    rows = studies.study_trainings(lab, frame, sample.genomes, planned, run.folder / "shared.h5")
    analysis.write_front(frame, run.folder / f"{what}.csv")
    shown = [f"{training} 0" for training in dict(planned)]
    draw_ranking(frame, f"alone_{lab.quality}_full", shown, run.folder / f"{what}.png")
    return {"rows": rows, "ceiling": studies.ceiling(lab, frame), "trained_twice": sizes[1]}


def shared_operators(run: Run, settings: Recipe, job: "Job") -> "Instrument":
    """The weights that the run searches operators with, as a study measures with them."""
    from evo_c2f.studies.study import Instrument

    tools = instruments(run, settings, "operator", job)
    return Instrument(tools.search, tools.names, tools.context, tools.baseline)


def operators_study(given: Given, n_costs: int) -> tuple[Run, dict[str, Any]]:
    """Train one network of each operator alone at several costs, and compare with the run's shared scores."""
    from evo_c2f.runs.plots import draw_operators
    from evo_c2f.scores import analysis
    from evo_c2f.studies import operators as study

    run = open_run(given)
    settings = recipe.changed(run.recipe, given["set"])
    job = make_job(settings, given, run=run)
    claim(run)
    shared = shared_operators(run, settings, job)
    workers, whole = hiring(given, settings), settings.finetune.rounds
    rounds = sorted({max(1, whole // 4), whole})
    labs = []
    for n in rounds:
        how = settings.finetune.model_copy(update={"rounds": n})
        labs.append(laboratory(run, settings.model_copy(update={"finetune": how}), job, workers))
    lengths = [(n, lab.alone(0)) for n, lab in zip(rounds, labs, strict=True)]
    n_networks = len(study.single_operator_networks(settings.space, n_costs)[0])
    with reporting(console, "training alone", n_networks * len(rounds)) as reporter:
        frame = study.study_operators(labs[-1], lengths, shared, n_costs, run.folder / "operators.h5", reporter.step)
    analysis.write_front(frame, run.folder / "operators.csv")
    draw_operators(frame, [f"alone_{n}" for n in rounds], run.folder / "operators.png")
    rows, summary = study.operators_table(labs[-1], frame, rounds), study.operators_summary(labs[-1], frame, rounds)
    return run, {"rows": rows, "summary": summary, "rounds": rounds}


def winners_study(
    given: Given, sizes: Sequence[float], benchmarks: Sequence[Path], amounts: tuple[int, int, int]
) -> tuple[Run, dict[str, Any]]:
    """Searched, random and hand-made networks of each size, trained alike. amounts: candidates, trial images, seeds."""
    from evo_c2f.scores import analysis
    from evo_c2f.studies import winners
    from supernet.jobs.benchmark import check

    n, trial_images, seeds = amounts
    run = open_run(given)
    settings = recipe.changed(run.recipe, given["set"])
    if not isinstance(settings, recipe.SuperResolutionRecipe):
        raise InputError(f"study winners is for super-resolution; use 'python cli.py compare --run {run.folder}'")
    check(benchmarks, settings.task.scale, commands.warn)
    job = make_job(settings, given, run=run)
    found = {size: contestants_of(run, settings, job, size, n) for size in sizes}
    claim(run)
    first = first_quality(settings)
    images = settings.finetune.rounds * (settings.finetune.batch or settings.data.batch)
    rows, trials, finals = list[dict[str, Any]](), list[dict[str, Any]](), list[dict[str, Any]]()
    for size, kinds in found.items():
        every = {name: one for kind in kinds.values() for name, one in kind.items()}

        def train(
            which: Sequence[tuple[str, int]], seen: int, every: Mapping[str, "Contestant"] = every
        ) -> list[dict[str, float]]:
            networks = [(name, every[name], seed) for name, seed in which]
            judged = benchmarks if seen == images else ()
            return train_contenders(run, settings, job, networks, seen, judged, given["workers"] or 1)

        tried, last = winners.study_winners(kinds, trial_images, images, seeds, train, first)
        qualities = [first.name, *(f"{folder.resolve().name} {first.name}" for folder in benchmarks)]
        trials += [{"size": size, **trial} for trial in tried]
        finals += [{"size": size, **final} for final in last]
        rows += [
            {"size": size, "images": images, **row}
            for row in winners.winners_table(last, qualities, first.sign, ("size_mb", "macs", "seconds"))
        ]
    analysis.write_front(analysis.rows_frame(finals), run.folder / "winners.csv")
    return run, {"rows": rows, "trials": trials, "trial_images": trial_images}


def contestants_of(
    run: Run, settings: recipe.SuperResolutionRecipe, job: "Job", size: float, n: int
) -> "dict[str, dict[str, Contestant]]":
    """Kind -> name -> network, for one size in MB: what the search found, as many random ones, and hand-made ones."""
    import numpy as np

    from evo_c2f.studies import winners
    from supernet.jobs.contestants import LEAST, Contestant, plain_networks, single_operator_networks

    space = settings.space
    searched = candidates_of(run, settings, in_megabytes(FILL * size, size), n)
    rng = np.random.default_rng([settings.seed, RANDOM_NETWORKS])
    drawn = winners.random_within(
        space, job.costs(settings.search.output_size), "size_mb", (LEAST * size, size), len(searched), rng
    )
    hand_made = plain_networks(size, settings.task.scale)
    hand_made |= single_operator_networks(space, job.task.frame, size)
    of_space: dict[str, Iterable[Genomes]] = {"searched": [genome for _, genome in searched.values()], "random": drawn}
    found = {kind: {subnet_id(g): Contestant(space.decode(g)) for g in some} for kind, some in of_space.items()}
    return {**found, "hand-made": hand_made}


def train_contenders(
    run: Run,
    settings: recipe.SuperResolutionRecipe,
    job: "Job",
    networks: "Sequence[tuple[str, Contestant, int]]",
    images: int,
    benchmarks: Sequence[Path],
    n_processes: int,
) -> list[dict[str, float]]:
    """Train networks alike (name, network, seed) on so many images, unless that was done; their metrics and costs."""
    import torch

    from evo_c2f.workers.processes import in_processes
    from supernet import checkpoint
    from supernet.jobs.benchmark import side_by_side
    from supernet.models.model import FILE

    work, files = [], dict[str, Path]()
    for name, network, seed in networks:
        title = f"{name}-{images}-{seed}"
        files[title] = run.folder / "winners" / title / FILE
        work.append(
            (run, settings, replace(job, seed=job.seed + seed, board=None), network, files[title].parent, images)
        )
    if n_processes == 1:
        for each in work:
            train_contender(*each)
    else:
        with reporting(console, f"{len(work)} networks on {images:,} images", len(work)) as reporter:
            for _ in in_processes(n_processes, torch.get_num_threads(), train_contender_quietly, work):
                reporter.step()
    rows = side_by_side(files, benchmarks, settings.search.output_size, job.device)
    numbers = [{key: value for key, value in row.items() if isinstance(value, int | float)} for row in rows]
    return [row | checkpoint.load(file)[1]["metrics"] for row, file in zip(numbers, files.values(), strict=True)]


def train_contender(
    run: Run, settings: recipe.SuperResolutionRecipe, job: "Job", network: "Contestant", folder: Path, images: int
) -> None:
    """Train one network as the recipe's `finetune` does, on so many images, into a folder of the run."""
    from supernet.jobs.finetune import Finetuning, plan_of
    from supernet.models.card import data_name

    rounds = -(-images // (settings.finetune.batch or settings.data.batch))
    how = settings.finetune.model_copy(update={"rounds": rounds})
    training = settings.model_copy(update={"finetune": how}).for_finetuning()
    about = {
        "start": "scratch",
        "losses": how.losses_in_words(settings.training.losses),
        "images": images,
        "seed": job.seed,
        "data": data_name(settings.data.folder),
        "finetune": how.model_dump(mode="json"),
    }
    plan = plan_of(how, training.losses, None)
    first = first_quality(settings)
    work = Finetuning(job, folder, training, plan, about)
    finetuned(run, settings, work, network.build(job), [first.name])


def train_contender_quietly(*work: Any) -> None:
    """`train_contender` in a process of its own, which leaves the progress to the first."""
    console.quiet = True
    train_contender(*work)


def search_study(run: Run, lab: "Laboratory", seeds: int) -> dict[str, Any]:
    """Let all strategies search the same supernet, and tell how soon each comes how far."""
    from evo_c2f.runs.plots import draw_curves
    from evo_c2f.scores import analysis
    from evo_c2f.studies import study as studies
    from evo_c2f.studies.strategies import STRATEGIES

    search = run.recipe.search
    usable = {name: how for name, how in STRATEGIES.items() if "AGE-MOEA" not in name or find_spec("numba")}
    if len(usable) < len(STRATEGIES):
        commands.warn("AGE-MOEA is left out: it needs numba; run 'pip install numba'")
    contest = studies.Contest(usable, seeds, search.evaluations.joint, search.population)
    with reporting(console, "searching", seeds * len(usable)) as reporter:
        frame = studies.study_search(lab, search.metrics(), run.folder / "search.h5", contest, reporter.step)
    rows = studies.search_table(frame, studies.RIVAL)
    analysis.write_front(frame, run.folder / "search.csv")
    goal = next(row["final_median"] for row in rows if row["strategy"] == studies.RIVAL)
    draw_curves(frame, goal, run.folder / "search.png")
    return {"rows": rows, "rival": studies.RIVAL, "evaluations": contest.evaluations}


def train(run: Run, stage: Stage, job: "Job") -> dict[str, Any]:
    """Train one stage of the run's supernet, unless that was done; what came of it."""
    from evo_c2f.runs.stage import read_survivors
    from supernet.jobs.job import StageTraining

    target, settings, ranks = run.checkpoint(stage), run.recipe.training, job.ranks
    if stage not in settings.stages:
        raise InputError(f"the recipe has no training {stage}; its training.stages are {', '.join(settings.stages)}")
    if ranks.from_first(target.is_file):
        if not ranks.from_first(lambda: tell_other_survivors(run, stage)):
            commands.tell(f"{target} is there already; nothing to train")
        return {"checkpoint": str(target), "rounds": 0}
    survivors = start = None
    if stage not in ("joint", "path"):
        survivors = ranks.from_first(lambda: read_survivors(run, stage))
        before = STAGES[STAGES.index(stage) - 1]
        # A supernet of paths has trained the reference operator alone, and the others would start behind it.
        if before != settings.stages[0]:
            start = ranks.from_first(lambda: run.weights_for(before))
    rounds = settings.rounds if stage == settings.stages[0] else settings.stage_rounds
    space = run.recipe.space
    console.print(f"space: {space.n_subnets:,} subnets, {space.n_architectures:,} architectures", highlight=False)
    settings = settings.lasting(rounds)
    ranks.from_first(lambda: note_setting(run, stage, job))

    def finish(ledger: "Ledger", seconds: float) -> None:
        run.write_ledger(stage, ledger.to_dict())
        unfair = ledger.unfair()
        run.log("trained", stage=stage, rounds=rounds, seconds=round(seconds, 1), unfair=unfair)
        if unfair:
            gaps = ", ".join(f"{name} {gap:,}" for name, gap in unfair.items())
            commands.warn(
                f"sampler {settings.sampler} is not fair: updates of competing choices differ by up to {gaps}"
            )

    with watching(run, stage, rounds) as (on_round, on_setback):
        job.train(StageTraining(stage, survivors, start), settings, target, finish, on_round, on_setback)
    return {"checkpoint": str(target), "rounds": rounds}


def tell_other_survivors(run: Run, training: str) -> bool:
    """Warn if a supernet was trained on other survivors than the front before its stage has now; whether it was.

    The file of an older version doesn't say.
    """
    from evo_c2f.runs.stage import read_survivors
    from evo_c2f.space import subnet_ids
    from supernet import checkpoint

    path = run.checkpoint(training)
    stage = next((stage for stage in STAGES[1:] if stage == training), None)
    if stage is None or not path.is_file():
        return False
    before = STAGES[STAGES.index(stage) - 1]
    if not run.front(before).is_file():
        return False
    now, then = read_survivors(run, stage), checkpoint.load(path)[1].get("survivors")
    if now is None or then is None or set(then) == set(subnet_ids(now)):
        return False
    commands.warn(
        f"{path} was trained on other survivors than the front of stage {before} has now; remove it, and train again"
    )
    return True


@contextmanager
def watching(run: Run, title: str, rounds: int) -> "Iterator[tuple[OnRound, OnSetback]]":
    """(on_round, on_setback) of a training: they show it, and log it in the run."""
    with reporting(console, f"training {title}", rounds) as reporter:
        smooth: float | None = None

        def on_round(index: int, loss: float) -> None:
            nonlocal smooth
            smooth = loss if smooth is None else 0.98 * smooth + 0.02 * loss
            if index % 100 == 0:
                run.log("round", stage=title, index=index, loss=round(smooth, 6))
            reporter.update(index, f"loss {smooth:.4f}")

        def on_setback(index: int, trouble: str) -> None:
            run.log("setback", stage=title, index=index, trouble=trouble)
            consequence = "training goes back to its last good state, at half the learning rate"
            commands.warn(f"round {index}: {trouble}; {consequence}")

        yield on_round, on_setback


def instruments(run: Run, settings: Recipe, stage: Stage, job: "Job") -> "Instruments":
    """What the search of a stage measures with: the run's weights on the validation images."""
    import torch

    from evo_c2f.runs.stage import Instruments
    from evo_c2f.scores.layout import Context
    from supernet import checkpoint

    weights = run.weights_for(stage)
    supernet = job.trained(weights)
    names, size = measured(settings), settings.search.output_size
    table = Path(settings.search.latency_table) if settings.search.latency_table else None
    search = job.measure(supernet, names, size, table)
    full = job.full_measure(supernet, list(dict.fromkeys([*names, *settings.search.rescore])), size)
    device = f"{job.device}, {torch.get_num_threads()} threads, float32"
    if table:
        device += f", latency by table {checkpoint.fingerprint(table)}"
    context = Context(
        settings.space.to_dict(),
        checkpoint.fingerprint(weights),
        job.data.fingerprint,
        f"{job.task.protocol()}; costs at {size[0]}x{size[1]}; {device}",
    )
    return Instruments(
        search,
        tuple(search.names),
        full,
        tuple(full.names),
        search.baseline() | full.baseline(),
        job.costs(size),
        context,
    )


def hiring(given: Given, settings: Recipe) -> "Callable[[Task], Workers]":
    """Who measures the candidates of a search."""
    import torch

    from evo_c2f.workers.processes import Here, Processes

    if given["workers"] == 1:
        return Here
    if "latency_ms" in measured(settings) and not settings.search.latency_table:
        raise InputError(
            "latency_ms is measured on a quiet machine alone; use one worker, or 'python cli.py bench --latency-table "
            "table.json' and --set search.latency_table=table.json"
        )
    if given["workers"]:
        return partial(Processes, given["workers"], threads=torch.get_num_threads())
    from evo_c2f.workers.cluster import RayWorkers

    return partial(
        RayWorkers, address=given["ray_address"], cpus=torch.get_num_threads(), gpus=given["gpus_per_worker"]
    )


def evolve(
    run: Run,
    settings: Recipe,
    stage: Stage,
    job: "Job",
    seed: int,
    hire: "Callable[[Task], Workers]",
    retry_failed: bool = False,
) -> "Summary":
    """Search one stage and say what came of it."""
    from evo_c2f.runs.stage import run_stage

    tools = replace(instruments(run, settings, stage, job), hire=hire, retry_failed=retry_failed)
    note_setting(run, stage, job)
    with reporting(console, f"evolving {stage}", recipe.evaluations(settings, stage)) as reporter:

        def on_progress(progress: "Progress") -> None:
            best = ", ".join(f"{name} {value:.5g}" for name, value in progress.best.items())
            known = f", best {best}" if best else ""
            note = f"generation {progress.generation}{known}, hypervolume {progress.hypervolume:.4f}"
            reporter.update(progress.asked, note)

        summary = run_stage(replace(run, recipe=settings), stage, tools, seed, on_progress, reporter.pause)
    objectives = [o.name for o in settings.search.metrics()]
    run.log("evolved", objectives=objectives, **{k: v for k, v in asdict(summary).items() if k != "front"})
    commands.tell(
        f"{stage}: {summary.asked} subnets asked for, {summary.measured} measured, front of {len(summary.front)}; "
        f"hypervolume {summary.hypervolume_before:.4f} -> {summary.hypervolume:.4f}; "
        f"{summary.seconds:.1f} s, {summary.overhead:.2%} of it the search's own"
    )
    return summary


def conclude(summaries: Sequence["Summary"], baseline: str) -> None:
    """The final front, and how far it, and the worst path, lie from what is had for nothing (named in `baseline`)."""
    from evo_c2f.objectives.metric import metric

    first, last = summaries[0], summaries[-1]
    for name, value in first.worst.items():
        console.print(f"the worst of {first.asked} paths: {name} {value:.5g}, {baseline} {first.baseline[name]:.5g}")
    print_front(console, last.front)

    def best_of(name: str) -> float:
        sign = metric(name).sign
        return sign * float(min(sign * row[name] for row in last.front))

    macs = [row["macs"] for row in last.front]
    span = f"{len(macs)} architectures that span {max(macs) / min(macs):.1f}x in MACs"
    best = [
        f"best {name.removesuffix('_full')} {best_of(name):.5g}, {baseline} {value:.5g}"
        for name, value in last.baseline.items()
        if name.endswith("_full") and name in last.front[0]
    ]
    commands.tell(f"{span}; {'; '.join(best)}, on held-out images")


def draw_samples(run: Run, job: "Job", front: "Front") -> None:
    """Write samples.png: held-out images by three subnets of a front, and by what `compare` trained."""
    from evo_c2f.scores import analysis
    from supernet.models.model import load_network
    from supernet.sheet import draw_sheet, sample_columns

    by_cost = front.frame.sort_values("macs")
    chosen = by_cost.iloc[sorted({0, len(by_cost) // 2, len(by_cost) - 1})]
    supernet = job.trained(run.weights_for(front.stage))
    trained = ("teacher", "searched-from-scratch", "searched-inherited")
    networks = {name: load_network(run.model(name)).to(job.device) for name in trained if run.model(name).is_file()}
    for genome, row in zip(analysis.genomes_of(chosen), analysis.records(chosen), strict=True):
        title = f"{row['id']}\n{in_short(row['params'])} parameters\n{in_short(row['macs'])} MACs"
        networks[title] = supernet.extract(run.recipe.space.decode(genome))
    target = run.folder / "samples.png"
    draw_sheet(sample_columns(job.data.full(), networks, job.device), target)
    commands.tell(f"{target}: held-out images, side by side")


def say(sentence: str) -> None:
    """On standard error, unless another process says the same."""
    if not console.quiet:
        click.echo(sentence, err=True)


def draw_pictures(run: Run, job: "Job") -> None:
    """Write samples.json: small parts of held-out images by subnets of every stage's front, for the page."""
    from evo_c2f.page.scores import measured as weights_of_stages
    from evo_c2f.runs import fronts
    from evo_c2f.scores import analysis
    from supernet import crops

    scale = 2**job.task.frame.input_level
    parts, subnets = crops.parts_of(job.data.full(), scale), {}
    for stage, of_stage in weights_of_stages(run).items():
        if not run.front(stage).is_file():
            continue
        supernet = job.trained(run.weights_for(stage))  # type: ignore[arg-type]
        front = fronts.latest(run, stage)  # type: ignore[arg-type]
        genomes = analysis.genomes_of(front.frame)
        for i in sorted({*crops.spread_evenly(len(genomes)), front.knee}):  # the knee is what the page shows first
            network = supernet.extract(run.recipe.space.decode(genomes[i]))
            pictures = crops.outputs(network, parts, scale, job.device)
            subnets[f"{of_stage.scores.context}:{front.frame['id'].iloc[i]}"] = pictures
    found = {"baseline": job.task.baseline_name, "columns": crops.comparisons(parts, job.task), "subnets": subnets}
    write_text(run.samples, to_json(found))


def write_report(run: Run) -> None:
    from evo_c2f.page.html import write_page

    write_page(run)
    commands.tell(f"{run.report}: the run as a page; open it in a browser")


def show_live(run: Run, port: int) -> None:
    """Serve the page until the command ends."""
    from evo_c2f.page.server import serving

    url = get_current_context().with_resource(serving(run, port))
    commands.tell(f"{url} shows the run while it goes on")


def note_setting(run: Run, stage: str, job: "Job") -> None:
    """Log what the run rests on from here: device, threads, versions."""
    import torch

    from evo_c2f.versions import versions

    device = f"{job.device}, {torch.get_num_threads()} threads"
    run.log("setting", stage=stage, device=device, baseline=job.task.baseline_name, versions=versions())


class ToPeople(logging.Handler):
    """Shows what the library has to say."""

    def emit(self, record: logging.LogRecord) -> None:
        commands.warn(record.getMessage())


for package in ("evo_c2f", "supernet"):
    logging.getLogger(package).addHandler(ToPeople())


def speak_utf8() -> None:
    """Have names of files and texts in UTF-8 in every locale, and print anything on any terminal.

    Where the locale is another, the process begins anew in Python's UTF-8 mode.
    """
    if os.name == "posix" and sys.getfilesystemencoding() != "utf-8":
        line = [sys.executable, "-X", "utf8", *sys.orig_argv[1:]]
        os.execve(sys.executable, line, {**os.environ, "PYTHONUTF8": "1"})
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit with its code; an error is one sentence."""
    debug = "--debug" in (sys.argv if arguments is None else arguments)
    if arguments is None:  # a process of its own
        speak_utf8()
    try:
        if any("\0" in word for word in arguments or ()):  # from Python; no shell can pass one on
            raise InputError("a word holds a zero byte; leave it out")
        code = cli.main(arguments, standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (InputError, DamagedFileError, FailedError) as error:
        if debug:
            raise
        say(f"error: {error}")
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        if arguments is None:  # a third Ctrl-C shall not stop it from ending
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        say("interrupted; the same command goes on from here")
        sys.exit(130)
    except OSError as error:
        if debug:
            raise
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        say(f"error: {error}{'; make room, and run the same command again' if full else ''}")
        # The last are a file where a folder was to be, or the other way round.
        sys.exit(2 if error.errno in (errno.EEXIST, errno.ENOTDIR, errno.EISDIR) else 1)


if __name__ == "__main__":
    main()
