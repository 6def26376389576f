"""`study winners`: searched, random and hand-made networks of each size, trained alike."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from evo_c2f.scores import analysis
from evo_c2f.studies import winners
from evo_c2f.workers.processes import in_processes
from evo_c2f.workflows.finetune import batch_of, finetuned, on_images
from evo_c2f.workflows.session import Session
from supernet import checkpoint
from supernet.jobs.benchmark import names_with, side_by_side
from supernet.jobs.contestants import Budget, Contestant
from supernet.jobs.finetune import Finetuning, plan_of
from supernet.models.card import data_name
from supernet.models.model import FILE
from supernet.training.precision import in_use

log = logging.getLogger(__name__)
Kinds = Mapping[str, Mapping[str, Contestant]]  # kind -> name -> network


@dataclass(frozen=True)
class Amounts:
    """Candidates of each kind, images of a trial in the last round of halving, and seeds of the best network."""

    candidates: int
    trial_images: int
    seeds: int


def winners_study(
    session: Session, found: Sequence[tuple[Budget, Kinds]], benchmarks: Sequence[Path], amounts: Amounts
) -> dict[str, Any]:
    """Find the best network of each kind and budget by successive halving, and train it in full with several seeds.

    found: each budget's networks, by kind and name. The final networks are also judged on the benchmarks.
    """
    run, first = session.run, session.first_quality
    images = session.settings.finetune.rounds * batch_of(session)
    judged = [folder.resolve().name for folder in benchmarks if first.name in names_with(first.name)]
    qualities = [first.name, *(f"{title} {first.name}" for title in judged)]
    if amounts.trial_images >= images:
        log.warning(
            f"trials of {amounts.trial_images:,} images are as long as the full training of {images:,}, whose first "
            "seed they share; take fewer --trial-images"
        )
    rows, trials, finals = list[dict[str, Any]](), list[dict[str, Any]](), list[dict[str, Any]]()
    for budget, kinds in found:
        limit = {"budget": budget.cost, "most": budget.most}
        every = {name: one for kind in kinds.values() for name, one in kind.items()}

        def train(
            which: Sequence[tuple[str, int]], seen: int, every: Mapping[str, Contestant] = every
        ) -> list[dict[str, float]]:
            networks = [(name, every[name], seed) for name, seed in which]
            rows = train_contenders(session, networks, seen, benchmarks if seen == images else ())
            return [row | in_time(network) for row, (_, network, _) in zip(rows, networks, strict=True)]

        costs = ("size_mb", *(["latency_ratio"] if budget.cost == "latency_ratio" else []), "macs", "seconds")
        tried, last = winners.study_winners(kinds, amounts.trial_images, images, amounts.seeds, train, first)
        trials += [{**limit, **trial} for trial in tried]
        finals += [{**limit, **final} for final in last]
        rows += [
            {**limit, "images": images, "candidates": len(kinds[row["kind"]]), **row}
            for row in winners.winners_table(last, qualities, first.sign, costs)
        ]
    analysis.write_front(analysis.rows_frame(finals), run.folder / "winners.csv")
    return {"rows": rows, "trials": trials, "trial_images": amounts.trial_images}


def in_time(network: Contestant) -> dict[str, float]:
    """Its latency_ratio, where it is known."""
    return {} if network.latency_ratio is None else {"latency_ratio": network.latency_ratio}


def train_contenders(
    session: Session, networks: Sequence[tuple[str, Contestant, int]], images: int, benchmarks: Sequence[Path]
) -> list[dict[str, float]]:
    """Train networks (name, network, seed) alike on this number of images, unless done. Returns metrics and costs."""
    settings, n_processes = session.settings, session.machine.workers or 1
    work, files = [], dict[str, Path]()
    for name, network, seed in networks:
        title = f"{name}-{images}-{seed}"
        files[title] = session.run.folder / "winners" / title / FILE
        job = replace(session.job, seed=session.job.seed + seed, board=None)
        work.append((replace(session, job=job), network, files[title].parent, images))
    if n_processes == 1:
        for each in work:
            train_contender(*each)
    else:
        quiet = [(one.in_subprocess(), *rest) for one, *rest in work]
        with session.show(f"{len(work)} networks on {images:,} images", len(work)) as reporter:
            for _ in in_processes(n_processes, torch.get_num_threads(), train_contender, quiet):
                reporter.step()
    names = names_with(session.first_quality.name)
    rows = side_by_side(files, benchmarks, settings.search.output_size, session.job.device, names)
    numbers = [{key: value for key, value in row.items() if isinstance(value, int | float)} for row in rows]
    return [row | checkpoint.load(file)[1]["metrics"] for row, file in zip(numbers, files.values(), strict=True)]


def train_contender(session: Session, network: Contestant, folder: Path, images: int) -> None:
    """Train one network by the settings' `finetune`, on this number of images, into a folder of the run."""
    session = on_images(session, images)
    how = session.settings.finetune.without_supernet()
    losses = session.settings.training.losses.without_supernet()
    training = session.settings.for_finetuning()
    about = {
        "start": "scratch",
        "losses": how.losses_in_words(losses),
        "images": images,
        "seed": session.job.seed,
        "data": data_name(session.settings.data.folder),
        "finetune": how.model_dump(mode="json"),
        "precision": in_use(session.job.device, session.settings.training.precision),
    }
    work = Finetuning(session.job, folder, training, plan_of(how, training.losses, None), about)
    finetuned(session, work, network.build(session.job), [session.first_quality.name])
