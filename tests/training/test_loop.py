"""The training loop: what it gives, what stops it, and what it does when stopped."""

from pathlib import Path

import pytest
import torch
from supernet_fixtures import (
    fresh_supernet,
    one_thread,
    patch_pairs,
    random_supernet,
    train_fairly,
    training_settings,
)
from training_parts import (
    SPACE,
    Pairs,
    StopError,
    fair_gradients,
    joint_rounds,
    joint_rounds_ahead,
    modules_of,
    nothing,
)

from evo_c2f.errors import DamagedFileError
from supernet.network.teacher import ResNetGenerator
from supernet.rounds.students import Alone
from supernet.training import loop
from supernet.training.criterion import Criterion, L1Alone, Terms
from supernet.training.learning import Learning, learning_rate


@pytest.mark.parametrize("divide", [False, True])
def test_the_loss_falls(tmp_path: Path, divide):
    losses: list[float] = []
    supernet, settings = fresh_supernet(SPACE), training_settings(60, divide_gradients=divide)
    state = tmp_path / "state.safetensors"
    average = train_fairly(
        supernet, joint_rounds(), patch_pairs(tmp_path), settings, state, lambda index, loss: losses.append(loss)
    )
    assert len(losses) == 60
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])
    weights = dict(supernet.named_parameters())
    assert average.keys() == weights.keys()
    assert any(not torch.equal(average[n], weights[n]) for n in average)


def test_each_round_is_told_once_in_order(tmp_path: Path):
    told: list[int] = []
    state = tmp_path / "state.safetensors"
    train_fairly(
        fresh_supernet(SPACE), joint_rounds(), patch_pairs(tmp_path), training_settings(4), state,
        lambda index, loss: told.append(index),
    )  # fmt: skip
    assert told == [1, 2, 3, 4]


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
@pytest.mark.parametrize("at", [1, 5, 11])
@pytest.mark.parametrize(("stop", "lost"), [(KeyboardInterrupt, 0), (StopError, 1)], ids=["interrupted", "crashed"])
def test_a_stopped_training_ends_with_the_weights_of_one_never_stopped(
    tmp_path: Path, monkeypatch, stop, lost, at, optimizer
):
    """Ctrl-C loses nothing; a crash loses the rounds since the last save, which is made after each round here."""
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_SAVES", -1.0 if stop is StopError else 60.0)
    settings, batches = training_settings(12, optimizer=optimizer), patch_pairs(tmp_path)
    state = tmp_path / "state.safetensors"

    def stop_once(index: int, loss: float) -> None:
        if index == at:
            raise stop

    with one_thread():
        whole, whole_rounds = fresh_supernet(SPACE), joint_rounds()
        expected = train_fairly(whole, whole_rounds, batches, settings, tmp_path / "another.safetensors", nothing)
        with pytest.raises(stop):
            train_fairly(fresh_supernet(SPACE), joint_rounds(), batches, settings, state, stop_once)
        told: list[int] = []
        resumed, resumed_rounds = fresh_supernet(SPACE, seed=0 if at <= lost else 5), joint_rounds()
        found = train_fairly(resumed, resumed_rounds, batches, settings, state, lambda index, loss: told.append(index))
    assert told == list(range(at - lost + 1, 13))
    assert resumed_rounds.ledger.to_dict() == whole_rounds.ledger.to_dict()
    assert [n for n, t in resumed.state_dict().items() if not torch.equal(t, whole.state_dict()[n])] == []
    assert [n for n, t in found.items() if not torch.equal(t, expected[n])] == []


def test_the_loop_is_adam_on_the_fair_gradients_and_its_average(tmp_path: Path):
    settings, batches = training_settings(8, ema=0.5), patch_pairs(tmp_path)
    trained, ours = random_supernet(SPACE), random_supernet(SPACE)
    average = train_fairly(trained, joint_rounds(), batches, settings, tmp_path / "state.safetensors", nothing)
    rounds, adam = joint_rounds(), torch.optim.Adam(ours.parameters(), betas=(0.9, 0.99))
    expected = {n: p.detach().clone() for n, p in ours.named_parameters()}
    for index in range(8):
        adam.param_groups[0]["lr"] = learning_rate(index, 8, 0.002)
        adam.zero_grad(set_to_none=True)
        dealt = [SPACE.decode(genome) for genome in rounds.deal()]
        fair_gradients(ours, dealt, *batches[index], divide=False)
        adam.step()
        kept = min(0.5, (1 + index) / (10 + index))
        expected = {n: kept * expected[n] + (1 - kept) * p.detach() for n, p in ours.named_parameters()}
    for n, p in trained.named_parameters():
        torch.testing.assert_close(p, ours.get_parameter(n), atol=1e-4, rtol=0)
        torch.testing.assert_close(average[n], expected[n], atol=1e-4, rtol=0)


def test_a_round_moves_the_modules_it_uses_and_no_other_whatever_their_momentum(tmp_path: Path):
    supernet, rounds = random_supernet(SPACE), joint_rounds()
    before = {n: p.detach().clone() for n, p in supernet.named_parameters()}
    used = modules_of(joint_rounds_ahead(rounds))
    counts: list[int] = []

    def look(index: int, loss: float) -> None:
        nonlocal used
        now = {n: p.detach().clone() for n, p in supernet.named_parameters()}
        assert {n.split(".")[1] for n in now if not torch.equal(now[n], before[n])} == used
        counts.append(len(used))
        before.update(now)
        used = modules_of(joint_rounds_ahead(rounds))

    settings = training_settings(12)
    train_fairly(supernet, rounds, patch_pairs(tmp_path), settings, tmp_path / "state.safetensors", look)
    assert len(counts) == 12
    assert max(counts) < len(supernet.modules_by_place)


def test_another_seed_of_the_batches_gives_other_weights(tmp_path: Path):
    with one_thread():
        first, same, other = (
            train_fairly(
                fresh_supernet(SPACE), joint_rounds(), patch_pairs(tmp_path, seed), training_settings(3),
                tmp_path / "state.safetensors", nothing,
            )
            for seed in (0, 0, 1)
        )  # fmt: skip
    assert all(torch.equal(first[n], same[n]) for n in first)
    assert any(not torch.equal(first[n], other[n]) for n in first)


def test_a_damaged_state_is_named_and_not_trained_over(tmp_path: Path):
    state = tmp_path / "state.safetensors"
    state.write_bytes(b"nonsense")
    with pytest.raises(DamagedFileError, match="state.safetensors"):
        train_fairly(fresh_supernet(SPACE), joint_rounds(), patch_pairs(tmp_path), training_settings(3), state, nothing)


def test_a_network_alone_is_trained_by_the_same_loop(tmp_path: Path):
    torch.manual_seed(0)
    teacher, losses = ResNetGenerator(4, 1), list[float]()
    learning = Learning(Alone(teacher), Criterion(Terms(L1Alone())), training_settings(40))
    weights = loop.train(learning, [Pairs()[0]] * 40, tmp_path / "s", lambda index, loss: losses.append(loss))
    assert weights.keys() == dict(teacher.named_parameters()).keys()
    assert sum(losses[-8:]) < 0.9 * sum(losses[:8])


def test_the_notes_of_a_stopped_training_are_those_of_all_its_sittings(tmp_path: Path):
    seen: list[float] = []

    def train(stop: bool) -> dict:
        notes: dict = {"curve": []}

        def on_round(index: int, loss: float) -> None:
            notes["curve"].append(index)
            seen.append(notes["seconds"])
            if stop and index == 3:
                raise KeyboardInterrupt

        teacher, batches = ResNetGenerator(4, 1), [Pairs()[0]] * 6
        learning = Learning(Alone(teacher), Criterion(Terms(L1Alone())), training_settings(6))
        loop.train(learning, batches, tmp_path / "s", on_round, notes=notes)
        return notes

    with pytest.raises(KeyboardInterrupt):
        train(stop=True)
    notes = train(stop=False)
    assert notes["curve"] == [1, 2, 3, 4, 5, 6]
    assert 0 < seen[0] < seen[2] < seen[3] < notes["seconds"] + 1e-9
