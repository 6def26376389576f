"""The contestants of `study winners`: searched, random and hand-made networks within a budget."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from evo_c2f.errors import InputError
from evo_c2f.objectives.metric import Limit, metric
from evo_c2f.space import Architecture, Genomes, subnet_id
from evo_c2f.studies import winners
from evo_c2f.workflows.finetune import Found, candidates_of
from evo_c2f.workflows.search import latency_table
from evo_c2f.workflows.session import Session
from evo_c2f.workflows.studies.compare import upscalers_only
from supernet.checkpoint import fingerprint
from supernet.jobs.contestants import (
    Budget,
    Contestant,
    in_latency,
    in_size,
    plain_networks,
    single_operator_networks,
    slowest_of_each_operator,
)
from supernet.latency.table import describe, read_table
from supernet.latency.whole import kept, plain_line, ratios_to_plain

log = logging.getLogger(__name__)

RANDOM_NETWORKS = 7  # the stream of the seed for the random networks
FILL = 0.75  # smallest fraction of a size that a searched network uses
LEAST = 0.9  # and that a random one uses
# Where whole files decide, the table proposes networks up to each of these times the budget, since its sums are so
# uncertain: as many as take part for each, and EACH of every operator.
SLACKS, EACH = (1.15, 1.0, 0.9), 6
SINGLE = "single operator"


def budgets(session: Session, sizes: Sequence[float], ratios: Sequence[float]) -> list[Budget]:
    """The budgets in MB, and in the latency of the exported file over the plain network's.

    InputError if the run's task is not super-resolution, or if its search has no latencies.
    """
    upscalers_only(session, "study winners")
    found, job = [in_size(size, session.job.task.frame) for size in sizes], session.job
    if ratios:
        file, size = latency_table(session), session.settings.search.output_size
        if file is None:
            raise InputError("--ratio is for a run searched on latency_ratio, as by the recipe sr-x4-fast")
        table = read_table(file, describe(job.space, job.task.frame, size, job.device))
        times = plain_line(latencies_file(session, file, "plain"), job.task.frame, size, job.device)
        found += [in_latency(ratio, table, times) for ratio in ratios]
    return found


def contestants_of(
    session: Session, budget: Budget, n: int, rivals: Sequence[str] = ("random", "hand-made")
) -> dict[str, dict[str, Contestant]]:
    """Kind -> name -> network, for one budget: searched ones, and those of the rivals.

    random: as many of the space; plain: one of each depth; hand-made: these, and the largest of each operator.
    InputError if one of these kinds has no network within the budget.
    """
    if budget.cost == "latency_ratio":
        subnets = subnets_in_time(session, budget, n, rivals)
    else:
        subnets = subnets_of(session, budget, n, rivals)
    found = {kind: some for kind, some in subnets.items() if kind != SINGLE}
    if "plain" in rivals:
        found["plain"] = plain_networks(budget)
    if "hand-made" in rivals:
        found["hand-made"] = plain_networks(budget) | subnets[SINGLE]
    for kind, some in found.items():
        if not some:
            raise InputError(
                f"no {kind} network fits {budget.cost} {budget.most:g}; take a larger one, or name others by --against"
            )
    counts = ", ".join(f"{len(some)} {kind}" for kind, some in found.items())
    log.info(f"candidates within {budget.cost} {budget.most:g}: {counts}")
    return found


def subnets_of(
    session: Session,
    budget: Budget,
    n: int,
    rivals: Sequence[str],
    slacks: Sequence[float] = (1.0,),
    each: int = 1,
) -> dict[str, dict[str, Contestant]]:
    """The contestants that are subnets: n searched ones for each slack, a share of the budget, and as many random ones.

    slacks: the largest first. each: how many of each single operator.
    """
    space, most = session.settings.space, slacks[0] * budget.most
    searched = within_cost(session, budget.cost, (FILL * budget.most, most), n)
    for slack in slacks[1:]:
        with suppress(InputError):  # some are known, if none so cheap
            searched |= within_cost(session, budget.cost, (FILL * budget.most, slack * budget.most), n)
    of_space: dict[str, Iterable[Genomes]] = {"searched": [genome for _, genome in searched.values()]}
    if "random" in rivals:
        rng = np.random.default_rng([session.settings.seed, RANDOM_NETWORKS])
        within = (LEAST * budget.most, most)
        of_space["random"] = winners.random_within(space, budget.of_subnet, budget.cost, within, len(searched), rng)
    found = {kind: {subnet_id(g): Contestant(space.decode(g)) for g in some} for kind, some in of_space.items()}
    if "hand-made" in rivals:
        found[SINGLE] = single_operator_networks(space, replace(budget, most=most), session.job.task.frame, each)
    return found


def within_cost(session: Session, cost: str, within: tuple[float, float], n: int) -> dict[str, Found]:
    """Up to n searched subnets whose cost lies within (least, most). InputError if there is none."""
    least, most = within
    return candidates_of(session, [Limit(metric(cost), "min", least), Limit(metric(cost), "max", most)], n)


def subnets_in_time(
    session: Session, budget: Budget, n: int, rivals: Sequence[str]
) -> dict[str, dict[str, Contestant]]:
    """The same for a budget in latency: the table proposes, and the time of the whole exported file decides.

    InputError if no searched network is fast enough.
    """
    proposed = subnets_of(session, budget, n, rivals, SLACKS, EACH)
    ratios = whole_ratios(session, {name: one for kind in proposed.values() for name, one in kind.items()})
    fitting = {
        kind: {
            name: replace(one, latency_ratio=ratios[name]) for name, one in some.items() if ratios[name] <= budget.most
        }
        for kind, some in proposed.items()
    }
    if not fitting["searched"]:
        raise InputError(
            f"no searched network takes at most {budget.most:g} of the plain one's time; take a larger --ratio"
        )
    single = slowest_of_each_operator(fitting.pop(SINGLE, {}))
    return {kind: dict([*some.items()][:n]) for kind, some in fitting.items()} | {SINGLE: single}


def whole_ratios(session: Session, networks: Mapping[str, Contestant]) -> dict[str, float]:
    """Each subnet's latency as an exported file, over the plain network's. They are timed once in a run."""
    table = latency_table(session)
    assert table is not None
    frame, size = session.job.task.frame, session.settings.search.output_size

    def measure(some: Sequence[Architecture]) -> list[float]:
        log.info(f"timing {len(some)} exported networks and the plain one; leave the machine quiet")
        return ratios_to_plain(some, frame, size, session.job.device)

    architectures = {name: one.architecture for name, one in networks.items() if one.architecture}
    return kept(latencies_file(session, table, "whole"), architectures, measure)


def latencies_file(session: Session, table: Path, kind: str) -> Path:
    """Where latencies that belong to a table are kept. A table of another folder is named by its content."""
    own = table.parent == session.run.folder
    return session.run.folder / f"{kind}-{table.name if own else f'{fingerprint(table)}.json'}"
