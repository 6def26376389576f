"""Compare: train-teacher, compare, benchmark, study."""

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click
from click import get_current_context
from click.core import ParameterSource

from evo_c2f.commands.options import (
    MEASURING,
    PATH,
    RUNNING,
    Given,
    begin,
    machine_of,
    opened,
    options,
    training,
    until_the_end,
)
from evo_c2f.commands.terminal import show
from evo_c2f.errors import InputError
from evo_c2f.json_text import to_json
from evo_c2f.scores.tables import markdown

if TYPE_CHECKING:
    from evo_c2f.workflows.session import Session

POSITIVE = click.FloatRange(min=0, min_open=True)
# The studies that use each option.
USERS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("sizes", "ratios", "rivals", "benchmarks", "candidates", "trial_images"), ("winners",)),
    **dict.fromkeys(("architectures", "again", "trainings"), ("ranking", "fairness")),
    "costs": ("operators",),
    "tables": ("tables",),
    "seeds": ("ranking", "fairness", "search", "winners", "tables"),
}


@click.command("train-teacher")
@options("recipe", "data", "run", "set", "seed", *RUNNING, "json")
@click.option(
    "--width", type=click.IntRange(min=1), default=64, show_default=True, help="The base channels of the teacher."
)
@click.option(
    "--images", type=click.IntRange(min=1), required=True, help="How many training images it sees, with repetition."
)
@click.option("--learning-rate", type=POSITIVE, default=0.0002, show_default=True)
@click.option("--unpaired", is_flag=True, help="Train CycleGAN, from trainA/ and trainB/ without pairs.")
def teacher_command(width: int, images: int, learning_rate: float, unpaired: bool, as_json: bool, **given: Any) -> None:
    """Train pix2pix's ResNet of 9 blocks into <run>/models/teacher.safetensors, as a baseline and a teacher.

    With --unpaired, also the other direction's, into teacher-back.safetensors.
    """
    from evo_c2f.workflows.session import Session, claim_with_record, make_job
    from evo_c2f.workflows.studies.compare import comparison, train_teacher
    from evo_c2f.workflows.train import train_unpaired, unpaired_training

    run, machine = begin(given), machine_of(given)
    session = Session(run, run.recipe, make_job(run.recipe, machine, run=run), machine, show)
    if unpaired:
        training = unpaired_training(session, width, images, learning_rate)
        claim_with_record(session, until_the_end())
        found = train_unpaired(session, training)
        if as_json:
            click.echo(to_json(found))
        return
    trainer = comparison(session)
    claim_with_record(session, until_the_end())
    trained = train_teacher(trainer, width, images, learning_rate)
    if as_json:
        click.echo(to_json({"model": str(run.model("teacher")), "seconds": trained.seconds, "curve": trained.curve}))


@click.command("compare")
@options("recipe", "moved", "run", "teacher", *RUNNING, "json")
@click.option(
    "--width", type=click.IntRange(min=1), default=64, show_default=True, help="The base channels of the teacher."
)
@click.option(
    "--images", type=click.IntRange(min=1), default=16000, show_default=True, help="How many images each network sees."
)
@options("candidates", "trial_images")
@click.option("--rate", "rates", type=POSITIVE, multiple=True, default=(0.0002, 0.0005, 0.001), show_default=True,
              help="Try the teacher with this learning rate; repeat it.")  # fmt: skip
@click.option("--searched-rate", "searched_rates", type=POSITIVE, multiple=True, default=(0.001, 0.002, 0.004),
              show_default=True, help="Try the searched generator with this learning rate; repeat it.")  # fmt: skip
@click.option("--params-ratio", type=POSITIVE, default=16.0, show_default=True,
              help="How many times fewer parameters the searched one has.")  # fmt: skip
@click.option("--macs-ratio", type=POSITIVE, default=12.0, show_default=True,
              help="How many times fewer MACs the searched one has.")  # fmt: skip
@click.option("--prune", is_flag=True,
              help="Compare the trained teacher too, pruned by torch-pruning and trained again.")  # fmt: skip
@click.option("--distil", is_flag=True,
              help="Train the small ones also with the trained teacher's outputs beside the targets.")  # fmt: skip
@click.option("--seeds", type=click.IntRange(min=1), default=1, show_default=True,
              help="How many times each network is trained; the table then has means and 95 % intervals.")  # fmt: skip
def compare_command(as_json: bool, **given: Any) -> None:
    """Compare the best subnet within a share of the teacher's costs with the teacher, trained on the same images.

    Candidates of all depths and operators are trained alone, by successive halving; the best goes on. The narrow
    teacher has as many base channels as the subnet's parameters and MACs allow. What is there is not trained again.
    """
    from evo_c2f.runs import fronts
    from evo_c2f.workflows.pictures import draw_samples
    from evo_c2f.workflows.session import claim
    from evo_c2f.workflows.studies.against_teacher import AgainstTeacher, Terms

    session = opened(given)
    front = fronts.latest(session.run)  # InputError before the trainings if there is no front
    names = {field.name for field in fields(Terms)}
    work = AgainstTeacher(session, Terms(**{name: value for name, value in given.items() if name in names}))
    claim(session.run, until_the_end())
    table = work.run()
    draw_samples(session, front)
    click.echo(to_json(table) if as_json else markdown(table["rows"]))


@click.command("benchmark")
@options("recipe", "moved", "run", "set", *RUNNING, "json")
@click.argument("folders", nargs=-1, required=True, type=PATH, metavar="BENCHMARK...")
@click.option("--size", "sizes", type=POSITIVE, multiple=True, default=(0.6, 1.49, 3.9), show_default=True,
              help="A size in MB that models must fit; repeat it.")  # fmt: skip
@click.option("--fill", type=click.FloatRange(0, 1), default=0.0, show_default=True,
              help="Candidates use at least this share of the size: shared weights underrate large ones.")  # fmt: skip
@click.option("--plain", "plains", type=click.Choice(["usual", "alike"]), multiple=True, default=("usual",),
              show_default=True, help="Train the plain network as by hand, or as the others; repeat it.")  # fmt: skip
@click.option("--start", "starts", type=click.Choice(["scratch", "inherited"]), multiple=True,
              default=("scratch", "inherited"), show_default=True,
              help="Where the searched networks' weights start; repeat it.")  # fmt: skip
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
    """Compare the best upscalers of some sizes with a plain network, trained on the same images, on benchmarks.

    For each size, candidates of all depths and operators are trained alone in <run>/trials/, by successive halving; the
    best on the run's own held-out photographs is trained in <run>/models/, from scratch and from the supernet's
    weights. What is there is not trained again. The table, of all models there, goes to <run>/benchmark.md and .json.
    """
    from evo_c2f.workflows.finetune import candidates_of, check_weights, in_megabytes
    from evo_c2f.workflows.session import claim
    from evo_c2f.workflows.studies.compare import benchmark, check_benchmarks

    session = opened(given)
    check_benchmarks(session, folders, "benchmark")
    found = {size: candidates_of(session, in_megabytes(fill * size, size), candidates) for size in sizes}
    if "inherited" in starts:
        for each in found.values():
            check_weights(session.run, each)
    claim(session.run, until_the_end())
    table = benchmark(session, folders, found, plains, starts, trial_images)
    click.echo(to_json(table) if as_json else markdown(table["rows"]))


@click.command("study")
@click.argument(
    "what", type=click.Choice(["ranking", "fairness", "search", "operators", "winners", "tables", "stages"])
)
@options("recipe", "data", "run", "set", "seed", *MEASURING, *RUNNING, "json")
@click.option("--costs", type=click.IntRange(min=2), default=2, show_default=True,
              help="operators: at how many trunk widths each operator is trained.")  # fmt: skip
@click.option("--size", "sizes", type=POSITIVE, multiple=True,
              help="winners: a size in MB that networks must fit; repeat it.  [default: 0.6, 1.49]")  # fmt: skip
@click.option("--ratio", "ratios", type=POSITIVE, multiple=True,
              help="winners: a latency that networks must fit, over the plain network's; repeat it.")  # fmt: skip
@click.option("--against", "rivals", type=click.Choice(["random", "plain", "hand-made"]), multiple=True,
              default=("random", "hand-made"), show_default=True,
              help="winners: whom the search's networks race; repeat it.")  # fmt: skip
@click.option("--benchmark", "benchmarks", type=PATH, multiple=True,
              help="winners: judge them on this benchmark at the end; repeat it.")  # fmt: skip
@options("candidates", "trial_images")
@click.option("--architectures", type=click.IntRange(min=20), default=100, show_default=True,
              help="ranking, fairness: how many networks are trained alone.")  # fmt: skip
@click.option("--again", type=click.IntRange(min=2), default=12, show_default=True,
              help="How many of them are trained twice, to show the best agreement possible.")  # fmt: skip
@click.option("--seeds", type=click.IntRange(min=1),
              help="How many seeds.  [default: 2, for search 10, winners 3, tables 100]")  # fmt: skip
@click.option("--table", "tables", multiple=True,
              help="tables: search this table alone; repeat it.  [default: all that are in --data]")  # fmt: skip
@click.option("--training", "trainings", multiple=True,
              help="ranking, fairness: compare this way to train; repeat it.  [default: all]")  # fmt: skip
def study_command(
    what: str,
    costs: int,
    sizes: tuple[float, ...],
    ratios: tuple[float, ...],
    rivals: tuple[str, ...],
    benchmarks: tuple[Path, ...],
    candidates: int,
    trial_images: int,
    architectures: int,
    again: int,
    seeds: int | None,
    tables: tuple[str, ...],
    trainings: tuple[str, ...],
    as_json: bool,
    **given: Any,
) -> None:
    """Test the method: does the supernet rank rightly, which training and search pay, which operators?

    ranking: the supernet's scores against training subnets alone; fairness: the same for other ways to train, at the
    same cost in MACs; search: ways to search the trained supernet, at the same number of subnets. The default recipe
    is evidence. operators: each operator of a searched --run trained alone at several costs, for a quarter of
    finetune.rounds and for all of them, beside its shared scores. winners: what a run's search found against random
    and hand-made networks of its size, all trained alike by `finetune`; the best of each kind by successive halving,
    then in full with several seeds. tables: searches on the public tables of trained networks in --data, whose true
    front is known. stages: how much of the quality a trained run's paths, operators and widths explain. Tables and
    pictures go to the run's folder; nothing is measured twice.
    """
    refuse_options_of_others(what)
    if what == "tables":
        found = study_tables(given, seeds or 100, tables)
        click.echo(to_json(found) if as_json else markdown(found["rows"]))
        return
    from evo_c2f.workflows.studies.compare import write_table

    if what in ("winners", "operators", "stages") and given["seed"] is not None:
        raise InputError(f"study {what} draws by the seed of its run; leave --seed out")
    if what == "winners":
        amounts = (candidates, trial_images, seeds or 3)
        session, table = study_winners(given, sizes, ratios, rivals, benchmarks, amounts)
    elif what in ("operators", "stages"):
        session, table = study_weights(given, what, costs)
    else:
        from evo_c2f.workflows.studies.evidence import ranking_study, search_study

        session = training(given, "evidence")
        if what == "search":
            table = search_study(session, seeds or 10)
        else:
            table = ranking_study(session, what, (architectures, again), seeds or 2, trainings)
    write_table(session.run.folder / what, table)
    click.echo(to_json(table) if as_json else markdown(table["rows"]))


def refuse_options_of_others(what: str) -> None:
    """InputError if an option was given that the study `what` does not use."""
    context = get_current_context()
    flags = {parameter.name: parameter.opts[0] for parameter in context.command.params}
    for name, users in USERS.items():
        if what not in users and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise InputError(f"{flags[name]} is for study {', '.join(users)}; leave it out")


def study_winners(
    given: Given,
    sizes: tuple[float, ...],
    ratios: tuple[float, ...],
    rivals: tuple[str, ...],
    benchmarks: tuple[Path, ...],
    amounts: tuple[int, int, int],
) -> "tuple[Session, dict[str, Any]]":
    from evo_c2f.workflows.session import claim
    from evo_c2f.workflows.studies.compare import check_benchmarks
    from evo_c2f.workflows.studies.contestants import budgets, contestants_of
    from evo_c2f.workflows.studies.winners import Amounts, winners_study

    session = opened(given)
    if given["workers"] is None:
        raise InputError("study winners trains in processes of this machine, not with Ray; give a number of --workers")
    check_benchmarks(session, benchmarks, "study winners")
    wanted = budgets(session, sizes or (() if ratios else (0.6, 1.49)), ratios)
    found = [(one, contestants_of(session, one, amounts[0], rivals)) for one in wanted]
    claim(session.run, until_the_end())
    return session, winners_study(session, found, benchmarks, Amounts(*amounts))


def study_tables(given: Given, seeds: int, tables: tuple[str, ...]) -> dict[str, Any]:
    from evo_c2f.workflows.studies.tables import tables_study

    folder = given["data"]
    if folder is None or given["recipe"] or given["set"] or given["seed"] is not None or given["workers"] is None:
        raise InputError("study tables takes the folder of tables as --data, and no recipe, settings, seed or Ray")
    return tables_study(folder, given["run"] or Path("results/tables"), seeds, given["workers"], tables, show)


def study_weights(given: Given, what: str, n_costs: int) -> "tuple[Session, dict[str, Any]]":
    from evo_c2f.workflows.session import claim
    from evo_c2f.workflows.studies.evidence import stages_study
    from evo_c2f.workflows.studies.operators import operators_study

    session = opened(given)
    session.run.weights_for("operator" if what == "operators" else "joint")  # before anything is written
    claim(session.run, until_the_end())
    return session, operators_study(session, n_costs) if what == "operators" else stages_study(session)


COMMANDS: tuple[click.Command, ...] = (benchmark_command, compare_command, teacher_command, study_command)
