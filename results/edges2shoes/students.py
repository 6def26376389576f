"""The searched network and the narrow teacher with more seeds, at another size, and taught in several ways.

python -P results/edges2shoes/students.py PAIRS [128 [WEIGHTS]]

All are trained as `compare` trains them, at the learning rates that it chose: from scratch, and the searched network
also from the supernet's WEIGHTS, if given. At 64 it is the first search's, at 128 that with bounded outputs. The table
goes to students-<side>.md and .json beside this file.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from evo_c2f.files import write_text
from evo_c2f.json_text import to_json
from evo_c2f.runs import recipe
from evo_c2f.runs.recipe import Recipe
from evo_c2f.runs.run import RunFolder
from evo_c2f.scores.tables import markdown
from evo_c2f.space import Architecture
from evo_c2f.workers.machine import Machine
from evo_c2f.workflows.session import Session, make_job
from evo_c2f.workflows.studies.against_teacher import over_seeds
from evo_c2f.workflows.studies.compare import comparison
from supernet import load_model
from supernet.jobs.comparison import Comparison, new_teacher
from supernet.jobs.job import Job
from supernet.network.cost import network_costs
from supernet.network.generator import Subnet
from supernet.teachers.opening import digest_of

HERE = Path(__file__).parent
NAMES = ["lpips", "fd_vgg_n200", "psnr_y", "ssim_y"]
TEACHER_WIDTH, NARROW_WIDTH = 32, 6
TEACHER_RATE, RATE, INHERITED_RATE = 0.001, 0.004, 0.001
TITLES = {"searched": "searched", "narrow": "narrow teacher"}
WAYS: dict[str, Mapping[str, float]] = {  # how the searched network learns, beside the recipe's losses
    "the teacher's outputs": {"distillation": 10.0},
    "VGG16's features of the targets": {"perceptual": 2.0},
    "the teacher's outputs and their features": {"distillation": 10.0, "perceptual_distillation": 2.0},
}


@dataclass(frozen=True)
class Plan:
    """A size's searched network, images for each network and for its teacher, and seeds.

    ways: how many of WAYS are tried; taught: by which networks, and with how many seeds.
    """

    searched: str
    bounded: bool
    images: int
    teacher_images: int
    seeds: int
    ways: int
    taught: Mapping[str, int]

    def architecture(self) -> Architecture:
        """The searched network's."""
        searched = load_model(HERE / self.searched)
        assert isinstance(searched, Subnet)
        return searched.architecture

    def network(self, job: Job) -> nn.Module:
        return job.fresh(self.architecture())

    def made(self, name: str, job: Job) -> nn.Module:
        """'searched' or 'narrow', with fresh weights."""
        return self.network(job) if name == "searched" else new_teacher(NARROW_WIDTH, job)


PLANS = {
    64: Plan("models/searched-inherited.safetensors", False, 6400, 12800, 6, 3, {"searched": 1}),
    128: Plan("bounded/models/searched-from-scratch.safetensors", True, 3200, 3200, 3, 1, {"searched": 3, "narrow": 1}),
}


def trainer(run: RunFolder, settings: Recipe) -> Comparison:
    """What trains networks by these settings into the run's models/."""
    machine = Machine(threads=1)
    session = Session(run, settings, make_job(settings, machine, run=run), machine)
    return replace(comparison(session), taught_by=settings.teacher.digest)


def taught(run: RunFolder, settings: Recipe, weights: Mapping[str, float]) -> Comparison:
    """The same with other weights of the losses, and with the trained teacher where one of them needs it."""
    losses = settings.training.losses.model_copy(update=dict(weights))
    settings = settings.model_copy(update={"training": settings.training.model_copy(update={"losses": losses})})
    if losses.guided:
        place = str(run.folder.absolute() / "models" / "teacher.safetensors")
        settings = settings.with_teacher(place, digest_of(place))
    return trainer(run, settings)


@torch.inference_mode()
def white(network: nn.Module, batches: Sequence[tuple[Tensor, Tensor]]) -> float:
    """The share of the outputs' pixels whose mean is above 0.97; of val/ itself it is 0.574."""
    return float(torch.cat([network(source).mean(dim=1) for source, _ in batches]).gt(0.97).float().mean())


def trained(run: RunFolder, settings: Recipe, plan: Plan, weights: str) -> Iterator[dict[str, Any]]:
    """A row for each network and seed. weights: a file of a supernet's, or empty."""
    alone = trainer(run, settings)
    score = alone.job.score(NAMES, full=True)

    def row(by: Comparison, title: str, name: str, network: nn.Module, images: int, rate: float) -> dict[str, Any]:
        found = by.train(name, network, images, rate)
        costs = network_costs(found.network, settings.search.output_size)
        seen = {"white": white(found.network, alone.job.data.full())}
        return {"network": title, **costs, **score.of(found.network), **seen, **found.row()}

    teacher = new_teacher(TEACHER_WIDTH, alone.job)
    yield row(alone, "teacher", "teacher", teacher, plan.teacher_images, TEACHER_RATE)
    for number in range(plan.seeds):
        by = alone.with_seed(number)
        for name in ("narrow", "searched"):
            yield row(by, TITLES[name], name, plan.made(name, by.job), plan.images, RATE)
    for number in range(plan.seeds if weights else 0):
        by = replace(alone.with_seed(number), began_with=digest_of(weights))
        network = by.job.trained(Path(weights)).extract(plan.architecture())
        yield row(by, "searched, from the supernet's weights", "inherited", network, plan.images, INHERITED_RATE)
    for title, losses in list(WAYS.items())[: plan.ways]:
        for name, seeds in plan.taught.items():
            for number in range(seeds):
                by = taught(run, settings, losses).with_seed(number)
                file = f"{name}-{'-'.join(losses)}"
                yield row(by, f"{TITLES[name]}, from {title}", file, plan.made(name, by.job), plan.images, RATE)


def settings_for(pairs: str, side: int, bounded: bool | None = None) -> Recipe:
    """The recipe for pairs of this size. bounded: None: as the size's plan says."""
    bounded = PLANS[side].bounded if bounded is None else bounded
    sizes = [f"data.load_size={side}", f"data.crop={side}", f"search.output_size=[{side}, {side}]"]
    folder = (f"data.folder={pairs}", "data.direction=BtoA", f"task.bounded={bounded}")
    return recipe.load("edges2shoes-64", (*folder, *sizes))


def main(pairs: str, side: str = "64", weights: str = "") -> None:
    settings = settings_for(pairs, int(side))
    run = RunFolder.begin(HERE / "models" / f"students-{side}", settings)
    rows = list[dict[str, Any]]()
    for each in trained(run, settings, PLANS[int(side)], weights):
        rows.append(each)
        print(each, flush=True)
    table = {"rows": over_seeds(rows, [*NAMES, "white"]), "each_seed": rows}
    write_text(HERE / f"students-{side}.json", to_json(table, indent=1) + "\n")
    write_text(HERE / f"students-{side}.md", markdown(table["rows"]))


if __name__ == "__main__":
    main(*sys.argv[1:])
