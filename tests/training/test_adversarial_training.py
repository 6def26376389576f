"""Adversarial training, and what goes wrong in it."""

from copy import deepcopy
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from supernet_fixtures import (
    TRANSLATION,
    fresh_supernet,
    one_thread,
    random_images,
    random_supernet,
    training_settings,
)
from torch import Tensor
from training_parts import (
    SPACE,
    Pairs,
    adversarial_criterion,
    joint_rounds,
    nothing,
    translator,
)

from evo_c2f.errors import FailedError
from supernet.jobs.job import OnRound
from supernet.network.generator import Supernet
from supernet.rounds.fairness import FairRounds
from supernet.rounds.students import SharedSubnets
from supernet.training import loop
from supernet.training.adversary import Adversary
from supernet.training.criterion import Criterion, L1Alone, Terms
from supernet.training.learning import Learning, learning_rate


def adversarially(
    supernet: Supernet, rounds: FairRounds, batches: Pairs, n: int, state: Path, on_round: OnRound, told: list[str]
) -> dict[str, Tensor]:
    learning = Learning(SharedSubnets(supernet, rounds), adversarial_criterion(), training_settings(n))
    return loop.train(learning, batches, state, on_round, lambda index, trouble: told.append(f"{index}: {trouble}"))


@pytest.mark.parametrize("at", [1, 5])
def test_a_stopped_adversarial_training_ends_with_the_weights_of_one_never_stopped(tmp_path: Path, at):
    def stop_once(index: int, loss: float) -> None:
        if index == at:
            raise KeyboardInterrupt

    found = []
    with one_thread():
        for name, stops in (("never", 0), ("stopped", 1)):
            state = tmp_path / f"{name}.safetensors"
            if stops:
                with pytest.raises(KeyboardInterrupt):
                    adversarially(translator(), joint_rounds(), Pairs(), 8, state, stop_once, [])
            found.append(adversarially(translator(), joint_rounds(), Pairs(), 8, state, nothing, []))
    assert [n for n, t in found[0].items() if not torch.equal(t, found[1][n])] == []


def test_a_loss_that_is_not_finite_sends_training_back_to_its_last_good_state(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(loop, "ROUNDS_BETWEEN_SNAPSHOTS", 4)
    told: list[str] = []
    batches, rounds, supernet = Pairs(broken=6), joint_rounds(), translator()
    weights = adversarially(supernet, rounds, batches, 10, tmp_path / "s", nothing, told)
    assert told == ["6: the loss is not finite"]
    assert batches.asked == [0, 1, 2, 3, 4, 5, 6, 4, 5, 6, 7, 8, 9]
    assert all(t.isfinite().all() for t in weights.values())
    assert all(p.isfinite().all() for p in supernet.parameters())
    assert rounds.ledger.rounds == 10  # what was undone isn't counted


def test_a_snapshot_stays_as_it_was_whatever_follows():
    students = SharedSubnets(fresh_supernet(SPACE), joint_rounds())
    learning = Learning(students, Criterion(Terms(L1Alone())), training_settings(20))
    source, target = random_images(2, 3, 8, 8), random_images(2, 3, 32, 32)

    def four_rounds() -> None:
        for _ in range(4):
            loop.one_round(learning, source, target)

    four_rounds()
    good = learning.snapshot()
    tensors, metadata = {name: t.clone() for name, t in good[0].items()}, deepcopy(good[1])
    for trouble in ("first", "second"):
        four_rounds()
        learning.go_back(good, trouble)
        found = learning.state()
        for kept, said in (good, found):
            assert [name for name, t in tensors.items() if not torch.equal(t, kept[name])] == []
            assert said["rounds"] == metadata["rounds"]


def test_after_a_setback_it_goes_on_at_half_the_learning_rate(tmp_path: Path, monkeypatch):
    rates: list[float] = []
    step = loop.step_used
    monkeypatch.setattr(
        loop,
        "step_used",
        lambda optimizer, used: (rates.append(optimizer.param_groups[0]["lr"]), step(optimizer, used)),
    )
    adversarially(translator(), joint_rounds(), Pairs(broken=2), 6, tmp_path / "s", nothing, [])
    expected = [learning_rate(i, 6, 0.002) for i in range(2)] + [learning_rate(i, 6, 0.001) for i in range(6)]
    assert rates == pytest.approx(expected)


def test_a_discriminator_that_wins_outright_is_named_and_undone(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(Adversary, "collapsed", property(lambda self: self.updates == 5 and not told))
    told: list[str] = []
    batches = Pairs()
    adversarially(translator(), joint_rounds(), batches, 8, tmp_path / "s", nothing, told)
    assert len(told) == 1 and "4: the discriminator wins outright" in told[0]
    assert batches.asked == [*range(5), *range(8)]


def test_training_that_fails_again_and_again_ends_with_the_way_out(tmp_path: Path):
    class Broken(Pairs):
        def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
            source, target = super().__getitem__(index)
            return source, target * (torch.nan if index == 3 else 1)

    told: list[str] = []
    with pytest.raises(FailedError, match=r"failed 6 times.*not finite.*lower training\.learning_rate"):
        adversarially(translator(), joint_rounds(), Broken(), 8, tmp_path / "s", nothing, told)
    assert len(told) == 6


def test_what_guides_by_distillation_is_not_moved_by_it(tmp_path: Path):
    """The teacher gets no gradient; the widest subnet, whose weights are the supernet's, gets none by its guiding."""
    supernet = random_supernet(SPACE, TRANSLATION)
    guide = partial(supernet, architecture=SPACE.decode(SPACE.reference))
    criterion, (source, target) = Criterion(Terms(L1Alone(l1=0.0, distillation=1.0), guide=guide)), Pairs()[0]
    criterion.begin(0, source, target)
    assert not criterion.guided.requires_grad
    other = SPACE.decode(SPACE.random(1, np.random.default_rng(3))[0])
    loss = criterion.loss(supernet(source, other))
    assert loss.item() == pytest.approx(F.l1_loss(supernet(source, other), guide(source)).item())
    loss.backward()
    used = {id(p) for p in supernet.used([other])}
    assert {id(p) for p in supernet.parameters() if p.grad is not None} <= used
