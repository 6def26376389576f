from collections.abc import Sequence

import numpy as np
import pytest
import torch
from supernet_fixtures import random_images
from torch import Tensor

from supernet.batches.ahead import CPU, Ahead
from supernet.batches.on_device import OnDevice, Places, Stored, free_bytes
from supernet.batches.patches import PairBatches, Patches, PatchPairs, as_floats
from supernet.data.images import Pixels
from supernet.ranks import ALONE, Ranks

SIZES = [(9, 14), (21, 8), (8, 8), (12, 30)]
SEED = [3, 0, 1]


class Noise:
    """Pairs of noise, all in memory or not, which counts how often one is taken."""

    def __init__(self, scale: int, sizes: Sequence[tuple[int, int]] = SIZES, at_hand: bool = False):
        self.scale, self.sizes, self.at_hand, self.taken, self.forgotten = scale, sizes, at_hand, 0, 0
        rng = np.random.default_rng(0)
        self.pairs = [(noise(rng, height, width), noise(rng, scale * height, scale * width)) for height, width in sizes]

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, number: int) -> tuple[Pixels, Pixels]:
        self.taken += 1
        return self.pairs[number]

    def forget(self) -> None:
        self.forgotten += 1


def noise(rng: np.random.Generator, height: int, width: int) -> Pixels:
    return rng.integers(256, size=(height, width, 3), dtype=np.uint8)


def cut_plainly(pairs: Noise, side: int, batch: int, index: int, part: range) -> tuple[Tensor, Tensor]:
    """A batch of photographs as 0.9 cut it, by which runs were begun that this version goes on with."""
    areas = np.array([low.shape[0] * low.shape[1] for low, _ in pairs.pairs], dtype=float)
    rng = np.random.default_rng([*SEED, index])
    lows, highs = [], []
    for position, image in enumerate(rng.choice(len(pairs), size=batch, p=areas / areas.sum())):
        low, high = pairs.pairs[image]
        top, left = (int(rng.integers(length - side + 1)) for length in low.shape[:2])
        turns, mirrored = int(rng.integers(4)), bool(rng.integers(2))
        if position not in part:
            continue
        for pixels, unit, into in ((low, 1, lows), (high, pairs.scale, highs)):
            cut = np.rot90(pixels[unit * top : unit * (top + side), unit * left : unit * (left + side)], turns)
            into.append(cut[:, ::-1] if mirrored else cut)
    floats = [torch.from_numpy(np.stack(cuts)).movedim(-1, -3).float() / 255 for cuts in (lows, highs)]
    low, high = (cuts.to(memory_format=torch.channels_last) for cuts in floats)  # as a round does
    return low, high


def equal(batch: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> bool:
    """Whether they are the same, also in memory, as channels_last."""
    pairs = list(zip(batch, other, strict=True))
    return all(
        torch.equal(a, b) and a.movedim(1, -1).is_contiguous() == b.movedim(1, -1).is_contiguous() for a, b in pairs
    )


@pytest.mark.parametrize(("side", "scale"), [(1, 1), (5, 2), (8, 1), (8, 4)])
def test_patches_are_the_same_on_the_device_by_threads_and_as_they_always_were(scale, side):
    pairs = Noise(scale)
    patches = PatchPairs(pairs, side, 6, SEED)
    ahead, on_device = Ahead(patches, CPU), OnDevice(patches, Stored(pairs, CPU))
    for index in (*range(25), 1000, 7):
        plain = cut_plainly(pairs, side, 6, index, range(6))
        assert equal(patches[index], plain) and equal(ahead[index], plain) and equal(on_device[index], plain)
    ahead.close()


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_a_process_cuts_its_part_of_the_same_batch(rank):
    pairs, ranks = Noise(4), Ranks(rank, 3)
    patches = PatchPairs(pairs, 8, 6, SEED, ranks)
    plain = cut_plainly(pairs, 8, 6, 5, range(2 * rank, 2 * rank + 2))
    assert equal(patches[5], plain) and equal(OnDevice(patches, Stored(pairs, CPU))[5], plain)


@pytest.mark.parametrize("flip", [False, True])
def test_aligned_pairs_are_cut_on_the_device_as_on_the_cpu(flip):
    pairs = Noise(1, [(12, 17)] * 5)
    patches = PairBatches(pairs, 9, flip, 4, SEED, ALONE)
    on_device = OnDevice(patches, Stored(pairs, CPU))
    assert all(equal(patches[index], on_device[index]) for index in range(30))


@pytest.mark.parametrize(("channels", "dtype"), [(1, np.uint16), (7, np.float32)])
def test_other_channels_and_numbers_are_cut_on_the_device_as_on_the_cpu(channels, dtype):
    pairs = Noise(1, [(12, 17)] * 3)
    white = 1 if dtype == np.float32 else 65535
    pairs.pairs = [
        tuple((random_images(12, 17, channels, seed=10 * i + j).numpy() * white).astype(dtype) for j in range(2))
        for i in range(3)
    ]
    patches, places = PatchPairs(pairs, 9, 4, SEED), Places(pairs, lambda device: 4 * 3 * 2 * 12 * 17 * channels * 4)
    on_device = places.batches(patches, CPU)
    assert isinstance(on_device, OnDevice) and all(equal(patches[index], on_device[index]) for index in range(5))
    source, _ = patches[0]
    assert source.shape == (4, channels, 9, 9) and 0.9 < source.max() <= 1


def test_all_256_values_become_the_floats_that_a_division_gives():
    values = torch.arange(256, dtype=torch.uint8)[:, None, None].expand(256, 1, 3)
    assert torch.equal(as_floats(values)[0].flatten(), torch.from_numpy(np.arange(256, dtype=np.float32) / 255))
    deep = np.arange(65536, dtype=np.uint16)[:, None, None]
    assert as_floats(torch.from_numpy(deep)).flatten().tolist() == (deep.ravel() / np.float32(65535)).tolist()


def on_cpu(pairs: Noise, free: int) -> tuple[Places, Patches]:
    return Places(pairs, lambda device: free), PatchPairs(pairs, 8, 2, SEED)


def test_pairs_are_stored_on_the_device_once_if_they_take_a_quarter_of_what_is_free_and_no_more():
    n_bytes = 3 * sum(height * width for height, width in SIZES) * (1 + 4**2)
    pairs = Noise(4)
    places, patches = on_cpu(pairs, 4 * n_bytes)
    for _ in range(3):
        assert isinstance(places.batches(patches, CPU), OnDevice)
    assert (pairs.taken, pairs.forgotten) == (len(SIZES), 1)
    (stored,) = places.stored.values()
    assert sum(pixels.numel() for pixels in stored.pixels) == n_bytes
    places, patches = on_cpu(Noise(4), 4 * n_bytes - 4)
    assert isinstance(places.batches(patches, CPU), Ahead)


def test_without_a_gpu_no_device_takes_pictures():
    assert free_bytes(CPU) == free_bytes(torch.device("meta")) == 0
