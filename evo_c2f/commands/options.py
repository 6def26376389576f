"""The options that commands share, and the objects that they describe."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import rich_click as click
from click import get_current_context

from evo_c2f.commands.terminal import console, show
from evo_c2f.engine.budget import AlgorithmName
from evo_c2f.errors import InputError
from evo_c2f.json_text import to_json
from evo_c2f.runs.find import begin_run, find_run, resolve
from evo_c2f.runs.recipe import Recipe
from evo_c2f.runs.run import RunFolder
from evo_c2f.space import STAGES, Stage
from evo_c2f.workers.machine import Machine

if TYPE_CHECKING:
    from evo_c2f.workflows.session import Session

DEFAULT_RECIPE = "quick"


def n_workers(context: click.Context, parameter: click.Parameter, value: str) -> int | None:
    """The number of processes; None for Ray."""
    return None if value == "ray" else click.IntRange(min=1)(value, parameter, context)


def within_run(context: click.Context, parameter: click.Parameter, value: str) -> str:
    """The name of a folder, checked to lie within the run."""
    parts = Path(value).parts
    if not parts or ".." in parts or Path(value).is_absolute():
        raise click.BadParameter(f"{value!r} is no folder within the run; name one such as models/small")
    return value


PATH = click.Path(path_type=Path)
OPTIONS = {
    "recipe": click.option("--recipe", help="The recipe: a name (see recipes) or a .yaml file.  [default: quick]"),
    "data": click.option("--data", type=PATH, help="The folder of pictures to train on."),
    "moved": click.option("--data", type=PATH, help="Where the run's pictures are now, if they were moved."),
    "run": click.option("--run", type=PATH, help="The folder of the run.  [default: results/<recipe>]"),
    "set": click.option(
        "--set",
        multiple=True,
        metavar="KEY=VALUE",
        help="Change a setting of the recipe, as in training.rounds=500; repeat it.",
    ),
    "seed": click.option(
        "--seed", type=click.IntRange(min=0), help="The seed of all random draws.  [default: the recipe's]"
    ),
    "objective": click.option(
        "--objective", multiple=True, help="Search on this metric; repeat it.  [default: the recipe's]"
    ),
    "candidates": click.option(
        "--candidates",
        type=click.IntRange(min=1),
        default=16,
        show_default=True,
        help="How many subnets are tried; they differ in depth and operators.",
    ),  # fmt: skip
    "teacher": click.option(
        "--teacher",
        metavar="FILE",
        help="Learn from this trained network: an .onnx, .pth or .safetensors file, or a plugin's by name.",
    ),
    "trial_images": click.option(
        "--trial-images",
        type=click.IntRange(min=1),
        default=3200,
        show_default=True,
        help="Train the last candidates on this many images; the first ones see a quarter.",
    ),  # fmt: skip
    "max": click.option(
        "--max", multiple=True, metavar="METRIC=VALUE", help="Set an upper limit, as in size_mb=1.49; repeat it."
    ),
    "min": click.option(
        "--min", multiple=True, metavar="METRIC=VALUE", help="Set a lower limit, as in psnr_y=25; repeat it."
    ),
    "evaluations": click.option(
        "--evaluations",
        type=click.IntRange(min=1),
        help="How many different subnets each stage may score.  [default: the recipe's]",
    ),
    "algorithm": click.option(
        "--algorithm", type=click.Choice(get_args(AlgorithmName)), help="pymoo's optimiser.  [default: nsga2]"
    ),  # fmt: skip
    "device": click.option(
        "--device",
        default="auto",
        show_default=True,
        help="Compute on cpu, cuda, cuda:1, ...; auto: the GPU if there is one.",
    ),
    "threads": click.option(
        "--threads", type=click.IntRange(min=1), help="How many CPU threads to use.  [default: all cores]"
    ),
    "workers": click.option(
        "--workers",
        default="1",
        show_default=True,
        metavar="N|ray",
        callback=n_workers,
        help="How many processes measure subnets; ray: as many as fit on a Ray cluster.",
    ),  # fmt: skip
    "ray_address": click.option(
        "--ray-address", metavar="ADDR", help="The address of a running Ray cluster.  [default: this machine]"
    ),
    "gpus_per_worker": click.option(
        "--gpus-per-worker",
        type=click.FloatRange(min=0),
        default=0.0,
        show_default=True,
        help="How many GPUs each Ray worker gets; with 0.5, two share one.",
    ),  # fmt: skip
    "steady_state": click.option(
        "--steady-state",
        is_flag=True,
        help="Give a worker its next subnet at once, without waiting for the generation.",
    ),
    "int8": click.option(
        "--int8", is_flag=True, help="Score the final front in 8 bits too, with the sizes of its files."
    ),
    "devices": click.option(
        "--devices", type=click.IntRange(min=1), help="How many processes train together, one per GPU.  [default: 1]"
    ),
    "tensorboard": click.option("--tensorboard", is_flag=True, help="Write TensorBoard logs to <run>/tensorboard."),
    "json": click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on standard output."),
}
PORT = click.option(
    "--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="The port of the page."
)
SEARCHING = ("objective", "max", "min", "evaluations", "algorithm", "steady_state", "int8")
MEASURING = ("workers", "ray_address", "gpus_per_worker")
RUNNING = ("device", "threads")
Given = dict[str, Any]  # a command's options, by name


def options(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A decorator that adds the named OPTIONS to a command."""

    def add(command: Callable[..., None]) -> Callable[..., None]:
        for name in reversed(names):
            command = OPTIONS[name](command)
        return command

    return add


def machine_of(given: Given) -> Machine:
    """The machine that the options describe. InputError if some are for Ray alone, and it is not used."""
    if given.get("workers", 1) is not None:
        for name in ("ray_address", "gpus_per_worker"):
            if given.get(name):
                raise InputError(f"--{name.replace('_', '-')} goes with --workers ray; add it")
    names = {field.name for field in fields(Machine)}
    return Machine(**{name: value for name, value in given.items() if name in names})


def load_recipe(given: Given, default: str = DEFAULT_RECIPE) -> Recipe:
    """The recipe named by --recipe, else the recipe of the run, changed by the other options."""
    changes = (*given["set"], *search_changes(given, STAGES))
    return resolve(given["recipe"], default, given.get("run"), changes, given["data"], given["seed"])


def search_changes(given: Given, stages: Sequence[Stage]) -> tuple[str, ...]:
    """The search options as recipe settings, 'key=value'."""
    limits = [(side, limit) for side in ("max", "min") for limit in given.get(side, ())]
    for side, limit in limits:
        if "=" not in limit:
            raise InputError(f"--{side} {limit} names no value; write --{side} METRIC=VALUE")
    changes = [f"search.{side}.{limit}" for side, limit in limits]
    if given.get("objective"):
        changes.append(f"search.objectives={to_json(given['objective'])}")
    if given.get("algorithm"):
        changes.append(f"search.algorithm={given['algorithm']}")
    if given.get("steady_state"):
        changes.append("search.steady_state=true")
    if given.get("int8"):
        changes.append("search.int8=true")
    if given.get("evaluations") is not None:
        changes += [f"search.evaluations.{stage}={given['evaluations']}" for stage in stages]
    return tuple(changes)


def begin(given: Given, default: str = DEFAULT_RECIPE) -> RunFolder:
    """The run that the options describe: a new one, or the one in the folder if it has the same recipe."""
    changes, teacher = (*given["set"], *search_changes(given, STAGES)), None
    if given.get("teacher"):
        from evo_c2f.workflows.session import named_teacher

        teacher = named_teacher(given["teacher"])
    return begin_run(given["recipe"], default, given["run"], changes, given["data"], given["seed"], teacher)


def find(given: Given) -> RunFolder:
    """The existing run that the options name."""
    return find_run(given["recipe"] or DEFAULT_RECIPE, given["run"], given.get("data"))


def training(given: Given, default: str = DEFAULT_RECIPE) -> "Session":
    """A session on the described run, new or old, claimed until the command ends. Only the first process prints."""
    from evo_c2f.workflows.session import begin_training

    quieten(given)
    return begin_training(lambda: begin(given, default), machine_of(given), show, until_the_end())


def opened(given: Given, changes: Sequence[str] = ()) -> "Session":
    """A session on the existing run that the options name. changes: settings in addition to those of --set."""
    from evo_c2f.workflows.session import open_session

    changes = (*given.get("set", ()), *changes)
    return open_session(find(given), machine_of(given), show, changes, teacher=given.get("teacher"))


def quieten(given: Given) -> None:
    """Silence this process if it trains with others and is not the first: the first prints the same."""
    from evo_c2f.workflows.session import is_silent

    console.quiet = is_silent(given.get("devices"))


def until_the_end() -> ExitStack:
    """A stack that closes when the command ends."""
    return get_current_context().with_resource(ExitStack())
