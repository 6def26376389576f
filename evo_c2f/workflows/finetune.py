"""From a front to a model: picks a subnet, or finds the best of several by short trainings, and trains it alone."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from math import nan
from typing import Any

from torch import nn

from evo_c2f.errors import FailedError
from evo_c2f.json_text import to_json
from evo_c2f.objectives.metric import Limit, metric
from evo_c2f.runs import fronts
from evo_c2f.runs.run import RunFolder
from evo_c2f.space import Genomes, Stage, subnet_id
from evo_c2f.studies.halving import successive_halving
from evo_c2f.workflows.session import Session
from supernet import checkpoint
from supernet.jobs.finetune import Finetuning, plan_of, refuse_another
from supernet.metrics.qualities import usual
from supernet.models.card import data_name
from supernet.training.precision import in_use

log = logging.getLogger(__name__)
Found = tuple[Stage, Genomes]  # a subnet, and the stage whose weights scored it


def candidates_for(session: Session, pick: str, n: int, from_scratch: bool) -> dict[str, Found]:
    """The subnets that `pick` names, by id: up to n candidates for 'best', else the knee or the subnet with that id.

    InputError if no subnet is within the limits, or if weights to inherit are missing. Nothing is trained here.
    """
    run, limits = session.run, session.settings.search.limits()
    found = candidates_of(session, [], n) if pick == "best" else by_id([fronts.pick(run, limits, pick)])
    if not from_scratch:
        check_weights(run, found)
    return found


def candidates_of(session: Session, limits: Sequence[Limit], n: int) -> dict[str, Found]:
    """Up to n subnets of all depths and operators, by id, within the search's limits and the given ones."""
    every = [*session.settings.search.limits(), *limits]
    credit = session.settings.search.macs_credit
    return by_id(fronts.candidates(session.run, session.first_quality, every, n, credit))


def by_id(found: Sequence[Found]) -> dict[str, Found]:
    return {subnet_id(genome): (stage, genome) for stage, genome in found}


def check_weights(run: RunFolder, found: Mapping[str, Found]) -> None:
    """InputError if the weights that one of the subnets would inherit are missing."""
    for stage in {stage for stage, _ in found.values()}:
        run.weights_for(stage)


def in_megabytes(least: float, most: float) -> list[Limit]:
    return [Limit(metric("size_mb"), "min", least), Limit(metric("size_mb"), "max", most)]


def finetune_best(
    session: Session, name: str, found: Mapping[str, Found], images: int, from_scratch: bool
) -> dict[str, Any]:
    """Find the best candidate, as `best_alone` does, and train it into <run>/<name>. Returns what `finetune` does.

    InputError, before any trial, if that folder holds another model.
    """
    abouts = [about_of(session, genome, from_scratch) for _, genome in found.values()]
    session.ranks.from_first(lambda: refuse_another(session.run.folder / name, *abouts))
    return finetune(session, name, best_alone(session, found, images), from_scratch)


def best_alone(session: Session, found: Mapping[str, Found], images: int) -> Found:
    """The best candidate by successive halving; `images`: the training images of each candidate in the last round."""
    first, spent = session.first_quality, list[float]()

    def train(names: Sequence[str], seen: int) -> list[float]:
        trial, scores = on_images(session, seen), list[float]()
        for name in names:
            try:
                result = finetune(trial, f"trials/{name}-{seen}", found[name], True, judged_by=first.name)
            except FailedError as error:
                log.warning(f"{name} is left out: {error}")
                scores.append(nan)
                continue
            spent.append(result["seconds"])
            scores.append(float(result[first.name]))
        return scores

    best, trials = successive_halving([*found], images, train, first.sign)
    if trials and session.ranks.first:
        seen = sum(trial.images for trial in trials)
        log.info(f"trials: {len(found)} subnets on {seen:,} images in {sum(spent):,.0f} s; {best} goes on")
    return found[best]


def on_images(session: Session, images: int) -> Session:
    """The same session, but its fine-tuning takes this number of images."""
    settings = session.settings
    rounds = -(-images // batch_of(session))
    how = settings.finetune.model_copy(update={"rounds": rounds})
    return replace(session, settings=settings.model_copy(update={"finetune": how}))


def batch_of(session: Session) -> int:
    """Images in a round of fine-tuning."""
    return session.settings.finetune.batch or session.settings.data.batch


def finetune(session: Session, name: str, found: Found, from_scratch: bool, judged_by: str = "") -> dict[str, Any]:
    """Train a subnet alone into <run>/<name>, unless that is done. Returns its costs and its metrics.

    judged_by: for a trial: the one metric that decides, on the search's images. The folder's name then ends in a hash
    of all settings, so that other settings make other trials.
    """
    run, settings, job, ranks = session.run, session.settings, session.job, session.ranks
    how, (stage, genome) = settings.finetune, found
    architecture = settings.space.decode(genome)
    training, guide = settings.for_finetuning(), None
    about = about_of(session, genome, from_scratch)
    if any(part.guided and part.guide == "widest" for _, part in how.schedule(training.losses)):
        weights = ranks.from_first(run.latest_weights)
        guide, about["guide"] = job.trained(weights, ranks), checkpoint.fingerprint(weights)
    if from_scratch:
        network = job.fresh(architecture)
    else:
        weights = ranks.from_first(lambda: run.weights_for(stage))
        network, about["weights"] = job.trained(weights, ranks).extract(architecture), checkpoint.fingerprint(weights)
    folder = run.folder / (f"{name}-{settings_hash(about)}" if judged_by else name)
    work = Finetuning(job, folder, training, plan_of(how, training.losses, guide), about, whole=not judged_by)
    done = finetuned(session, work, network, [judged_by] if judged_by else [])
    return {
        "model": str(work.folder),
        "subnet": about["subnet"],
        "seconds": done["seconds"],
        **job.costs(settings.search.output_size)(architecture),
        **done["metrics"],
    }


def about_of(session: Session, genome: Genomes, from_scratch: bool) -> dict[str, Any]:
    """What a model's file tells of its training, which is the same for the same model."""
    settings, how = session.settings, session.settings.finetune
    about = {
        "recipe": settings.name,
        "subnet": subnet_id(genome),
        "start": "scratch" if from_scratch else "inherited",
        "losses": how.losses_in_words(settings.training.losses),
        "images": how.rounds * batch_of(session),
        "data": data_name(settings.data.folder),
        "finetune": how.model_dump(mode="json"),
        "training": settings.training.model_dump(mode="json", include={"beta1", "losses", "discriminator"}),
        "precision": in_use(session.job.device, settings.training.precision),
    }
    return about | ({"teacher": settings.teacher.digest} if settings.teacher.file else {})


def settings_hash(about: Mapping[str, Any]) -> str:
    """A short hash of what a file tells of its training. The name of the data's folder may change.

    Older versions did not tell the precision, so the usual one does not count.
    """
    counted = {**about, "data": None}
    if counted["precision"] == "float32":
        del counted["precision"]
    return sha256(to_json(counted).encode()).hexdigest()[:8]


def finetuned(session: Session, work: Finetuning, network: nn.Module, judged_by: Sequence[str] = ()) -> dict[str, Any]:
    """Run the fine-tuning with progress and log. Returns the content of the model's file."""
    names = judged_by or list(dict.fromkeys([*usual(work.job.task), *session.rescored]))
    title = str(work.folder.relative_to(session.run.folder))
    with session.watching(title, work.training.rounds) as (on_round, on_setback):
        return work.run(network, names, on_round, on_setback)
