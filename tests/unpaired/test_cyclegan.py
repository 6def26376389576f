"""CycleGAN's losses, its schedule, and its training on a tiny folder."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from supernet_fixtures import random_images, random_pixels, small_space, training_settings, write_images
from torch import Tensor

from evo_c2f.errors import InputError
from evo_c2f.sections.data import PairsSection
from supernet import checkpoint
from supernet.data.pair_data import PairData
from supernet.jobs.job import Job
from supernet.metrics.tasks import Translation
from supernet.models.model import load_network
from supernet.network.discriminator import PatchGan
from supernet.training import loop
from supernet.training.adversary import Adversary
from supernet.unpaired import pool
from supernet.unpaired.cyclegan import STREAM, CycleGan, Generators
from supernet.unpaired.training import UnpairedTraining

A, B = random_images(2, 3, 16, 16, seed=1), random_images(2, 3, 16, 16, seed=2)
RATE = 0.0002


def cyclegan(rounds: int = 4) -> CycleGan:
    torch.manual_seed(0)
    judges = {way: Adversary(PatchGan(16, 4, None, 0), "lsgan", RATE) for way in ("there", "back")}
    return CycleGan(Generators(2), judges, training_settings(rounds, beta1=0.5, learning_rate=RATE), seed=0)


def signed(network: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The network as a function of images in -1..1, the paper's range."""
    return lambda x: 2 * network((x + 1) / 2) - 1


def test_the_generators_loss_is_that_of_the_paper():
    learning = cyclegan()
    g, f = signed(learning.generators.there), signed(learning.generators.back)
    d_y, d_x = (lambda y, way=way: learning.judges[way].discriminator(A, (y + 1) / 2)[0] for way in ("there", "back"))
    x, y = 2 * A - 1, 2 * B - 1
    gan = ((d_y(g(x)) - 1) ** 2).mean() + ((d_x(f(y)) - 1) ** 2).mean()
    cycle = (f(g(x)) - x).abs().mean() + (g(f(y)) - y).abs().mean()
    identity = (g(y) - y).abs().mean() + (f(x) - x).abs().mean()
    loss, outputs = learning.loss(A, B)
    assert loss.item() == pytest.approx((gan + 10 * cycle + 10 * 0.5 * identity).item(), rel=1e-5)
    torch.testing.assert_close(outputs, {"there": learning.generators.there(A), "back": learning.generators.back(B)})


@pytest.mark.parametrize("kept", [0, pool.SIZE], ids=["fresh", "full pools"])
def test_each_discriminator_learns_its_domain_from_the_pool_by_least_squares(kept: int):
    learning, expected = cyclegan(rounds=9), {}
    learning.index = 5  # in which one of each pool's two outputs is exchanged
    rng, outputs = np.random.default_rng([0, STREAM, 5]), learning.loss(A, B)[1]
    for way, real in (("there", B), ("back", A)):
        learning.pools[way].images = [*random_images(kept, 3, 16, 16, seed=3)]
        twin, judge = deepcopy(learning.pools[way]), learning.judges[way].discriminator
        fakes = twin.exchange(outputs[way].detach(), rng)
        assert kept == 0 or not torch.equal(fakes, outputs[way])
        loss = 0.5 * (((judge(A, real)[0] - 1) ** 2).mean() + (judge(A, fakes)[0] ** 2).mean())
        expected[way] = torch.autograd.grad(loss, list(judge.parameters()))
    loss, trouble = learning.round(A, torch.cat([A, B], dim=1))
    assert trouble is None and loss > 1
    for way, gradients in expected.items():
        found = [p.grad for p in learning.judges[way].discriminator.parameters()]
        torch.testing.assert_close(found, list(gradients), atol=1e-6, rtol=1e-4)


def test_the_learning_rate_is_constant_for_half_of_the_rounds_and_then_falls_to_zero():
    learning, rates = cyclegan(rounds=8), []
    for learning.index in range(8):
        learning.set_rate()
        rates.append(learning.optimizer.param_groups[0]["lr"] / RATE)
    assert rates == pytest.approx([1, 1, 1, 1, 1, 0.75, 0.5, 0.25])
    assert learning.optimizer.param_groups[0]["betas"][0] == 0.5


# -- the training --------------------------------------------------------------------------------------


class StopError(Exception):
    """A crash in the middle of the training."""


def training(folder: Path, images: int = 12) -> UnpairedTraining:
    for number, split in enumerate(("trainA", "trainB", "testA", "testB")):
        write_images(folder / split, {f"{i}.png": random_pixels(32, 32, 9 * number + i) for i in range(3)})
    section = {"folder": str(folder), "crop": 16, "batch": 2, "validation_images": 2}
    data = PairData(PairsSection.model_validate(section), 0)
    job = Job(small_space(), Translation(), data, 0, torch.device("cpu"))
    settings = training_settings(9, discriminator={"width": 4})
    return UnpairedTraining(job, settings, 4, images, images // 2, RATE)


def written(folder: Path) -> list[dict[str, Tensor]]:
    return [checkpoint.load(folder / name)[0] for name in ("teacher.safetensors", "teacher-back.safetensors")]


def unexpected(index: int, trouble: str) -> None:
    raise AssertionError(trouble)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pools that are full after two rounds, and a state that is saved after each."""
    monkeypatch.setattr(pool, "SIZE", 4)
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_SAVES", 0.0)


def test_a_training_that_was_stopped_ends_with_the_same_bytes(few: None, tmp_path: Path) -> None:
    def stopping(index: int, loss: float) -> None:
        if index in (3, 5) and len(stops) < 2:
            stops.append(index)
            raise (KeyboardInterrupt if index == 3 else StopError)

    work, stops, seen = training(tmp_path / "data"), list[int](), list[int]()
    work.run(tmp_path / "whole" / "teacher.safetensors", lambda index, loss: None, unexpected)
    target = tmp_path / "stopped" / "teacher.safetensors"
    for stop in (KeyboardInterrupt, StopError):
        with pytest.raises(stop):
            work.run(target, stopping, unexpected)
        assert not target.exists()
    work.run(target, lambda index, loss: seen.append(index), unexpected)
    assert seen == [5, 6]  # the crash was before the state of round 5 was saved
    for whole, again in zip(written(tmp_path / "whole"), written(tmp_path / "stopped"), strict=True):
        assert whole.keys() == again.keys() and all(torch.equal(whole[name], again[name]) for name in whole)
    assert sorted(p.name for p in target.parent.iterdir()) == ["teacher-back.safetensors", "teacher.safetensors"]
    there, back = written(tmp_path / "whole")
    assert not torch.equal(there["first.weight"], back["first.weight"])
    assert load_network(target)(A).shape == A.shape


def test_a_teacher_that_was_trained_otherwise_is_not_trained_over(tmp_path: Path):
    target = tmp_path / "teacher.safetensors"
    training(tmp_path / "data", images=2).run(target, lambda index, loss: None, unexpected)
    before = target.read_bytes()
    training(tmp_path / "data", images=2).run(target, unexpected, unexpected)
    with pytest.raises(InputError, match=r"of another training \(images is 2 there, 4 here\); remove it"):
        training(tmp_path / "data", images=4).run(target, unexpected, unexpected)
    assert target.read_bytes() == before
