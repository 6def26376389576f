"""Compares the best subnet within a share of a teacher's costs with that teacher, and with a narrower one."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import nan
from statistics import fmean
from typing import Any

from torch import nn

from evo_c2f.errors import FailedError, InputError
from evo_c2f.objectives.metric import Limit, metric
from evo_c2f.sections.data import TeacherSection
from evo_c2f.space import subnet_id
from evo_c2f.studies.halving import successive_halving
from evo_c2f.studies.winners import with_interval
from evo_c2f.workflows.finetune import candidates_of
from evo_c2f.workflows.session import Session, make_job
from evo_c2f.workflows.studies.compare import comparison, write_table
from supernet.jobs.comparison import (
    Comparison,
    Contender,
    Finalist,
    Trials,
    baselines,
    new_teacher,
    widest_within,
)
from supernet.models.measure import Score
from supernet.models.model import load_network
from supernet.network.cost import network_costs
from supernet.network.teacher import ResNetGenerator, pruned, torch_pruning
from supernet.teachers.opening import digest_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Terms:
    """The terms of a comparison: the teacher's base channels, images, and the learning rates of each side.

    params_ratio, macs_ratio: the smallest ratios of the teacher's costs to the searched network's. prune: the trained
    teacher is also made narrow by pruning. distil: small networks are also trained to give a teacher's outputs. seeds:
    how many times each network is trained.
    """

    width: int
    images: int
    trial_images: int
    candidates: int
    rates: Sequence[float]
    searched_rates: Sequence[float]
    params_ratio: float
    macs_ratio: float
    prune: bool
    distil: bool
    seeds: int


class AgainstTeacher:
    """Compares the teacher with the best subnet within a share of its costs; both are trained on the same images."""

    def __init__(self, session: Session, terms: Terms):
        """InputError if the run has no subnet within the limits, or no targets beside its teacher's outputs."""
        if terms.distil and session.settings.data.target == "teacher":
            raise InputError("the teacher's outputs are the targets, so all networks learn from it; leave out --distil")
        if terms.prune:
            torch_pruning()
        run, sign = session.run, session.first_quality.sign
        self.session, self.terms = session, terms
        self.trials = Trials(terms.images, terms.trial_images, sign, sorted(terms.searched_rates))
        self.trainer, self.search = comparison(untaught(session)), run.recipe.search
        self.names = [*dict.fromkeys(["lpips", *session.rescored, "psnr_y", "ssim_y"])]
        session.job.check_full(self.names)
        costs = network_costs(new_teacher(terms.width, session.job), self.search.output_size)
        self.limits = {"params": costs["params"] / terms.params_ratio, "macs": costs["macs"] / terms.macs_ratio}
        within = [Limit(metric(name), "max", value) for name, value in self.limits.items()]
        self.finalists = {
            subnet_id(genome): Finalist(subnet_id(genome), run.recipe.space.decode(genome), run.weights_for(stage))
            for stage, genome in candidates_of(session, within, terms.candidates).values()
        }

    def run(self) -> dict[str, Any]:
        """Find the best candidate by successive halving, and compare it. Writes the table to the run; returns it."""
        run, size, job = self.session.run, self.search.output_size, self.trainer.job
        chosen, tried = self.choose()
        narrow = widest_within(network_costs(job.fresh(chosen.architecture), size), size)
        if not narrow:
            log.warning("the narrowest teacher costs more than the searched network; no narrow one is compared")
        score = job.score(self.names, full=True)
        untrained = baselines(self.session.job, score)  # what fails here would lose what is trained next
        each, more = self.train(self.contenders(chosen, narrow), score)
        rows = untrained + over_seeds(each, self.names)
        table = {"rows": rows, "each_seed": each, "subnet": chosen.id, "narrow_width": narrow, "limits": self.limits}
        table |= {"test_images": job.data.counts()[1][0], "trials": tried + more}
        table |= {"supernet_seconds": run.seconds_of("trained"), "search_seconds": run.seconds_of("evolved")}
        write_table(run.folder / "comparison", table)
        return table

    def choose(self) -> tuple[Finalist, list[dict[str, Any]]]:
        """The best candidate by successive halving, and the trials of all."""
        tried = list[dict[str, Any]]()

        def train(names: Sequence[str], seen: int) -> list[float]:
            size = self.search.output_size
            scores = list[float]()
            for name in names:
                try:
                    tried.append(self.trainer.try_finalist(self.finalists[name], size, seen, self.trials))
                    scores.append(tried[-1]["curve"][-1])
                except FailedError as error:
                    log.warning(f"{name} is left out: {error}")
                    scores.append(nan)
            return scores

        best, _ = successive_halving([*self.finalists], self.trials.trial_images, train, self.trials.sign)
        return self.finalists[best], tried

    def contenders(self, chosen: Finalist, narrow: int) -> list[Contender]:
        """The teacher, and the small networks: itself with `narrow` base channels, unless that is 0, and the subnet."""
        terms, subnet = self.terms, chosen.architecture
        small = [
            Contender("searched-from-scratch", lambda by: by.job.fresh(subnet), terms.searched_rates),
            Contender(
                "searched-inherited",
                lambda by: by.job.trained(chosen.weights).extract(subnet),
                terms.searched_rates,
                origin=lambda by: chosen.weights,
            ),
        ]
        if narrow:
            every = sorted({*terms.rates, *terms.searched_rates})  # whether it learns as wide ones do is not known
            small.insert(0, Contender("narrow-teacher", lambda by: new_teacher(narrow, by.job), every))
            if terms.prune:
                make = partial(pruned_teacher, narrow)
                small.insert(1, Contender("pruned-teacher", make, every, origin=lambda by: by.file("teacher")))
        taught = self.terms.distil or self.session.job.judged_teacher
        distilled = [replace(one, name=f"{one.name}-distilled", distilled=True) for one in small] if taught else []
        return [Contender("teacher", lambda by: new_teacher(terms.width, by.job), terms.rates), *small, *distilled]

    def train(self, contenders: Sequence[Contender], score: Score) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Train each with each seed, at the learning rate that is best with the first one.

        Returns a row for each network and seed, and the trials of the rates.
        """
        rows, tried, rates = list[dict[str, Any]](), list[dict[str, Any]](), dict[str, float]()
        for number in range(self.terms.seeds):
            trainers = {False: self.trainer.with_seed(number)}
            for one in contenders:
                if one.distilled not in trainers:
                    trainers[True] = distilling(self.session, trainers[False])
                trainer = trainers[one.distilled]
                if one.origin:
                    trainer = replace(trainer, began_with=digest_of(str(one.origin(trainer))))
                if one.name not in rates:
                    rates[one.name], more = trainer.best_rate(one, self.trials)
                    tried += more
                    tell_edge(one, rates[one.name])
                trained = trainer.train(one.name, one.make(trainer), self.trials.images, rates[one.name])
                costs = network_costs(trained.network, self.search.output_size)
                rows.append({"network": one.name, **costs, **score.of(trained.network), **trained.row()})
        return rows, tried


def tell_edge(contender: Contender, best: float) -> None:
    """Warn if the best learning rate is the largest or the smallest of several: a better one may lie beyond it."""
    edges = {"largest": max(contender.rates), "smallest": min(contender.rates)}
    for word, rate in edges.items() if len(contender.rates) > 1 else ():
        if rate == best:
            log.warning(
                f"{contender.name} learns best with the {word} learning rate tried, {best:g}; try others by --rate and "
                "--searched-rate"
            )


def untaught(session: Session) -> Session:
    """The session without its teacher, unless the targets are its outputs."""
    if session.job.judged_teacher is None:
        return session
    losses = session.settings.training.losses.untaught()
    training = session.settings.training.model_copy(update={"losses": losses})
    settings = session.settings.model_copy(update={"training": training, "teacher": TeacherSection()})
    return replace(session, settings=settings, job=make_job(settings, session.machine, run=session.run))


def distilling(session: Session, trainer: Comparison) -> Comparison:
    """The trainer, whose networks also learn from the session's teacher, or else from the one that it trained."""
    if session.job.judged_teacher is None:
        place = str(trainer.file("teacher").absolute())
        settings = session.settings.with_teacher(place, digest_of(place))
        session = replace(session, settings=settings, job=make_job(settings, session.machine, run=session.run))
    job, settings = replace(session.job, seed=trainer.job.seed), session.settings
    return replace(trainer, job=job, settings=settings.training, taught_by=settings.teacher.digest)


def pruned_teacher(width: int, trainer: Comparison) -> nn.Module:
    """The teacher that was trained, pruned to that many base channels."""
    teacher = load_network(trainer.file("teacher"))
    assert isinstance(teacher, ResNetGenerator)
    return pruned(teacher, width)


def over_seeds(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[dict[str, Any]]:
    """One row a network: the means of the named qualities over its rows, with intervals, and of the seconds."""
    found = []
    for network in dict.fromkeys(row["network"] for row in rows):
        mine = [row for row in rows if row["network"] == network]
        mean = dict(mine[0])
        if len(mine) > 1:
            del mean["curve"]
            mean["seconds"] = round(fmean(row["seconds"] for row in mine))
            for name in names:
                mean |= with_interval(name, [row[name] for row in mine])
        found.append(mean)
    return found
