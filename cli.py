"""The command line: fair supernet training and coarse-to-fine search of small image generators."""

import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from evo_c2f import __version__, recipe
from evo_c2f.errors import DamagedFileError, InputError
from evo_c2f.progress import reporting
from evo_c2f.recipe import Recipe
from evo_c2f.run import Run
from evo_c2f.space import STAGES, Stage

if TYPE_CHECKING:
    from evo_c2f.search import Progress
    from evo_c2f.stage import Instruments, Summary
    from supernet.job import Job

console = Console(stderr=True)  # for people; what programs read goes to standard output
DEFAULT_RECIPE = "quick"

PATH = click.Path(path_type=Path)
OPTIONS = {
    "recipe": click.option("--recipe", help="A recipe by name, or a .yaml file.  [default: quick]"),
    "data": click.option("--data", type=PATH, help="A folder of photographs to train on."),
    "run": click.option("--run", type=PATH, help="The run's folder.  [default: results/<recipe>]"),
    "set": click.option("--set", multiple=True, metavar="KEY=VALUE", help="A setting: training.rounds=500."),
    "seed": click.option("--seed", type=click.IntRange(min=0), help="Where all random draws start."),
    "objective": click.option("--objective", multiple=True, help="A metric to search on; repeat it."),
    "max": click.option("--max", multiple=True, metavar="METRIC=VALUE", help="An upper limit: size_mb=1.49."),
    "min": click.option("--min", multiple=True, metavar="METRIC=VALUE", help="A lower limit: psnr_y=25."),
    "evaluations": click.option("--evaluations", type=click.IntRange(min=1), help="Distinct subnets a stage asks for."),
    "device": click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, ..."),
    "threads": click.option("--threads", type=click.IntRange(min=1), help="CPU threads.  [default: all cores]"),
    "json": click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on standard output."),
}
SEARCHING = ("objective", "max", "min", "evaluations")
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
@click.version_option(__version__)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Search small image generators: train a supernet fairly, then evolve paths, operators and channels."""


@cli.command("train-supernet")
@options("recipe", "data", "run", "set", "seed", *RUNNING, "json")
@click.option("--stage", type=click.Choice(["joint", "operator", "channel"]), default="joint", show_default=True,
              help="joint: all dimensions; the others go on with the survivors of the stage before.")  # fmt: skip
def train_command(stage: Stage, as_json: bool, **given: Any) -> None:
    """Train the supernet so that every choice gets the same number of updates."""
    run = begin(given)
    done = train(run, stage, make_job(run.recipe, given))
    if as_json:
        click.echo(json.dumps(done))


@cli.command("evolve")
@options("recipe", "run", "set", "seed", *SEARCHING, *RUNNING, "json")
@click.option("--stage", type=click.Choice([*STAGES, "all", "joint"]), required=True,
              help="all: the three in order; joint: all genes at once, to compare with.")  # fmt: skip
def evolve_command(stage: str, as_json: bool, **given: Any) -> None:
    """Search one stage with NSGA-II, starting from the front of the stage before."""
    run = open_run(given)
    stages: tuple[Stage, ...] = STAGES if stage == "all" else (stage,)  # type: ignore[assignment]
    settings = recipe.changed(run.recipe, (*given["set"], *search_changes(given, stages)))
    job = make_job(settings, given)
    seed = settings.seed if given["seed"] is None else given["seed"]
    summaries = [evolve(run, settings, s, job, seed) for s in stages]
    if as_json:
        click.echo(json.dumps([asdict(summary) for summary in summaries]))


@cli.command("search")
@options("recipe", "data", "run", "set", "seed", *SEARCHING, *RUNNING, "json")
def search_command(as_json: bool, **given: Any) -> None:
    """Train the supernet and search the three stages, in one."""
    run = begin(given)
    job = make_job(run.recipe, given)
    train(run, "joint", job)
    summaries = []
    for stage in STAGES:
        if stage in run.recipe.training.stages:
            train(run, stage, job)
        summaries.append(evolve(run, run.recipe, stage, job, run.recipe.seed))
    conclude(summaries)
    if as_json:
        click.echo(json.dumps([asdict(summary) for summary in summaries]))


@cli.command("front")
@options("recipe", "run", "json")
@click.option("--stage", type=click.Choice([*STAGES, "joint"]), help="[default: the latest searched]")
@click.option("--csv", type=PATH, help="Write it as CSV.")
@click.option("--parquet", type=PATH, help="Write it as parquet (needs pyarrow).")
def front_command(as_json: bool, stage: str | None, csv: Path | None, parquet: Path | None, **given: Any) -> None:
    """The Pareto front of a run as a table."""
    from evo_c2f import analysis

    run = open_run(given)
    found = [s for s in ([stage] if stage else [*reversed(STAGES), "joint"]) if run.front(s).is_file()]
    if not found:
        first = stage or STAGES[0]
        raise InputError(f"no front yet; run 'python cli.py evolve --stage {first} --run {run.folder}' first")
    frame = analysis.read_front(run.front(found[0])).drop(columns=["genome"])
    if csv:
        frame.to_csv(csv, index=False)
    if parquet:
        try:
            frame.to_parquet(parquet)
        except ImportError:
            raise InputError("--parquet needs pyarrow; run 'pip install pyarrow'") from None
    if as_json:
        click.echo(json.dumps(analysis.records(frame)))
    elif not (csv or parquet):
        show_front(analysis.records(frame), Console())


@cli.command("bench")
@options("recipe", "data", "set", "seed", *RUNNING, "json")
@click.option("--rows", type=click.IntRange(min=1), default=10_000, show_default=True, help="Scores in the store.")
def bench_command(as_json: bool, rows: int, **given: Any) -> None:
    """What a subnet, a round, an evaluation and the store cost on this machine."""
    import numpy as np

    from evo_c2f.bench import bench_store
    from supernet.bench import bench

    settings = load_recipe(given)
    results = bench(make_job(settings, given), settings.search.output_size, console.print)
    store = bench_store(settings.space, rows, np.random.default_rng(settings.seed))
    console.print("the store: " + ", ".join(f"{name} {value:.4g}" for name, value in store.items()))
    if as_json:
        click.echo(json.dumps(results | store))


# -- what the commands share --------------------------------------------------------------------


def load_recipe(given: Given) -> Recipe:
    """The recipe that the options name, changed by the other options."""
    changes = [*given["set"]]
    if given["data"] is not None:
        changes.append(f"data.folder={json.dumps(str(given['data'].absolute()))}")
    if given["seed"] is not None:
        changes.append(f"seed={given['seed']}")
    return recipe.load(given["recipe"] or DEFAULT_RECIPE, (*changes, *search_changes(given, STAGES)))


def search_changes(given: Given, stages: Sequence[Stage]) -> tuple[str, ...]:
    """The options of a search as 'key=value'."""
    changes = [f"search.{side}.{limit}" for side in ("max", "min") for limit in given.get(side, ())]
    if given.get("objective"):
        changes.append(f"search.objectives={json.dumps(given['objective'])}")
    if given.get("evaluations") is not None:
        changes += [f"search.evaluations.{stage}={given['evaluations']}" for stage in stages]
    return tuple(changes)


def begin(given: Given) -> Run:
    """The run that the options ask for: begun, or taken up where the folder holds the same recipe."""
    settings = load_recipe(given)
    settings.search.metrics()  # an unknown objective is refused now, not after hours of training
    return Run.begin(given["run"] or Path("results") / settings.name, settings)


def open_run(given: Given) -> Run:
    return Run.open(given["run"] or Path("results") / Path(given["recipe"] or DEFAULT_RECIPE).stem)


def make_job(settings: Recipe, given: Given) -> "Job":
    """The torch side of a recipe, on the device that the options name."""
    import torch

    from evo_c2f.problem import refuse_unreachable
    from supernet.job import Job, choose_device
    from supernet.tasks import SuperResolution

    torch.set_num_threads(given["threads"] or os.cpu_count() or 1)
    task = SuperResolution(settings.task.scale)
    job = Job(settings.space, task, settings.data, settings.seed, choose_device(given["device"]), warn)
    # What can't work is refused before hours of training.
    refuse_unreachable(settings.search.limits(), settings.space, job.costs(settings.search.output_size))
    return job


def warn(sentence: str) -> None:
    console.print(f"[yellow]warning:[/] {sentence}", highlight=False, soft_wrap=True)


def train(run: Run, stage: Stage, job: "Job") -> dict[str, Any]:
    """Train one stage of the run's supernet, unless that was done; what came of it."""
    from evo_c2f.stage import read_survivors

    target, settings = run.checkpoint(stage), run.recipe.training
    if target.is_file():
        console.print(f"{target} is there already; nothing to train", highlight=False, soft_wrap=True)
        return {"checkpoint": str(target), "rounds": 0}
    survivors = None if stage == "joint" else read_survivors(run, stage)
    start = None if stage == "joint" else run.weights_for(STAGES[STAGES.index(stage) - 1])
    rounds = settings.rounds if stage == "joint" else settings.stage_rounds
    job.check()
    run.keep_recipe()
    space = run.recipe.space
    console.print(f"space: {space.n_subnets:,} subnets, {space.n_architectures:,} architectures", highlight=False)
    with reporting(console, f"training {stage}", rounds) as reporter:
        smooth = 0.0

        def on_round(index: int, loss: float) -> None:
            nonlocal smooth
            smooth = loss if index == 1 else 0.98 * smooth + 0.02 * loss
            if index % 100 == 0:
                run.log("round", stage=stage, index=index, loss=round(smooth, 6))
            reporter.update(index, f"loss {smooth:.4f}")

        settings = settings.model_copy(update={"rounds": rounds})
        ledger = job.train(stage, survivors, settings, start, target, on_round)
    run.write_ledger(stage, ledger.to_dict())
    run.log("trained", stage=stage, rounds=rounds)
    return {"checkpoint": str(target), "rounds": rounds}


def instruments(run: Run, settings: Recipe, stage: Stage, job: "Job") -> "Instruments":
    """What the search of a stage measures with: the run's weights on the validation images."""
    import torch

    from evo_c2f.stage import Instruments, wanted_metrics
    from evo_c2f.store import Context
    from supernet import checkpoint

    weights = run.weights_for(stage)
    supernet = job.trained(weights)
    names = wanted_metrics(settings.search.metrics(), settings.search.limits())
    size = settings.search.output_size
    search, full = job.measure(supernet, names, size), job.full_measure(supernet, names, size)
    device = f"{job.device}, {torch.get_num_threads()} threads, float32"
    context = Context(
        settings.space.to_dict(),
        checkpoint.fingerprint(weights),
        job.dataset_fingerprint,
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


def evolve(run: Run, settings: Recipe, stage: Stage, job: "Job", seed: int) -> "Summary":
    """Search one stage and say what came of it."""
    from evo_c2f.stage import run_stage

    tools = instruments(run, settings, stage, job)
    with reporting(console, f"evolving {stage}", recipe.evaluations(settings, stage)) as reporter:

        def on_progress(progress: "Progress") -> None:
            best = ", ".join(f"{name} {value:.5g}" for name, value in progress.best.items())
            note = f"generation {progress.generation}, best {best}, hypervolume {progress.hypervolume:.4f}"
            reporter.update(progress.asked, note)

        summary = run_stage(run, settings, stage, tools, seed, on_progress)
    run.log("evolved", **{k: v for k, v in asdict(summary).items() if k != "front"})
    console.print(
        f"{stage}: {summary.asked} subnets asked for, {summary.measured} measured, front of {len(summary.front)}; "
        f"hypervolume {summary.hypervolume_before:.4f} -> {summary.hypervolume:.4f}; "
        f"{summary.seconds:.1f} s, {summary.overhead:.2%} of it the search's own",
        highlight=False,
        soft_wrap=True,
    )
    return summary


def conclude(summaries: Sequence["Summary"]) -> None:
    """The final front, and how far it, and the worst path, lie from what is had for nothing."""
    first, last = summaries[0], summaries[-1]
    for name, value in first.worst.items():
        console.print(f"the worst of {first.asked} paths: {name} {value - first.baseline[name]:+.3f} over bicubic")
    show_front(last.front, console)
    macs = [row["macs"] for row in last.front]
    span = f"{len(macs)} architectures that span {max(macs) / min(macs):.1f}x in MACs"
    gains = {
        name: max(row[name] for row in last.front) - value
        for name, value in last.baseline.items()
        if name.endswith("_full") and name in last.front[0]
    }
    best = "; ".join(f"best {name.removesuffix('_full')} {gain:+.3f} over bicubic" for name, gain in gains.items())
    console.print(f"{span}; {best}, on whole held-out photographs", highlight=False, soft_wrap=True)


def show_front(rows: Sequence[dict[str, Any]], where: Console) -> None:
    """A front as a table: ids, metrics, and the path with one sign a cell (a level, or . for a skip)."""
    metrics = [name for name, value in rows[0].items() if isinstance(value, float)]
    table = Table()
    for name in ("id", *metrics, "path"):
        table.add_column(name, no_wrap=True, justify="right" if name in metrics else "left")
    for row in rows:
        path = "".join(value.replace("skip", ".") for name, value in row.items() if name.startswith("path_"))
        table.add_row(row["id"], *(in_short(row[name]) for name in metrics), path)
    where.print(table)


def in_short(value: float) -> str:
    """Four or five digits, with k, M or G for thousands, millions or milliards."""
    for unit, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= unit:
            return f"{value / unit:.4g}{letter}"
    return f"{value:.5g}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit with its code; an error is one sentence."""
    debug = "--debug" in (sys.argv if arguments is None else arguments)
    try:
        code = cli.main(arguments, standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (InputError, DamagedFileError) as error:
        if debug:
            raise
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted; the same command goes on from here", err=True)
        sys.exit(130)
    except OSError as error:
        if debug:
            raise
        click.echo(f"error: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
