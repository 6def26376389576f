"""Sets of images to judge networks on: their shapes are known before they are read."""

import gc
import weakref
from pathlib import Path

import pytest
import torch
from supernet_fixtures import random_pixels, unexpected, write_images
from torch import Tensor

from evo_c2f.sections.data import DataSection, PairsSection
from supernet.batches import fixed
from supernet.batches.ahead import CPU
from supernet.batches.fixed import Fixed, Side, images_at
from supernet.data.aligned import BATCH_PIXELS
from supernet.data.pair_data import PairData
from supernet.data.photograph_data import PhotographData
from supernet.teachers.outputs import Outputs, Taught

SIZES = [(34, 50), (34, 50), (40, 37), (34, 50)]


def mirrored(x: Tensor) -> Tensor:
    return x.flip(3)


def photographs(folder: Path, scale: int, inputs: bool = False, **changes: object) -> PhotographData:
    highs = {f"{i}.png": random_pixels(*size, i) for i, size in enumerate(SIZES)}
    write_images(folder / "targets", highs)
    if inputs:
        lows = {name: image[: len(image) // scale, : image.shape[1] // scale] for name, image in highs.items()}
        write_images(folder / "inputs", lows)
    where = folder if inputs else folder / "targets"
    how = {"folder": str(where), "patch": 4, "batch": 2, "crop": 16, "validation_images": 3}
    how |= {"validation_crops": 2, **changes}
    return PhotographData(DataSection.model_validate(how), scale, 0, unexpected)


def pairs(folder: Path, channels: tuple[int, int] = (3, 3), **changes: object) -> PairData:
    for seed, split in ((0, "train"), (9, "val")):
        sides = {f"{split}/{i}.png": random_pixels(size[0], 2 * size[1], seed + i) for i, size in enumerate(SIZES)}
        write_images(folder, sides if channels[0] == 3 else {name: image[..., 0] for name, image in sides.items()})
    how = {"folder": str(folder), "crop": 16, "batch": 2, "validation_images": 9, **changes}
    return PairData(PairsSection.model_validate(how), 0, warn=lambda sentence: None, channels=channels)


def taught(data: PhotographData | PairData, folder: Path) -> PhotographData | PairData:
    data.taught = Taught(Outputs(folder / "cache", "a", mirrored, 1 << 20, torch.device("cpu")), 1, True)
    return data


KINDS = {
    "photographs": lambda folder: photographs(folder, 4),
    "degraded": lambda folder: photographs(folder, 1, degradation={"noise": {"sigma": [9, 9]}}),
    "own inputs": lambda folder: photographs(folder, 2, inputs=True),
    "a teacher's targets": lambda folder: taught(photographs(folder, 1, target="teacher"), folder),
    "pairs": pairs,
    "grey pairs": lambda folder: pairs(folder, (1, 1)),
    "resized pairs": lambda folder: pairs(folder, load_size=18),
    "pairs of a teacher": lambda folder: taught(pairs(folder, target="teacher"), folder),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_shapes_are_those_of_what_is_read_and_each_reading_gives_the_same(kind: str, tmp_path: Path) -> None:
    images = KINDS[kind](tmp_path).full()
    read = [*images]
    assert [(tuple(source.shape), tuple(target.shape)) for source, target in read] == images.shapes
    assert sum(len(source) for source, _ in read) == (4 if "pairs" in kind else 3)
    for number in (0, -1):
        assert all(torch.equal(a, b) for a, b in zip(images[number], read[number], strict=True))
    with pytest.raises(IndexError):
        images[len(images)]


def test_pairs_of_large_images_come_in_smaller_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert BATCH_PIXELS == 64 * 256 * 256
    assert [len(source) for source, _ in pairs(tmp_path).full()] == [2, 1, 1]
    monkeypatch.setattr("supernet.data.aligned.BATCH_PIXELS", 34 * 50)
    assert [len(source) for source, _ in pairs(tmp_path).full()] == [1, 1, 1, 1]


def test_images_are_numbered_through_all_batches(tmp_path: Path) -> None:
    images = pairs(tmp_path).full()
    every = [(source[i], target[i]) for source, target in images for i in range(len(source))]
    for number, (source, target) in zip((0, 1, 1, 3), images_at(images, (0, 1, 1, 3)), strict=True):
        assert torch.equal(source, every[number][0]) and torch.equal(target, every[number][1])


def test_only_a_few_of_a_large_set_are_in_memory_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    alive, most, shape = weakref.WeakSet[Tensor](), 0, (1, 3, 8, 8)

    def read(number: int) -> tuple[Tensor, Tensor]:
        source, target = (torch.full(shape, float(number)) for _ in range(2))
        alive.add(source)
        return source, target

    monkeypatch.setattr(fixed, "KEPT_BYTES", 4 * 2 * 4 * 192)  # of four batches: two threads, each with two
    images = Fixed([(shape, shape)] * 40, read)
    assert not images.fits(CPU) and Fixed([(shape, shape)] * 4, read).fits(CPU)
    for number, (source, _) in enumerate(images):
        assert source[0, 0, 0, 0] == number
        gc.collect()
        most = max(most, len(alive))
    assert 1 <= most <= 6
    assert [float(target[0, 0, 0, 0]) for target in Side(images, 1)] == [*range(40)]
    assert [float(source[0, 0, 0, 0]) for source, _ in images[-2:]] == [38, 39]
