"""A teacher's outputs on disk, and the pairs that have them."""

import errno
import pickle
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import ROOT
from supernet_fixtures import random_pixels, write_images

from evo_c2f.errors import FailedError
from supernet.batches.on_device import Stored
from supernet.batches.patches import PairBatches, PatchPairs
from supernet.data.aligned import Pairs
from supernet.data.images import to_tensor
from supernet.teachers.outputs import Outputs, Taught

IMAGES = [random_pixels(20, 24, seed) for seed in range(4)]
SIZE = 20 * 24 * 3


class Counting:
    """1 - x, and how often it ran."""

    def __init__(self) -> None:
        self.runs = 0

    def __call__(self, x):
        self.runs += 1
        return 1 - x


class InMemory(list[tuple[np.ndarray, np.ndarray]]):
    """Pairs x2."""

    scale, at_hand = 2, True

    @property
    def sizes(self) -> list[tuple[int, ...]]:
        return [low.shape[:2] for low, _ in self]


def outputs(folder: Path, teacher=None, key: str = "a", most: int = 1 << 20) -> Outputs:
    return Outputs(folder, key, teacher or Counting(), most, torch.device("cpu"))


def test_the_teacher_runs_once_an_image_also_in_a_later_process(tmp_path):
    first, later = outputs(tmp_path), outputs(tmp_path)
    for image in [*IMAGES, *IMAGES]:
        assert np.array_equal(first.of(image), 255 - image)
    assert first.runs == 4
    assert all(np.array_equal(later.of(image), 255 - image) for image in IMAGES) and later.runs == 0
    assert pickle.loads(pickle.dumps(Outputs(tmp_path, "a", abs, 9, torch.device("cpu")))).folder == first.folder


def test_another_teachers_outputs_are_never_used(tmp_path):
    outputs(tmp_path).of(IMAGES[0])
    other = outputs(tmp_path, lambda x: x, key="b")
    assert np.array_equal(other.of(IMAGES[0]), IMAGES[0]) and other.runs == 1


def test_the_cache_is_bounded_over_all_teachers(tmp_path):
    outputs(tmp_path, key="old").of(IMAGES[0])
    kept = outputs(tmp_path, most=3 * SIZE)
    for image in [*IMAGES, *IMAGES]:
        assert np.array_equal(kept.of(image), 255 - image)
        assert sum(path.stat().st_size for path in tmp_path.glob("*/*.npy")) <= 3 * SIZE
    assert not list((tmp_path / "old").iterdir()) and kept.runs > 4
    none = outputs(tmp_path / "none", most=1)
    assert np.array_equal(none.of(IMAGES[0]), 255 - IMAGES[0]) and not list((tmp_path / "none").glob("*/*.npy"))


def test_a_file_that_was_cut_short_is_made_again(tmp_path):
    outputs(tmp_path).of(IMAGES[0])
    (path,) = tmp_path.glob("a/*.npy")
    for size in (0, 40, 500):
        path.write_bytes(path.read_bytes()[:size])
        again = outputs(tmp_path)
        assert np.array_equal(again.of(IMAGES[0]), 255 - IMAGES[0]) and again.runs == 1
    assert [p.name for p in tmp_path.glob("a/*")] == [path.name]


KILLED = """
import os, signal, sys
import numpy as np, torch
from supernet.teachers.outputs import Outputs

def half(file, array, allow_pickle):
    file.write(b"half of it")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)

images = np.load(sys.argv[1])
outputs = Outputs(__import__("pathlib").Path(sys.argv[2]), "a", lambda x: 1 - x, 1 << 20, torch.device("cpu"))
outputs.of(images[0])
np.save = half
outputs.of(images[1])
"""


def test_outputs_survive_a_kill_in_the_middle_of_writing_one(tmp_path):
    np.save(tmp_path / "images.npy", np.stack(IMAGES))
    cache = tmp_path / "cache"
    killed = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "images.npy", cache], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    (part,) = cache.glob("a/*.partial")
    later = outputs(cache, most=3 * SIZE)
    assert all(np.array_equal(later.of(image), 255 - image) for image in IMAGES[:2]) and later.runs == 1
    for image in IMAGES:  # as room is needed, the half goes before what is whole and newer
        later.of(image)
    assert not part.exists()
    assert sum(path.stat().st_size for path in cache.glob("*/*")) <= 3 * SIZE


def test_processes_that_fill_a_cache_at_once_keep_to_its_bound(tmp_path):
    images, shared = (
        [random_pixels(20, 24, seed) for seed in range(30)],
        [outputs(tmp_path, most=10 * SIZE) for _ in "ab"],
    )
    for number, image in enumerate(images):
        shared[number % 2].of(image)
        assert sum(path.stat().st_size for path in tmp_path.glob("*/*")) <= 10 * SIZE
    assert len(list(tmp_path.glob("*/*"))) == 9  # each with a header


def test_threads_share_the_outputs(tmp_path):
    shared, found = outputs(tmp_path), []
    threads = [threading.Thread(target=lambda: found.extend(shared.of(i) for i in IMAGES)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 16 and shared.runs == 4


def test_a_full_disk_is_one_sentence_and_leaves_no_part(tmp_path, monkeypatch):
    def full(file, array, allow_pickle):
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(FailedError, match="is full, where the teacher's outputs are kept; make room"):
        outputs(tmp_path).of(IMAGES[0])
    assert not list((tmp_path / "a").iterdir())


def test_patches_of_the_teacher_lie_where_those_of_the_target_do(tmp_path):
    lows = [random_pixels(16, 20, seed) for seed in range(3)]
    pairs = InMemory([(low, np.kron(255 - low, np.ones((2, 2, 1), np.uint8))) for low in lows])
    teacher = outputs(tmp_path, lambda x: torch.nn.functional.interpolate(1 - x, scale_factor=2.0))
    batches = PatchPairs(Taught(teacher, 2, False)(pairs), 6, 3, 0)
    for index in range(4):
        source, target = batches[index]
        assert source.shape == (3, 3, 6, 6) and target.shape == (3, 6, 12, 12)
        assert torch.equal(target[:, :3], target[:, 3:])
    usual = PatchPairs(pairs, 6, 3, 0)
    assert all(torch.equal(usual[i][1], batches[i][1][:, :3]) for i in range(4))
    stored = Stored(batches.pairs, torch.device("cpu"))  # as on a GPU
    assert all(torch.equal(stored.cut(batches.cuts(i), 6)[1], batches[i][1]) for i in range(4))
    assert teacher.runs == 3


def test_crops_of_aligned_pairs_have_the_teachers_beside_them_or_alone(tmp_path):
    images = {f"{i}.png": np.hstack([image, 255 - image]) for i, image in enumerate(IMAGES)}
    paths = sorted(write_images(tmp_path / "pairs", images).iterdir())
    for alone, layout in ((False, "AtoB"), (True, "alone")):
        pairs = Taught(outputs(tmp_path / layout), 1, alone)(Pairs(paths, layout, None))
        source, target = PairBatches(pairs, 12, True, 4, 0)[0]
        assert target.shape == (4, 3 if alone else 6, 12, 12)
        assert torch.allclose(target[:, -3:], 1 - source, atol=1e-6)
        whole = np.asarray(pairs[0][1])
        assert np.array_equal(whole[..., -3:], 255 - pairs[0][0]) and to_tensor(whole).shape[0] == whole.shape[2]
