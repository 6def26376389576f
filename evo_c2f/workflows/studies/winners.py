"""`study winners`: searched, random and hand-made networks of each size, trained alike."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from evo_c2f.scores import analysis
from evo_c2f.space import Genomes, subnet_id
from evo_c2f.studies import winners
from evo_c2f.workers.processes import in_processes
from evo_c2f.workflows.finetune import batch_of, candidates_of, finetuned, in_megabytes, on_images
from evo_c2f.workflows.session import Session
from evo_c2f.workflows.studies.compare import upscalers_only
from supernet import checkpoint
from supernet.jobs.benchmark import side_by_side
from supernet.jobs.contestants import LEAST, Contestant, plain_networks, single_operator_networks
from supernet.jobs.finetune import Finetuning, plan_of
from supernet.models.card import data_name
from supernet.models.model import FILE

RANDOM_NETWORKS = 7  # the stream of the seed for the random networks
FILL = 0.75  # smallest fraction of a size that a searched network uses

Kinds = Mapping[str, Mapping[str, Contestant]]  # kind -> name -> network


@dataclass(frozen=True)
class Amounts:
    """Candidates of each kind, images of a trial in the last round of halving, and seeds of the best network."""

    candidates: int
    trial_images: int
    seeds: int


def winners_study(
    session: Session, found: Mapping[float, Kinds], benchmarks: Sequence[Path], amounts: Amounts
) -> dict[str, Any]:
    """Find the best network of each kind and size (MB) by successive halving, and train it in full with several seeds.

    found: size -> kind -> name -> network. The final networks are also judged on the benchmarks.
    """
    run, first = session.run, session.first_quality
    images = session.settings.finetune.rounds * batch_of(session)
    rows, trials, finals = list[dict[str, Any]](), list[dict[str, Any]](), list[dict[str, Any]]()
    for size, kinds in found.items():
        every = {name: one for kind in kinds.values() for name, one in kind.items()}

        def train(
            which: Sequence[tuple[str, int]], seen: int, every: Mapping[str, Contestant] = every
        ) -> list[dict[str, float]]:
            networks = [(name, every[name], seed) for name, seed in which]
            return train_contenders(session, networks, seen, benchmarks if seen == images else ())

        tried, last = winners.study_winners(kinds, amounts.trial_images, images, amounts.seeds, train, first)
        qualities = [first.name, *(f"{folder.resolve().name} {first.name}" for folder in benchmarks)]
        trials += [{"size": size, **trial} for trial in tried]
        finals += [{"size": size, **final} for final in last]
        rows += [
            {"size": size, "images": images, **row}
            for row in winners.winners_table(last, qualities, first.sign, ("size_mb", "macs", "seconds"))
        ]
    analysis.write_front(analysis.rows_frame(finals), run.folder / "winners.csv")
    return {"rows": rows, "trials": trials, "trial_images": amounts.trial_images}


def contestants_of(session: Session, size: float, n: int) -> dict[str, dict[str, Contestant]]:
    """Kind -> name -> network, for one size in MB: searched, random (as many) and hand-made networks.

    InputError if the run's task is not super-resolution, or if it has no subnet of that size.
    """
    settings, job = upscalers_only(session, "study winners"), session.job
    space = settings.space
    searched = candidates_of(session, in_megabytes(FILL * size, size), n)
    rng = np.random.default_rng([settings.seed, RANDOM_NETWORKS])
    costs = job.costs(settings.search.output_size)
    drawn = winners.random_within(space, costs, "size_mb", (LEAST * size, size), len(searched), rng)
    hand_made = plain_networks(size, settings.task.scale)
    hand_made |= single_operator_networks(space, job.task.frame, size)
    of_space: dict[str, Iterable[Genomes]] = {"searched": [genome for _, genome in searched.values()], "random": drawn}
    found = {kind: {subnet_id(g): Contestant(space.decode(g)) for g in some} for kind, some in of_space.items()}
    return {**found, "hand-made": hand_made}


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
    rows = side_by_side(files, benchmarks, settings.search.output_size, session.job.device)
    numbers = [{key: value for key, value in row.items() if isinstance(value, int | float)} for row in rows]
    return [row | checkpoint.load(file)[1]["metrics"] for row, file in zip(numbers, files.values(), strict=True)]


def train_contender(session: Session, network: Contestant, folder: Path, images: int) -> None:
    """Train one network by the settings' `finetune`, on this number of images, into a folder of the run."""
    session = on_images(session, images)
    how, losses = session.settings.finetune, session.settings.training.losses
    training = session.settings.for_finetuning()
    about = {
        "start": "scratch",
        "losses": how.losses_in_words(losses),
        "images": images,
        "seed": session.job.seed,
        "data": data_name(session.settings.data.folder),
        "finetune": how.model_dump(mode="json"),
    }
    work = Finetuning(session.job, folder, training, plan_of(how, training.losses, None), about)
    finetuned(session, work, network.build(session.job), [session.first_quality.name])
