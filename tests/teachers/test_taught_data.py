"""The data of a job whose targets are a teacher's outputs, and inputs that stand alone."""

from pathlib import Path

import numpy as np
import pytest
import torch
from supernet_fixtures import random_pixels, unexpected, write_images

from evo_c2f.errors import InputError
from evo_c2f.sections.data import DataSection, PairsSection
from supernet.data.images import to_tensor
from supernet.data.pair_data import PairData
from supernet.data.photograph_data import PhotographData
from supernet.teachers.outputs import Outputs, Taught


def enlarged(x: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.interpolate(1 - x, scale_factor=2.0)


def taught(folder: Path, scale: int, key: str = "a", alone: bool = True) -> Taught:
    teacher = enlarged if scale == 2 else lambda x: 1 - x
    return Taught(Outputs(folder / "cache", key, teacher, 1 << 20, torch.device("cpu")), scale, alone)


def photographs(folder: Path, target: str = "teacher", n: int = 5, **changes: object) -> PhotographData:
    write_images(folder / "photos", {f"{seed}.png": random_pixels(24, 32, seed) for seed in range(n)})
    how = {"patch": 8, "batch": 2, "validation_images": 2, "validation_crops": 3, "crop": 32, "target": target}
    section = DataSection.model_validate({"folder": str(folder / "photos"), **how, **changes})
    return PhotographData(section, 2, 0, unexpected)


def pictures(folder: Path, n: int = 6, **changes: object) -> PairData:
    how = {"crop": 16, "batch": 3, "validation_images": 2, "target": "teacher", **changes}
    return PairData(PairsSection.model_validate({"folder": str(folder), **how}), 0, warn=unexpected)


def test_photographs_are_the_inputs_and_the_teachers_outputs_all_targets(tmp_path):
    data = photographs(tmp_path)
    data.taught = taught(tmp_path, 2)
    assert (data.counts(), data.largest_side, len(data.samples(9))) == (((3, 32), (2, 48)), 24, 3)
    batches = data.training((0,))
    for pairs, sides in (([batches[0]], (8, 16)), (data.search(), (16, 32)), (data.full(), (32, 64))):
        for source, target in pairs:
            assert (source.shape[3], target.shape[3]) == sides and target.shape[1] == 3
            assert (target - enlarged(source)).abs().max() < 1e-6
    batches.close()


def test_crops_of_what_a_teacher_enlarges_are_the_most_detailed(tmp_path):
    flat = np.full((16, 16, 3), 90, np.uint8)
    images = [np.hstack([flat, random_pixels(16, 16, seed), flat]) for seed in range(3)]
    data = photographs(tmp_path, n=0, validation_images=1, validation_crops=2)
    write_images(tmp_path / "photos", {f"{i}.png": image for i, image in enumerate(images)})
    data.taught = taught(tmp_path, 2)
    ((source, _),) = data.search()
    assert any(torch.equal(source[0], to_tensor(image[:, 16:32])) for image in images)


def test_scores_of_two_teachers_are_kept_apart(tmp_path):
    def prints(key: str, alone: bool) -> list[str]:
        each = [photographs(tmp_path, "teacher" if alone else "pictures", crop=16), pictures(tmp_path / "photos")]
        for data in each:
            data.taught = taught(tmp_path, 2, key, alone)
        return [data.fingerprint for data in each[: 1 + alone]]

    assert len({*prints("a", True), *prints("b", True)}) == 4
    assert prints("a", False) == prints("b", False)  # beside targets, what is judged is the same


def test_inputs_of_one_folder_are_split_by_content(tmp_path):
    images = {f"{seed}.png": random_pixels(16, 20, seed) for seed in range(6)}
    folder = write_images(tmp_path / "in", images | {"copy.png": images["0.png"]})
    data = pictures(folder)
    data.taught = taught(tmp_path, 1)
    splits = data.splits
    assert {*splits["search"]} <= {*splits["full"]} and {*splits["train"]}.isdisjoint(splits["full"])
    assert sorted([*splits["train"], *splits["full"]]) == sorted(folder.iterdir())
    copies = [use for use in ("train", "full") for path in splits[use] if path.name in ("0.png", "copy.png")]
    assert copies[0] == copies[1]
    ((source, target),) = data.full()
    assert torch.allclose(target, 1 - source, atol=1e-6)
    with pytest.raises(InputError, match="holds 6 different images, which leaves none to train on beside 6; add more"):
        _ = pictures(folder, validation_images=6).splits


def test_inputs_may_lie_in_folders_by_use_and_be_of_any_size(tmp_path):
    for number, split in enumerate(("train", "val")):
        write_images(tmp_path / split, {f"{i}.png": random_pixels(20, 21 + i, 9 * number + i) for i in range(3)})
    assert len(pictures(tmp_path, load_size=16).splits["train"]) == 3
    assert list(pictures(tmp_path).sizes.values()) == [(20, 21), (20, 22), (20, 23)] * 2
