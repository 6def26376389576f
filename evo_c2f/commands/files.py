"""Data, files and machines: recipes, data, verify, bench."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click
from click import get_current_context

from evo_c2f.commands.models import DIRECTION, LOAD_SIZE, SPLIT
from evo_c2f.commands.options import PATH, RUNNING, load_recipe, machine_of, options
from evo_c2f.commands.terminal import show, tell
from evo_c2f.json_text import to_json
from evo_c2f.runs import recipe
from evo_c2f.scores.tables import markdown
from evo_c2f.workers.machine import Machine

if TYPE_CHECKING:
    from evo_c2f.runs.recipe import Recipe
    from supernet.pictures.pairs import Direction


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
    """Check and make data sets, and statistics of real images."""


@data_group.command("openmoji")
@click.option(
    "--size", type=click.IntRange(min=16), default=256, show_default=True, help="The side of each image in pixels."
)
@click.argument("out", type=PATH)
def openmoji_command(size: int, out: Path) -> None:
    """Write OpenMoji (CC BY-SA 4.0) as an aligned folder OUT: outline|colour in train/, val/ and test/."""
    from evo_c2f.workflows.tools import write_openmoji

    write_openmoji(out, size)


@data_group.command("check")
@click.argument("folder", type=PATH)
@options("recipe", "set", *RUNNING, "json")
def check_command(folder: Path, as_json: bool, **given: Any) -> None:
    """Read every file in FOLDER, and say which a search by the recipe would use, which not, and why.

    The exit code is 0 if a search could start, else 2.
    """
    from evo_c2f.workflows.tools import check_data

    settings = load_recipe({**given, "data": folder, "seed": None})
    found = check_data(settings, machine_of(given), show)
    click.echo(to_json(found) if as_json else "\n".join(checked_in_words(found)))


def checked_in_words(found: dict[str, Any]) -> list[str]:
    """What `data check` found, line by line."""
    lines = [f"{use}: {' with inputs '.join(sides)}" for use, sides in found["folders"].items()]
    lines.append("used: " + ", ".join(f"{n} for {use}" for use, n in found["used"].items()))
    lines.append(f"not used: {found['not used']}; unreadable: {len(found['unreadable'])}")
    (height, width), (most_high, most_wide) = found["sizes"]
    lines.append(f"sizes: {width}x{height} to {most_wide}x{most_high}")
    return lines + [f"copies of one picture: {', '.join(names)}" for names in found["copies"]]


@data_group.command("cut")
@click.argument("folder", type=PATH)
@click.argument("out", type=PATH)
@click.option("--side", type=click.IntRange(min=16), default=768, show_default=True, help="Of a square, in pixels.")
def cut_command(folder: Path, out: Path, side: int) -> None:
    """Write the most detailed square of each picture in FOLDER to OUT, as 8-bit RGB: large ones train slowly."""
    from evo_c2f.workflows.tools import cut_pictures

    click.echo(f"{out}: {cut_pictures(folder, out, side, show):,} pictures")


@data_group.command("split")
@click.argument("data", type=PATH)
@click.argument("out", type=PATH)
@click.option(
    "--test", "n_test", type=click.IntRange(min=1), default=2048, show_default=True, help="How many images go to test/."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="The seed that chooses them.")
def split_command(data: Path, out: Path, n_test: int, seed: int) -> None:
    """Copy the folder of pairs DATA to OUT with a test/ taken from its train/: FID needs 2,048 images."""
    from evo_c2f.workflows.tools import split_pairs

    sizes = split_pairs(data, out, n_test, seed)
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
    from evo_c2f.workflows.tools import cache_statistics
    from evo_c2f.workflows.use import Images

    images = Images(data, split, direction, load_size)
    click.echo(cache_statistics(images, metric, Machine(device, threads)))


@data_group.command("fid")
@options("json")
def fid_command(as_json: bool) -> None:
    """Say which file of weights FID needs, its hash, the folder to put it in, and whether it is there."""
    from evo_c2f.workflows.tools import what_fid_needs

    needed = what_fid_needs()
    click.echo(to_json(needed) if as_json else "\n".join(f"{name:8}{value}" for name, value in needed.items()))


@click.command("verify")
@click.argument("run", type=PATH)
@options("json")
def verify_command(run: Path, as_json: bool) -> None:
    """Check that the files of a run are as they were written; say what to do where one is not (exit code 1).

    Text, such as pages and cards, can't be checked, and is named.
    """
    from evo_c2f.workflows.tools import verify_run

    findings = list(verify_run(run))
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
    from evo_c2f.workflows.tools import Benchmark

    settings = load_recipe(given)
    if given["simulate"]:
        simulation(settings, given["simulate"], as_json)
        return
    benchmark = Benchmark(settings, machine_of(given))
    if latency_table:
        click.echo(to_json(benchmark.latencies(latency_table)))
    elif given["workers"]:
        click.echo(to_json(benchmark.processes(given["workers"])))
    else:
        results = benchmark.everything(rows)
        if as_json:
            click.echo(to_json(results))


def simulation(settings: "Recipe", run: Path, as_json: bool) -> None:
    """Print how busy many workers would be, and the search's own time for each subnet."""
    from evo_c2f.scores.analysis import load_scores
    from evo_c2f.studies.simulation import MEAN_SECONDS, bench_workers

    seconds = load_scores(run, objectives=None)["seconds"].to_numpy()
    table = bench_workers(settings.space, seconds, settings.seed)
    tell(f"measuring takes {MEAN_SECONDS:g} s in the mean, and varies as in {run}")
    click.echo(to_json(table) if as_json else markdown(table))


COMMANDS: tuple[click.Command, ...] = (recipes_command, data_group, verify_command, bench_command)
