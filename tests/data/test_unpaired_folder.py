"""Folders of two domains without pairs, as CycleGAN publishes them."""

import shutil
from pathlib import Path

import pytest
import torch
from supernet_fixtures import random_pixels, unexpected, write_images
from torch import Tensor

from evo_c2f.errors import InputError
from evo_c2f.sections.data import PairsSection
from supernet.data.images import to_tensor
from supernet.data.pair_data import PairData
from supernet.teachers.outputs import Outputs, Taught

SIZES = {"trainA": 4, "trainB": 5, "testA": 4, "testB": 3}


def unpaired(root: Path, **sizes: int) -> Path:
    """Noise; A is darker than B."""
    for number, (split, n) in enumerate({**SIZES, **sizes}.items()):
        part, least = (3, 0) if split.endswith("A") else (2, 128)
        images = {f"{i}.png": random_pixels(16, 20, 50 * number + i) // part + least for i in range(n)}
        write_images(root / split, images)
    return root


def pictures(root: Path, target: str = "teacher", **changes: object) -> PairData:
    how = {"folder": str(root), "crop": 16, "batch": 3, "validation_images": 2, "target": target, **changes}
    data = PairData(PairsSection.model_validate(how), 0, warn=unexpected)
    if target == "teacher":
        outputs = Outputs(root.parent / "cache", "a", lambda x: 1 - x, 1 << 20, torch.device("cpu"))
        data.taught = Taught(outputs, 1, True)
    return data


def is_of(images: Tensor, domain: str) -> bool:
    """Whether they are all of that domain."""
    return bool((images < 0.4).all() if domain == "A" else (images > 0.5).all())


@pytest.mark.parametrize(("direction", "source", "other"), [("AtoB", "A", "B"), ("BtoA", "B", "A")])
def test_inputs_are_of_one_domain_and_real_pictures_of_the_other(tmp_path: Path, direction, source, other) -> None:
    data = pictures(unpaired(tmp_path / "in"), direction=direction)
    batch = data.training((0, 3))
    x, target = batch[7]
    assert is_of(x, source) and torch.allclose(target[:, :3], 1 - x, atol=1e-6) and is_of(target[:, 3:], other)
    assert all(torch.equal(a, b) for a, b in zip((x, target), data.training((0, 3))[7], strict=True))
    assert not torch.equal(target[:, 3:], batch[8][1][:, 3:])
    batch.close()
    for use, held in (("search", data.search()), ("full", data.full())):
        assert all(is_of(x, source) and torch.allclose(y, 1 - x, atol=1e-6) for x, y in held)
        assert all(is_of(real, other) for real in data.reals(use))
        assert sum(map(len, data.reals(use))) == SIZES[f"test{other}"]
    assert [n for n, _ in data.counts()] == [2, 3]


def test_the_pictures_of_both_domains_are_drawn_apart(tmp_path: Path) -> None:
    root = unpaired(tmp_path / "in", trainB=0)
    shutil.copytree(root / "trainA", root / "trainB")
    batches = pictures(root, target="pictures").training((0, 3))
    alike = [torch.equal(x[i], y[i, 3:]) for x, y in (batches[index] for index in range(8)) for i in range(3)]
    assert sum(alike) < len(alike) / 2


def test_a_search_compares_on_val_if_it_is_there(tmp_path: Path) -> None:
    data = pictures(unpaired(tmp_path / "in", valA=2, valB=1))
    ((searched,), (judged,)) = ([to_tensor(random_pixels(16, 20, 50 * number) // 2 + 128)] for number in (5, 3))
    assert torch.equal(data.reals("search")[0][0], searched) and torch.equal(data.reals("full")[0][0], judged)
    assert [path.parent.name for path in data.splits["full"]] == ["testA"] * 4


def test_a_teacher_without_targets_sees_both_domains(tmp_path: Path) -> None:
    a, b = pictures(unpaired(tmp_path / "in"), target="pictures").training((0, 4))[0]
    assert is_of(a, "A") and torch.equal(b[:, :3], a) and is_of(b[:, 3:], "B")


def test_a_run_keeps_the_pictures_of_both_domains(tmp_path: Path) -> None:
    root = unpaired(tmp_path / "in")
    before = pictures(root)
    record, said = before.record(), list[str]()
    write_images(root / "trainB", {"new.png": random_pixels(16, 20, 999)})
    after = PairData(before.settings, 0, warn=said.append, known=record)
    assert after.splits == before.splits and after.unpaired and "trainB/new.png" in said[0]
    (root / "testB" / "0.png").unlink()
    with pytest.raises(InputError, match=r"lacks pictures .*\(real full: 1\): testB/0.png"):
        _ = PairData(before.settings, 0, warn=said.append, known=record).splits


def test_scores_against_other_real_pictures_are_kept_apart(tmp_path: Path) -> None:
    root, seen = unpaired(tmp_path / "in"), set[str]()
    for seed, split in enumerate(("trainB", "testB")):
        seen.add(pictures(root).fingerprint)
        write_images(root / split, {"0.png": random_pixels(16, 20, 998 + seed)})
    assert len(seen) == 1 and pictures(root).fingerprint not in seen


LOOKED_FOR = "an unpaired folder holds trainA/, trainB/, testA/ and testB/, this one holds"


@pytest.mark.parametrize(
    ("gone", "direction", "sentence"),
    [
        (["trainB"], "AtoB", f"trainB is absent; {LOOKED_FOR} testA, testB, trainA"),
        (["trainA"], "AtoB", f"trainA is absent; {LOOKED_FOR} testA, testB, trainB"),
        (["testB"], "AtoB", f"testB is absent; {LOOKED_FOR} testA, trainA, trainB"),
        (["testB"], "BtoA", f"has neither valB/ nor testB/; {LOOKED_FOR} testA, trainA, trainB"),
        (["trainA", "testA", "testB"], "AtoB", f"has neither valA/ nor testA/; {LOOKED_FOR} trainB"),
    ],
)
def test_what_an_unpaired_folder_lacks_is_named(tmp_path: Path, gone, direction, sentence) -> None:
    root = unpaired(tmp_path / "in")
    for split in gone:
        shutil.rmtree(root / split)
    with pytest.raises(InputError, match=sentence):
        _ = pictures(root, direction=direction).splits


def test_pictures_smaller_than_a_crop_and_empty_folders_are_refused(
    tmp_path: Path,
) -> None:
    write_images(unpaired(tmp_path / "in") / "testB", {"odd.png": random_pixels(16, 21)})
    assert sum(map(len, pictures(tmp_path / "in").reals("full"))) == 4
    write_images(tmp_path / "in" / "testB", {"odd.png": random_pixels(15, 21)})
    with pytest.raises(InputError, match=r"testB/odd.png are 21x15; set a smaller crop"):
        _ = pictures(tmp_path / "in").splits
    assert pictures(tmp_path / "in", load_size=16).counts()[1] == (4, 16)
    (unpaired(tmp_path / "empty", trainB=0) / "trainB").mkdir()
    with pytest.raises(InputError, match="trainB holds no image"):
        _ = pictures(tmp_path / "empty").splits
