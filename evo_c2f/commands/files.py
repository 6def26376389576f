"""Data, files and machines: recipes, data, verify, bench."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click
from click import get_current_context

from evo_c2f.commands.models import DIRECTION, LOAD_SIZE, SPLIT
from evo_c2f.commands.options import PATH, RUNNING, load_recipe, machine_of, options
from evo_c2f.commands.terminal import console, tell, warn
from evo_c2f.errors import FailedError, InputError
from evo_c2f.json_text import to_json
from evo_c2f.runs import recipe
from evo_c2f.scores.tables import markdown

if TYPE_CHECKING:
    from torch import Tensor

    from evo_c2f.runs.recipe import Recipe
    from supernet.data.aligned import Direction


@click.command("recipes")
@options("json")
def recipes_command(as_json: bool) -> None:
    """The recipes that --recipe takes by name: what each one searches, and how long that takes."""
    found = {name: recipe.about(name) for name in recipe.names()}
    if as_json:
        click.echo(to_json([{"name": name, "about": about} for name, about in found.items()]))
    else:
        width = max(map(len, found))
        click.echo("\n".join(f"{name:{width}}  {about}" for name, about in found.items()))


@click.group("data")
def data_group() -> None:
    """Make data sets, and statistics of real images."""


@data_group.command("openmoji")
@click.option(
    "--size", type=click.IntRange(min=16), default=256, show_default=True, help="The side of each image in pixels."
)
@click.argument("out", type=PATH)
def openmoji_command(size: int, out: Path) -> None:
    """Write OpenMoji (CC BY-SA 4.0) as an aligned folder OUT: outline|colour in train/, val/ and test/."""
    from evo_c2f.workflows.session import rendering
    from supernet.data import openmoji

    openmoji.write_folder(out, size, rendering)
    tell(f"{out}: {openmoji.LICENCE.strip()}")


@data_group.command("split")
@click.argument("data", type=PATH)
@click.argument("out", type=PATH)
@click.option(
    "--test", "n_test", type=click.IntRange(min=1), default=2048, show_default=True, help="How many images go to test/."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="The seed that chooses them.")
def split_command(data: Path, out: Path, n_test: int, seed: int) -> None:
    """Copy the folder of pairs DATA to OUT with a test/ taken from its train/: FID needs 2,048 images."""
    from supernet.data import aligned
    from supernet.data.picture_files import tell_others

    for folder in (data / "train", data / "val"):
        if folder.is_dir():
            tell_others(folder, warn)
    sizes = aligned.split_off(data, out, n_test, seed)
    click.echo(f"{out}: " + ", ".join(f"{n} images in {name}/" for name, n in sizes.items()))


@data_group.command("stats")
@click.argument("data", type=PATH)
@SPLIT
@DIRECTION
@LOAD_SIZE
@click.option(
    "--metric", default="fid", show_default=True, help="The distance: fid, fd_vgg, or fid_n200 for 200 images."
)
@options(*RUNNING)
def stats_command(
    data: Path, split: str, direction: "Direction", load_size: int | None, metric: str, device: str, threads: int | None
) -> None:
    """Compute and cache the statistics of the real images in DATA that a Frechet distance needs."""
    from evo_c2f.workflows.use import prepare
    from supernet.data import aligned
    from supernet.data.picture_files import tell_others
    from supernet.metrics import frechet, qualities

    if not qualities.is_frechet(metric):
        raise InputError(f"metric {metric!r} needs no statistics; name fid or fd_vgg")
    paths = aligned.split_files(data, split)
    tell_others(data / split, warn)
    aligned.check_sizes(paths, warn)
    batches = aligned.in_batches(aligned.Pairs(paths, direction, load_size), aligned.EVALUATION_BATCH)
    targets: list[Tensor] = [target for _, target in batches]
    frechet.Frechet(metric, targets, prepare(device, threads))
    path = frechet.statistics_file(metric, targets)
    if not path.is_file():
        raise FailedError(f"{path} can't be written; set XDG_CACHE_HOME to a folder that can be")
    click.echo(path)


@click.command("verify")
@click.argument("run", type=PATH)
@options("json")
def verify_command(run: Path, as_json: bool) -> None:
    """Check that the files of a run are as they were written; say what to do where one is not (exit code 1).

    Text, such as pages and cards, can't be checked, and is named.
    """
    from evo_c2f.runs.verify import verify
    from supernet import checkpoint
    from supernet.models.seal import check_export

    readers: dict[str, Callable[[Path], object]] = dict.fromkeys((".onnx", ".pt2"), partial(check_export, warn=warn))
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


@click.command("bench")
@options("recipe", "data", "set", "seed", *RUNNING, "json")
@click.option(
    "--rows",
    type=click.IntRange(min=1),
    default=10_000,
    show_default=True,
    help="How many scores the store is tried with.",
)
@click.option("--latency-table", type=PATH, help="Only time every part of the space, and write this table.")
@click.option("--workers", type=click.IntRange(min=2), help="Only compare this many measuring processes with one.")
@click.option("--simulate", type=PATH, metavar="RUN",
              help="Only simulate a steady-state search whose workers take as long as in RUN.")  # fmt: skip
def bench_command(as_json: bool, rows: int, latency_table: Path | None, **given: Any) -> None:
    """Measure what a subnet, a round, an evaluation and the store cost on this machine."""
    import numpy as np

    from evo_c2f.objectives.metric import wanted_metrics
    from evo_c2f.studies.bench import bench_processes, bench_store
    from evo_c2f.workers.processes import Task
    from evo_c2f.workflows.session import make_job
    from supernet.jobs.bench import bench, bench_latencies

    settings = load_recipe(given)
    if given["simulate"]:
        simulation(settings, given["simulate"], as_json)
        return
    job, search = make_job(settings, machine_of(given)), settings.search
    measured, size = wanted_metrics(search.metrics(), search.limits()), search.output_size
    if latency_table:
        click.echo(to_json(bench_latencies(job, size, latency_table, tell)))
        return
    rng = np.random.default_rng(settings.seed)
    if given["workers"]:
        measure = job.measure(job.supernet(), measured, size)
        task = Task(measure, tuple(measure.names))
        click.echo(to_json(bench_processes(given["workers"], task, settings.space, rng)))
        return
    results = bench(job, measured, size, console.print)
    store = bench_store(settings.space, rows, rng)
    console.print("the store: " + ", ".join(f"{name} {value:.4g}" for name, value in store.items()))
    if as_json:
        click.echo(to_json(results | store))


def simulation(settings: "Recipe", run: Path, as_json: bool) -> None:
    """Print how busy many workers would be, and the search's own time for each subnet."""
    from evo_c2f.scores.analysis import load_scores
    from evo_c2f.studies.simulation import MEAN_SECONDS, bench_workers

    seconds = load_scores(run, objectives=None)["seconds"].to_numpy()
    table = bench_workers(settings.space, seconds, settings.seed)
    tell(f"measuring takes {MEAN_SECONDS:g} s in the mean, and varies as in {run}")
    click.echo(to_json(table) if as_json else markdown(table))


COMMANDS: tuple[click.Command, ...] = (recipes_command, data_group, verify_command, bench_command)
