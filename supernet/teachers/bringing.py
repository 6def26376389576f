"""Brings a teacher to a job: opens it, tries it on the job's images, and puts its outputs before the training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from evo_c2f.errors import InputError
from supernet.data.images import Pixels, to_tensor
from supernet.metrics.tasks import Task, is_of_rgb
from supernet.teachers import opening
from supernet.teachers.found import PLUGGED, Range
from supernet.teachers.outputs import Outputs, Taught, refuse_no_folder
from supernet.teachers.probe import Teacher, probe

if TYPE_CHECKING:
    from evo_c2f.sections.data import TeacherSection

SAMPLES = 2  # of training images that it is tried on
OWN = "evo_c2f_teacher"  # inside of teacher.cache, which may hold files of the user that are never to be removed


class Brought:
    """A job's teacher, a function of images in 0..1. Another process gets its place, and opens it on first use."""

    def __init__(self, place: str, how: tuple[int, Range, Range], maker: object = None, teacher: Teacher | None = None):
        """how: its scale, and the ranges that it takes and gives. maker: of a plugin, which unpickling imports."""
        self.place, self.how, self.maker, self.teacher = place, how, maker, teacher

    def __reduce__(self) -> tuple[object, ...]:
        return Brought, (self.place, self.how, self.maker)

    def __call__(self, x: Tensor) -> Tensor:
        if self.teacher is None:
            self.teacher = Teacher(opening.find(self.place, lambda sentence: None), *self.how)
        return self.teacher(x)

    @property
    def words(self) -> str:
        return self.teacher.words if self.teacher else self.place


def bring(
    settings: TeacherSection,
    samples: Sequence[tuple[Pixels, Pixels]],
    task: Task,
    alone: bool,
    folder: Path,
    device: torch.device,
    warn: Callable[[str], None],
) -> tuple[Brought, Taught]:
    """The teacher of the settings, and its outputs, which are kept in teacher.cache, or else in `folder`.

    samples: training pairs (source, target); alone: the targets are unknown. InputError if it is not the one that the
    run was begun with, or does not fit.
    """
    assert settings.file is not None
    place = opening.place_of(settings.file)
    digest = opening.digest_of(place)
    if settings.digest not in (digest, opening.digest_of(place, whole=False)):
        raise InputError(f"{place} is not the teacher that the run was begun with; name that one with --teacher")
    if not is_of_rgb(task) or samples[0][0].dtype != np.uint8:
        raise InputError("a teacher takes and gives RGB of 8 bits; leave it out, or set 3 channels and data.depth=8")
    found, scale = opening.find(place, warn), task.frame.scale
    tried = [wanted(source, target, task, alone, device) for source, target in samples[:SAMPLES]]
    given = None if settings.range == "auto" else settings.range
    teacher = probe(found, tried, scale, place, given)
    cache = Path(settings.cache) / OWN if settings.cache else folder
    refuse_no_folder(cache)
    brought = Brought(place, (scale, teacher.takes, teacher.gives), PLUGGED.get(place), teacher)
    key = f"{digest}-{teacher.takes}-{teacher.gives}-x{scale}"
    return brought, Taught(Outputs(cache, key, brought, int(settings.cache_gb * 1e9), device), scale, alone)


def wanted(source: Pixels, target: Pixels, task: Task, alone: bool, device: torch.device) -> tuple[Tensor, Tensor]:
    """(source, what an output should resemble): the target if there is one, else what the task gives at no cost."""
    x = to_tensor(source)[None].to(device)
    return x, task.baseline(x) if alone else to_tensor(target)[None].to(device)
