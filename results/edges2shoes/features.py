"""The searched network at 128x128, taught by the teacher's intermediate features too, with two seeds.

python results/edges2shoes/features.py PAIRS

It takes the teacher of `students.py PAIRS 128`, which runs first. As in GAN Compression (arXiv 2003.08936, eq. 4), a
1x1 convolution maps each of four of the student's feature maps to the teacher's channels, and learns with the student.
Here the distance is L1, relative to the teacher's features. The table goes to features.md and .json beside this file.
"""

import sys
from contextlib import closing
from typing import Any

import torch
from students import HERE, NAMES, PLANS, RATE, settings_for, trainer
from torch import Tensor, nn

from evo_c2f.files import write_text
from evo_c2f.json_text import to_json
from evo_c2f.runs.run import RunFolder
from evo_c2f.scores.tables import markdown
from evo_c2f.studies.winners import with_interval
from supernet import checkpoint, load_model
from supernet.jobs.alone import TrainingAlone
from supernet.network.generator import Subnet
from supernet.network.teacher import ResNetGenerator
from supernet.rounds.students import Alone
from supernet.training import loop
from supernet.training.criterion import Criterion
from supernet.training.learning import Learning
from supernet.training.losses import feature_distance

WEIGHT = 2.0  # that of the discriminator's feature matching
SEEDS = 2


def remembered(module: nn.Module, kept: list[Tensor]) -> None:
    """Append each of the module's outputs to `kept`."""
    module.register_forward_hook(lambda _module, _inputs, output: kept.append(output))


class Matched(nn.Module):
    """A student beside its teacher: forward gives the student's output; `distance` compares their features of it."""

    def __init__(self, student: Subnet, teacher: ResNetGenerator):
        super().__init__()
        self.student = student
        cells = {part.place[0]: i for i, part in enumerate(student.route) if part.kind == "operator"}
        # Where both have the same resolution: half, a quarter (twice), and half again.
        pairs = [(0, teacher.norms[1]), (2, teacher.blocks[2]), (6, teacher.blocks[8]), (7, teacher.norms[3])]
        self.found, self.wanted = list[Tensor](), list[Tensor]()
        for cell, module in pairs:
            remembered(student.layers[cells[cell]], self.found)
            remembered(module, self.wanted)
        self.run_teacher = [teacher.eval().requires_grad_(False)]  # in a list: its weights are not the student's
        self.maps = nn.ModuleList(
            nn.Conv2d(student.route[cells[cell]].width, width, 1)
            for (cell, _), width in zip(pairs, self._teacher_widths(teacher), strict=True)
        )

    def _teacher_widths(self, teacher: ResNetGenerator) -> list[int]:
        with torch.no_grad():
            teacher(torch.zeros(1, 3, 32, 32))
        return [features.shape[1] for features in self.wanted]

    def forward(self, source: Tensor) -> Tensor:
        self.found.clear()
        self.wanted.clear()
        with torch.no_grad():
            self.run_teacher[0](source)
        output: Tensor = self.student(source)
        return output

    def distance(self) -> Tensor:
        mapped = [one(features) for one, features in zip(self.maps, self.found, strict=True)]
        return feature_distance(mapped, self.wanted)


class WithFeatures(Criterion):
    """The recipe's losses and the distance of the features."""

    def __init__(self, usual: Criterion, matched: Matched):
        super().__init__(usual.last, usual.adversary, usual.earlier, usual.unpaired, usual.channels)
        self.matched = matched

    def loss(self, output: Tensor) -> Tensor:
        return super().loss(output) + WEIGHT * self.matched.distance()


def main(pairs: str) -> None:
    settings, plan = settings_for(pairs, 128), PLANS[128]
    run = RunFolder.begin(HERE / "models" / "students-128", settings)
    teacher, rows = load_model(run.folder / "models" / "teacher.safetensors"), list[dict[str, Any]]()
    assert isinstance(teacher, ResNetGenerator)
    for number in range(SEEDS):
        job = trainer(run, settings).with_seed(number).job
        rounds = plan.images // settings.data.batch
        training = settings.training.lasting(rounds).model_copy(update={"learning_rate": RATE})
        fresh = plan.network(job)
        assert isinstance(fresh, Subnet)
        matched = Matched(fresh, teacher)
        learning = Learning(Alone(matched), WithFeatures(job.criterion(training, None), matched), training, job.ranks)
        target = run.folder / "models" / f"features-seed-{number}.safetensors"
        about = {"images": plan.images}
        if not target.is_file():
            with closing(TrainingAlone(job, training).batches()) as batches:
                state = checkpoint.state_of(target)
                weights = loop.train(learning, batches, state, lambda index, loss: None, lambda index, why: None, about)
            checkpoint.save(target, weights, about)
        weights, about = checkpoint.load(target)
        student = plan.network(job).eval()
        student.load_state_dict({name: weights[f"student.{name}"] for name in student.state_dict()})
        rows.append({**job.score(NAMES, full=True).of(student), **about})
        print(rows[-1], flush=True)
    mean: dict[str, Any] = {"network": "searched, from the teacher's features", "seeds": SEEDS}
    for name in NAMES:
        mean |= with_interval(name, [row[name] for row in rows])
    table = {"rows": [mean], "each_seed": rows, "weight": WEIGHT}
    write_text(HERE / "features.json", to_json(table, indent=1) + "\n")
    write_text(HERE / "features.md", markdown([mean]))


if __name__ == "__main__":
    main(*sys.argv[1:])
