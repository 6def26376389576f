"""Compares the search's networks with what one would use without a search: a teacher, or a plain network."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from evo_c2f.errors import InputError
from evo_c2f.files import write_text
from evo_c2f.json_text import to_json
from evo_c2f.runs.recipe import SuperResolutionRecipe
from evo_c2f.scores.tables import markdown
from evo_c2f.sections.training import LossesSection
from evo_c2f.workflows.finetune import Found, batch_of, best_alone, finetune, finetuned
from evo_c2f.workflows.session import Session
from supernet.jobs.alone import Plan
from supernet.jobs.benchmark import check, side_by_side
from supernet.jobs.comparison import Comparison, Trained, new_teacher
from supernet.jobs.finetune import Finetuning, plan_of
from supernet.models.card import data_name
from supernet.network.plain import BATCH, PATCH, SETTINGS, PlainUpscaler

log = logging.getLogger(__name__)


def comparison(session: Session) -> Comparison:
    """A Comparison that trains networks alone, by the run's recipe, into the run's models/."""
    run, job = session.run, session.job
    search, settings, teacher = run.recipe.search, session.settings.training, session.settings.teacher
    names = [o.name for o in search.metrics() if o.kind == "quality"]
    job.check(settings, names, session.rescored)
    models = run.folder / "models"
    batch = run.recipe.data.batch
    return Comparison(job, settings, job.score(names), batch, models, session.watching, teacher.digest)


def train_teacher(trainer: Comparison, width: int, images: int, learning_rate: float) -> Trained:
    """Train pix2pix's ResNet of 9 blocks into the run's models/teacher.safetensors."""
    return trainer.train("teacher", new_teacher(width, trainer.job), images, learning_rate)


def upscalers_only(session: Session, command: str) -> SuperResolutionRecipe:
    """The session's settings. InputError if their task is not super-resolution of RGB."""
    if not isinstance(session.settings, SuperResolutionRecipe):
        raise InputError(f"{command} is for super-resolution; use 'python cli.py compare --run {session.run.folder}'")
    if session.settings.task.channels != 3:
        raise InputError(f"{command} is for RGB, and task.channels is {session.settings.task.channels}")
    return session.settings


def check_benchmarks(session: Session, folders: Sequence[Path], command: str) -> None:
    """InputError if the session is of another task than super-resolution, or a benchmark can't be judged on."""
    check(folders, upscalers_only(session, command).task.scale, log.warning)


def benchmark(
    session: Session,
    folders: Sequence[Path],
    found: Mapping[float, Mapping[str, Found]],
    plains: Sequence[str],
    starts: Sequence[str],
    trial_images: int,
) -> dict[str, Any]:
    """Compare the best upscaler of each size with a plain network, trained on the same images, on benchmarks.

    found: size in MB -> candidates by id. plains: how the plain network is trained ('usual', 'alike'). starts: where
    the searched networks' weights start ('scratch', 'inherited'). Returns a table of all models in the run, and writes
    it to benchmark.md and benchmark.json there.
    """
    run, settings = session.run, upscalers_only(session, "benchmark")
    for size, each in found.items():
        train_contestants(session, size, each, plains, starts, trial_images)
    models = {path.parent.name: path for path in sorted((run.folder / "models").glob("*/model.safetensors"))}
    rows = side_by_side(models, folders, settings.search.output_size, session.job.device)
    for row in rows:
        if row.get("start") == "inherited":
            row["supernet_seconds"] = run.seconds_of("trained")
    table = {"rows": rows, "search_seconds": run.seconds_of("evolved")}
    write_table(run.folder / "benchmark", table)
    return table


def train_contestants(
    session: Session,
    size: float,
    found: Mapping[str, Found],
    plains: Sequence[str],
    starts: Sequence[str],
    trial_images: int,
) -> None:
    """Train the plain network, and the best candidate of a size from each start, all on the same number of images."""
    images = session.settings.finetune.rounds * batch_of(session)
    best = best_alone(session, found, trial_images)
    for habits in plains:
        train_plain(session, images, habits)
    for start in starts:
        finetune(session, f"models/{size:g}MB-{start}-{images}", best, from_scratch=start == "scratch")


def train_plain(session: Session, images: int, habits: str) -> None:
    """Train the plain network on this number of images, unless that is done.

    habits: 'usual': by the customary settings for such networks; 'alike': by the recipe's `finetune`.
    """
    settings, job = upscalers_only(session, "benchmark"), session.job
    about: dict[str, Any] = {"network": "plain", "start": "scratch", "images": images}
    if habits == "usual":
        rounds = -(-images // BATCH)
        others = {"rounds": rounds, "losses": LossesSection(), **SETTINGS}
        training = settings.training.model_copy(update=others)
        name, words, plan = f"plain-{images}", "l1", Plan(BATCH, [(rounds, PATCH)])
    else:
        training, how = settings.for_finetuning(), settings.finetune.without_supernet()
        losses = training.losses.without_supernet()
        name, words, plan = f"plain-alike-{images}", how.losses_in_words(losses), plan_of(how, losses, None)
        about["finetune"] = how.model_dump(mode="json")
    about |= {"losses": words, "data": data_name(settings.data.folder)}
    torch.manual_seed(job.seed)
    network = PlainUpscaler(scale=settings.task.scale)
    finetuned(session, Finetuning(job, session.run.folder / "models" / name, training, plan, about), network)


def write_table(path: Path, table: Mapping[str, Any]) -> None:
    """Write the table as JSON, and its rows as Markdown."""
    write_text(path.with_suffix(".json"), to_json(table, indent=1) + "\n")
    write_text(path.with_suffix(".md"), markdown(table["rows"]))
