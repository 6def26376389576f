"""Recorded rounds, with a recorder that needs no GPU: it runs the work again on the same tensors."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from supernet_fixtures import fresh_supernet, random_images, small_space, training_settings
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from supernet.rounds.fairness import FairRounds
from supernet.rounds.students import Alone, SharedSubnets
from supernet.training import captured, loop
from supernet.training.captured import WARM_UPS, Captured
from supernet.training.criterion import Criterion, L1Alone, Terms
from supernet.training.learning import Learning

SPACE = small_space()
ROUNDS = 16
WORDS = "rounds can't be recorded"


class Recorder:
    """Runs a recorded work anew at each replay, on the tensors that it was recorded with."""

    def __init__(self, refuses: bool = False):
        self.refuses, self.recorded, self.replayed = refuses, 0, 0

    def __call__(self, work: Callable[[], Tensor]) -> tuple[Callable[[], object], Tensor]:
        if self.refuses:
            raise RuntimeError("operation not permitted when stream is capturing")
        self.recorded += 1
        loss = torch.zeros(())

        def replay() -> None:
            self.replayed += 1
            loss.copy_(work())

        return replay, loss


class Batches:
    """Larger patches from round 8 on, and one round that breaks."""

    def __init__(self, broken: int | None = None):
        self.broken = broken

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        side = 8 if index < 8 else 16
        target = random_images(2, 3, 4 * side, 4 * side, seed=index)
        if index == self.broken:
            self.broken, target = None, target * torch.nan
        return random_images(2, 3, side, side, seed=index + 100), target


def learning_of(optimizer: str = "muon") -> Learning:
    """One network, whose loss changes in round 5; its rate lies in a tensor, as on a GPU."""
    network = fresh_supernet(SPACE).extract(SPACE.decode(SPACE.reference))
    criterion = Criterion(Terms(L1Alone(spectrum=0.05)), earlier=[(5, Terms(L1Alone()))])
    learning = Learning(Alone(network), criterion, training_settings(ROUNDS, optimizer=optimizer))
    learning.optimizer.param_groups[0]["lr"] = torch.tensor(0.0)
    return learning


def trained(
    learning: Learning, batches: Batches, state: Path, monkeypatch: pytest.MonkeyPatch, record: Recorder | None
):
    """(averaged weights, losses, setbacks) of the loop with a recorder, or without one."""
    losses, setbacks = list[float](), list[str]()
    with monkeypatch.context() as patch:
        patch.setattr(loop, "can_be_recorded", lambda learning: record is not None)
        patch.setattr(captured, "cuda_graph", record)
        average = loop.train(
            learning, batches, state, lambda _, loss: losses.append(loss), lambda _, why: setbacks.append(why)
        )
    return average, losses, setbacks


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_recorded_rounds_learn_what_usual_ones_do(tmp_path, monkeypatch, optimizer):
    record = Recorder()
    usual = trained(learning_of(optimizer), Batches(), tmp_path / "usual", monkeypatch, None)
    ours = trained(learning_of(optimizer), Batches(), tmp_path / "ours", monkeypatch, record)
    # Three kinds of rounds: the first loss, the second, and the second with larger patches.
    assert record.recorded == 2 and record.replayed == ROUNDS - 3 * WARM_UPS
    assert ours[1] == pytest.approx(usual[1], rel=1e-5)
    for name, tensor in usual[0].items():
        torch.testing.assert_close(ours[0][name], tensor, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("index", [WARM_UPS + 2, WARM_UPS + 3])
def test_nothing_recorded_outlives_a_setback(index):
    """Whether the spoilt round was replayed or, as the first of its kind, ran as usual."""
    learning, batches = learning_of(), Batches(broken=index)
    rounds = Captured(learning, lambda *batch: loop.one_round(learning, *batch), loop.recordable_round, Recorder())
    for learning.index in range(index):
        rounds(*batches[learning.index])
    assert rounds.recordings
    learning.index = index
    assert rounds(*batches[index])[1] == "the loss is not finite"
    assert not rounds.recordings and not rounds.seen


def test_a_loss_that_is_not_finite_is_undone_and_the_rounds_are_recorded_anew(tmp_path, monkeypatch):
    record = Recorder()
    usual = trained(learning_of(), Batches(broken=13), tmp_path / "usual", monkeypatch, None)
    ours = trained(learning_of(), Batches(broken=13), tmp_path / "ours", monkeypatch, record)
    assert ours[2] == usual[2] == ["the loss is not finite"]
    assert record.recorded > 2
    for name, tensor in usual[0].items():
        torch.testing.assert_close(ours[0][name], tensor, atol=1e-6, rtol=1e-4)


def test_where_the_gpu_refuses_rounds_run_as_usual_and_that_is_said_once(tmp_path, monkeypatch, caplog):
    usual = trained(learning_of(), Batches(), tmp_path / "usual", monkeypatch, None)
    with caplog.at_level(logging.WARNING):
        ours = trained(learning_of(), Batches(), tmp_path / "ours", monkeypatch, Recorder(refuses=True))
    assert [WORDS in record.message for record in caplog.records] == [True]
    assert all(torch.equal(ours[0][name], tensor) for name, tensor in usual[0].items())


class Waits(TorchDispatchMode):
    """Counts what makes Python wait for a GPU: numbers that are read from tensors."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        super().__init__()
        self.count, real = 0, Tensor.tolist

        def tolist(tensor: Tensor) -> object:
            self.count += 1
            with torch.utils._python_dispatch._disable_current_modes():
                return real(tensor)

        monkeypatch.setattr(Tensor, "tolist", tolist)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **kwargs or {})


@pytest.mark.parametrize("which", ["supernet", "alone", "recorded"])
def test_a_round_waits_once_for_the_gpu(monkeypatch, which):
    learning = learning_of()
    if which == "supernet":
        students = SharedSubnets(fresh_supernet(SPACE), FairRounds(SPACE, "joint", None, np.random.default_rng(0)))
        learning = Learning(students, Criterion(Terms(L1Alone())), training_settings(ROUNDS))
    a_round = Captured(learning, lambda *batch: loop.one_round(learning, *batch), loop.recordable_round, Recorder())
    for index in range(WARM_UPS + 1 if which == "recorded" else 1):
        a_round(*Batches()[index])
    with Waits(monkeypatch) as waits:
        a_round(*Batches()[WARM_UPS + 1])
    assert waits.count == 1
