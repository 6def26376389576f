"""Compares the search's networks with what one would use without a search: a teacher, or a plain network."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from evo_c2f.errors import InputError
from evo_c2f.files import write_text
from evo_c2f.json_text import to_json
from evo_c2f.objectives.metric import Limit, metric
from evo_c2f.runs import fronts
from evo_c2f.runs.recipe import SuperResolutionRecipe
from evo_c2f.runs.sections import LossesSection
from evo_c2f.scores.tables import markdown
from evo_c2f.space import subnet_id
from evo_c2f.studies.halving import successive_halving
from evo_c2f.workflows.finetune import Found, batch_of, best_alone, finetune, finetuned
from evo_c2f.workflows.session import Session
from supernet.jobs.alone import Plan
from supernet.jobs.benchmark import check, side_by_side
from supernet.jobs.comparison import Comparison, Finalist, Trained, Trials, new_teacher
from supernet.jobs.finetune import Finetuning, plan_of
from supernet.models.card import data_name
from supernet.network.cost import network_costs
from supernet.network.plain import BATCH, PATCH, SETTINGS, PlainUpscaler

log = logging.getLogger(__name__)


def comparison(session: Session) -> Comparison:
    """A Comparison that trains networks alone, by the run's recipe, into the run's models/."""
    run, job = session.run, session.job
    search, settings, teacher = run.recipe.search, session.settings.training, session.settings.teacher
    names = [o.name for o in search.metrics() if o.kind == "quality"]
    job.check(settings, names, search.rescore)
    models = run.folder / "models"
    batch = run.recipe.data.batch
    return Comparison(job, settings, job.score(names), batch, models, session.watching, teacher.digest)


def train_teacher(trainer: Comparison, width: int, images: int, learning_rate: float) -> Trained:
    """Train pix2pix's ResNet of 9 blocks into the run's models/teacher.safetensors."""
    return trainer.train("teacher", new_teacher(width, trainer.job), images, learning_rate)


@dataclass(frozen=True)
class Terms:
    """The terms of a comparison: the teacher's base channels, images, and the learning rates of each side.

    params_ratio, macs_ratio: the smallest ratios of the teacher's costs to the searched network's.
    """

    width: int
    images: int
    trial_images: int
    candidates: int
    rates: Sequence[float]
    searched_rates: Sequence[float]
    params_ratio: float
    macs_ratio: float


class AgainstTeacher:
    """Compares the teacher with the best subnet within a share of its costs; both are trained on the same images."""

    def __init__(self, session: Session, terms: Terms):
        """InputError if the run has no subnet within the limits."""
        run, sign = session.run, session.first_quality.sign
        self.session, self.width = session, terms.width
        self.trials = Trials(terms.images, terms.trial_images, sign, terms.rates, terms.searched_rates)
        self.trainer, self.search = comparison(session), run.recipe.search
        self.names = [*dict.fromkeys(["lpips", *self.search.rescore, "psnr_y", "ssim_y"])]
        session.job.check_full(self.names)
        costs = network_costs(new_teacher(terms.width, session.job), self.search.output_size)
        self.limits = {"params": costs["params"] / terms.params_ratio, "macs": costs["macs"] / terms.macs_ratio}
        within = [Limit(metric(name), "max", value) for name, value in self.limits.items()]
        self.finalists = {
            subnet_id(genome): Finalist(subnet_id(genome), run.recipe.space.decode(genome), run.weights_for(stage))
            for stage, genome in fronts.candidates(run, session.first_quality, within, terms.candidates)
        }

    def run(self) -> dict[str, Any]:
        """Find the best candidate by successive halving, and compare it. Writes the table to the run; returns it."""
        run, size, tried = self.session.run, self.search.output_size, list[dict[str, Any]]()

        def train(names: Sequence[str], seen: int) -> list[float]:
            rows = [self.trainer.try_finalist(self.finalists[name], size, seen, self.trials) for name in names]
            tried.extend(rows)
            return [row["curve"][-1] for row in rows]

        sign = self.session.first_quality.sign
        best, _ = successive_halving([*self.finalists], self.trials.trial_images, train, sign)
        table = self.trainer.against_teacher(self.width, self.finalists[best], size, self.trials, self.names)
        table["trials"] = tried + table["trials"]
        table["limits"] = self.limits
        table |= {"supernet_seconds": run.seconds_of("trained"), "search_seconds": run.seconds_of("evolved")}
        write_table(run.folder / "comparison", table)
        return table


def upscalers_only(session: Session, command: str) -> SuperResolutionRecipe:
    """The session's settings. InputError if their task is not super-resolution."""
    if not isinstance(session.settings, SuperResolutionRecipe):
        raise InputError(f"{command} is for super-resolution; use 'python cli.py compare --run {session.run.folder}'")
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
    if habits == "usual":
        rounds = -(-images // BATCH)
        others = {"rounds": rounds, "losses": LossesSection(), **SETTINGS}
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
    finetuned(session, Finetuning(job, session.run.folder / "models" / name, training, plan, about), network)


def write_table(path: Path, table: Mapping[str, Any]) -> None:
    """Write the table as JSON, and its rows as Markdown."""
    write_text(path.with_suffix(".json"), to_json(table, indent=1) + "\n")
    write_text(path.with_suffix(".md"), markdown(table["rows"]))
