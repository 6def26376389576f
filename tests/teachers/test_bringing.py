"""A teacher that is brought to a job: where its outputs lie, and how another process gets it."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from supernet_fixtures import random_images, random_pixels, unexpected, write_enlarger

from evo_c2f.errors import InputError
from evo_c2f.sections.data import TeacherSection
from supernet.metrics.tasks import SuperResolution
from supernet.teachers import opening
from supernet.teachers.bringing import bring

PAIRS = [(random_pixels(20, 24, 0), random_pixels(80, 96, 1))]


@pytest.fixture
def enlarger(tmp_path: Path) -> Path:
    pytest.importorskip("onnx")
    return write_enlarger(tmp_path / "big.onnx")


def brought(teacher: Path, folder: Path, **settings: object):
    section = TeacherSection.model_validate(
        {"file": str(teacher), "digest": opening.digest_of(str(teacher)), **settings}
    )
    return bring(section, PAIRS, SuperResolution(4), True, folder, torch.device("cpu"), unexpected)


def test_a_users_files_in_the_named_cache_are_never_removed(enlarger: Path, tmp_path: Path) -> None:
    mine = tmp_path / "cache" / "arrays" / "mine.npy"
    mine.parent.mkdir(parents=True)
    np.save(mine, np.zeros(10_000))
    _, taught = brought(enlarger, tmp_path / "run", cache=str(tmp_path / "cache"), cache_gb=50e-6)
    for seed in range(4):
        taught.outputs.of(random_pixels(20, 24, seed))
    kept = list((tmp_path / "cache" / "evo_c2f_teacher").glob("*/*.npy"))
    assert mine.is_file() and len(kept) == 2 and not (tmp_path / "run").exists()


def test_another_process_opens_the_teacher_itself_and_gets_the_same_outputs(enlarger: Path, tmp_path: Path) -> None:
    teacher, _ = brought(enlarger, tmp_path)
    there = pickle.loads(pickle.dumps(teacher))
    x = random_images(1, 3, 12, 16)
    assert there.teacher is None and torch.equal(there(x), teacher(x)) and there.words == teacher.words


def test_a_named_range_is_not_tried_but_taken(enlarger: Path, tmp_path: Path) -> None:
    assert brought(enlarger, tmp_path, range="0..255")[1].key.endswith("-0..255-0..255-x4")
    with pytest.raises(InputError, match=r"all its values are nearly the same in the range 0\.\.1; name its range by"):
        brought(enlarger, tmp_path, range="0..1")


def test_the_run_keeps_to_the_teacher_that_it_was_begun_with(enlarger: Path, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="is not the teacher that the run was begun with; name that one with --teacher"
    ):
        brought(enlarger, tmp_path, digest="0" * 16)
