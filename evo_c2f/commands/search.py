"""Commands that search (train-supernet, evolve, search) or show the result (front, report)."""

import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click
from click import get_current_context
from rich.console import Console

from evo_c2f import lock
from evo_c2f.commands.options import (
    MEASURING,
    PATH,
    PORT,
    RUNNING,
    SEARCHING,
    find,
    opened,
    options,
    search_changes,
    training,
    until_the_end,
)
from evo_c2f.commands.terminal import console, tell, warn
from evo_c2f.errors import DamagedFileError, InputError
from evo_c2f.json_text import to_json
from evo_c2f.objectives.metric import metric
from evo_c2f.scores.tables import print_front
from evo_c2f.space import STAGES, Stage

if TYPE_CHECKING:
    from evo_c2f.runs.run import RunFolder
    from evo_c2f.runs.stage import Summary


@click.command("train-supernet")
@options("recipe", "data", "run", "set", "seed", "teacher", *RUNNING, "devices", "tensorboard", "json")
@click.option("--stage", type=click.Choice(["joint", *STAGES]),
              help="Which of the recipe's training.stages to train.  [default: the first]")  # fmt: skip
def train_command(stage: Stage | None, as_json: bool, **given: Any) -> None:
    """Train the supernet in fair rounds; a warning says where the recipe's sampler is not fair."""
    from evo_c2f.workflows.train import train

    session = training(given)
    done = train(session, stage or session.run.recipe.training.stages[0])
    if as_json and session.ranks.first:
        click.echo(to_json(done))


@click.command("evolve")
@options("recipe", "moved", "run", "set", "seed", *SEARCHING, *MEASURING, *RUNNING, "json")
@click.option("--stage", type=click.Choice([*STAGES, "all", "joint"]), required=True,
              help="all searches the three in order; joint searches all genes at once, as a comparison.")  # fmt: skip
@click.option("--retry-failed", is_flag=True, help="Measure again what failed (not finite, out of memory or time).")
def evolve_command(stage: str, retry_failed: bool, as_json: bool, **given: Any) -> None:
    """Search one stage with NSGA-II, starting from the front of the stage before."""
    from evo_c2f.workflows.search import evolve
    from evo_c2f.workflows.session import claim
    from evo_c2f.workflows.train import tell_other_survivors

    # Fail early if a reader keeps the file open; once begun, a search waits without limit.
    lock.wait_for_readers(find(given).scores, lock.PATIENCE_WITH_READERS)
    stages: tuple[Stage, ...] = STAGES if stage == "all" else (stage,)  # type: ignore[assignment]
    session = opened(given, search_changes(given, stages))
    hire, run = session.hiring(), session.run
    # What is missing is told before anything is written.
    run.front_before(stages[0])
    for each in stages:
        run.weights_for(each)
    claim(run, until_the_end())
    seed = session.settings.seed if given["seed"] is None else given["seed"]
    summaries = []
    for each in stages:
        tell_other_survivors(run, run.weights_for(each).stem)
        summaries.append(evolve(session, each, seed, hire, retry_failed))
    if as_json:
        click.echo(to_json([asdict(summary) for summary in summaries]))


@click.command("search")
@options("recipe", "data", "run", "set", "seed", "teacher", *SEARCHING, *MEASURING, *RUNNING, "devices", "tensorboard",
         "json")  # fmt: skip
@click.option("--check-ranking", type=click.IntRange(min=8), metavar="N",
              help="Train N subnets and one per operator alone, and compare the supernet's ranking.")  # fmt: skip
@click.option("--live", is_flag=True, help="Serve the run's page during the search.")
@PORT
def search_command(check_ranking: int | None, as_json: bool, live: bool, port: int, **given: Any) -> None:
    """Train the supernet, search the three stages, and write the page report.html."""
    from evo_c2f.runs import fronts
    from evo_c2f.runs.run import judged_teacher, read_log
    from evo_c2f.workflows import pictures
    from evo_c2f.workflows.search import search

    session = training(given)
    run = session.run
    if check_ranking:  # before the search, which takes long
        from evo_c2f.workflows.studies.operators import check_number

        check_number(run.recipe, check_ranking)
    if live and session.ranks.first:
        show_live(run, port)
    summaries = search(session, (lambda: pictures.draw_pictures(session)) if live else lambda: None)
    if not session.ranks.first:
        return
    session = session.alone()
    teacher = judged_teacher(read_log(run.log_file), run.recipe.teacher.digest)
    conclude(summaries, session.job.task.baseline_name, teacher)
    pictures.draw_samples(session, fronts.latest(run))
    pictures.draw_pictures(session)
    pictures.write_report(run)
    if check_ranking:
        from evo_c2f.workflows.studies.operators import check_ranking as check

        check(session, check_ranking)
    tell(f"next: python cli.py finetune --run {shlex.quote(str(run.folder))} trains one of the front alone")
    if as_json:
        click.echo(to_json([asdict(summary) for summary in summaries]))


def show_live(run: "RunFolder", port: int) -> None:
    """Serve the page until the command ends."""
    from evo_c2f.page.server import serving

    url = get_current_context().with_resource(serving(run, port))
    tell(f"{url} shows the run while it goes on")


def conclude(summaries: Sequence["Summary"], baseline: str, teacher: dict[str, Any]) -> None:
    """Print the final front, and compare it and the worst path with the baseline and the teacher."""
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
        + (f", {teacher['name']} {teacher['metrics'][name]:.5g}" if teacher and name in teacher["metrics"] else "")
        for name, value in last.baseline.items()
        if name.endswith("_full") and name in last.front[0]
    ]
    tell(f"{span}; {'; '.join(best)}, on held-out images")


@click.command("front")
@options("recipe", "run", "json")
@click.option(
    "--stage", type=click.Choice([*STAGES, "joint"]), help="Which stage's front.  [default: the one searched last]"
)
@click.option("--csv", type=PATH, help="Write the table to this CSV file.")
@click.option("--parquet", type=PATH, help="Write the table to this parquet file (needs pyarrow).")
def front_command(as_json: bool, stage: Stage | None, csv: Path | None, parquet: Path | None, **given: Any) -> None:
    """Print the Pareto front of a run as a table."""
    from evo_c2f.runs import fronts
    from evo_c2f.scores import analysis

    frame = fronts.latest(find(given), stage).frame.drop(columns=["genome"])
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


@click.command("report")
@options("recipe", "moved", "run", *RUNNING)
@click.option("--serve", is_flag=True, help="Serve the page, also while the run goes on; Ctrl-C stops it.")
@PORT
def report_command(serve: bool, port: int, **given: Any) -> None:
    """Write a run as one page, <run>/report.html: fronts, subnets with pictures, ledger, gene effects, costs."""
    if serve:
        from evo_c2f.page.server import open_server

        run = find(given)
        with open_server(run, port) as server, suppress(KeyboardInterrupt):
            tell(f"{server.url} shows {run.folder}; Ctrl-C ends it")
            server.serve_forever()
        return
    from evo_c2f.workflows.pictures import draw_pictures, write_report

    run = find(given)
    try:
        draw_pictures(opened(given))
    except (InputError, DamagedFileError) as error:
        warn(f"the page has no new pictures: {error}")
    write_report(run)


COMMANDS: tuple[click.Command, ...] = (search_command, train_command, evolve_command, front_command, report_command)
