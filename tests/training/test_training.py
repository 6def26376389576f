import math
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
    patch_pairs,
    random_images,
    random_supernet,
    small_space,
    train_fairly,
    training_settings,
)
from torch import Tensor

from evo_c2f.errors import DamagedFileError, FailedError
from evo_c2f.space import Architecture, Genomes
from supernet import checkpoint
from supernet.jobs.job import OnRound
from supernet.network.discriminator import PatchGan
from supernet.network.generator import Supernet
from supernet.network.teacher import ResNetGenerator
from supernet.rounds.fairness import FairRounds
from supernet.rounds.students import Alone, SharedSubnets, divide_by_uses
from supernet.training import loop
from supernet.training.adversary import Adversary
from supernet.training.criterion import Criterion, L1Alone, Terms
from supernet.training.learning import Learning, learning_rate
from supernet.training.loop import update_average

SPACE = small_space()


def joint_rounds(seed: int = 0) -> FairRounds:
    return FairRounds(SPACE, "joint", None, np.random.default_rng(seed))


def joint_rounds_ahead(rounds: FairRounds) -> Genomes:
    """The genomes that `rounds` will deal next, without dealing them."""
    ahead = joint_rounds()
    ahead.restore(rounds.state())
    return ahead.deal()


def modules_of(genomes: Genomes) -> set[str]:
    """The supernet's modules that these subnets use, by name."""
    used = set()
    for architecture in map(SPACE.decode, genomes):
        levels = [cell.level for cell in architecture.cells]
        used |= {f"operator_{c.position}_{c.level}_{c.operator}" for c in architecture.cells}
        used |= {f"stem_{level}" for level in levels} | {f"head_{levels[-1]}"}
        used |= {f"transition_{s}_{t}" for s, t in zip(levels, levels[1:], strict=False) if s != t}
    return used


def pair(seed: int = 0) -> tuple[Tensor, Tensor]:
    """A batch of two, (low, high)."""
    return random_images(2, 3, 8, 8, seed=seed), random_images(2, 3, 32, 32, seed=seed + 1)


def fair_gradients(supernet: Supernet, dealt: list[Architecture], low: Tensor, high: Tensor, divide: bool) -> float:
    """By L1."""
    criterion = Criterion(Terms(L1Alone()))
    criterion.begin(0, low, high)
    networks = [partial(supernet, architecture=a) for a in dealt]
    losses, _ = loop.fair_gradients(networks, supernet.used(dealt), low, criterion)
    if divide:
        divide_by_uses(supernet, dealt)
    return sum(torch.stack(losses).tolist())


def nothing(index: int, loss: float) -> None:
    """No progress to show."""


class StopError(Exception):
    """A crash in the middle of the training."""


# -- one round ---------------------------------------------------------------------------------------


def test_what_a_round_does_not_use_keeps_no_gradient():
    supernet, rounds = random_supernet(SPACE), joint_rounds()
    for seed in range(5):
        genomes = rounds.deal()
        supernet.zero_grad(set_to_none=True)
        fair_gradients(supernet, [SPACE.decode(g) for g in genomes], *pair(seed), divide=seed % 2 == 0)
        used = modules_of(genomes)
        with_gradient = {n.split(".")[1] for n, p in supernet.named_parameters() if p.grad is not None}
        assert with_gradient == used
        assert len(used) < len(supernet.modules_by_place)


def gradients(supernet: Supernet, value: Tensor) -> dict[str, Tensor]:
    """Of the parameters that the value depends on."""
    supernet.zero_grad(set_to_none=True)
    value.backward()
    return {n: p.grad for n, p in supernet.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("divide", [False, True])
def test_the_gradients_of_a_round_are_those_of_its_subnets_one_by_one(divide):
    supernet, (low, high) = random_supernet(SPACE), pair()
    architectures = [SPACE.decode(genome) for genome in joint_rounds().deal()]
    total, users = ({n: torch.zeros_like(p) for n, p in supernet.named_parameters()} for _ in range(2))
    losses = []
    for architecture in architectures:
        loss = F.l1_loss(supernet(low, architecture), high)
        losses.append(loss.item())
        for n, gradient in gradients(supernet, loss).items():
            total[n] += gradient / len(architectures)
        # The signs of L1 can cancel to exactly zero in a weight that is used; random factors don't.
        mixed = (supernet(low, architecture) * random_images(*high.shape)).sum()
        for n, gradient in gradients(supernet, mixed).items():
            users[n] += gradient != 0
    supernet.zero_grad(set_to_none=True)
    mean = fair_gradients(supernet, architectures, low, high, divide)
    assert mean == pytest.approx(sum(losses) / len(losses), rel=1e-5)
    assert max(count.max().item() for count in users.values()) >= 2
    for n, p in supernet.named_parameters():
        expected = total[n] / users[n].clamp(min=1) if divide else total[n]
        gradient = torch.zeros_like(p) if p.grad is None else p.grad
        torch.testing.assert_close(gradient, expected, atol=1e-6, rtol=1e-4)


def test_a_weight_that_all_subnets_use_is_divided_by_their_number():
    supernet, (low, high) = random_supernet(SPACE), pair()
    architecture = SPACE.decode(SPACE.reference)
    for _ in range(3):
        F.l1_loss(supernet(low, architecture), high).backward()
    before = {n: p.grad.clone() for n, p in supernet.named_parameters() if p.grad is not None}
    divide_by_uses(supernet, [architecture] * 3)
    for n, p in supernet.named_parameters():
        if n in before:
            torch.testing.assert_close(p.grad, before[n] / 3)


# -- the schedule and the average ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("index", "rounds", "expected"),
    [
        (0, 1000, 0.02),  # the first of 50 steps of the warm-up
        (24, 1000, 0.5 * (0.01 + 0.99 * 0.5 * (1 + math.cos(0.024 * math.pi)))),
        (49, 1000, 0.01 + 0.99 * 0.5 * (1 + math.cos(0.049 * math.pi))),
        (500, 1000, 0.505),
        (999, 1000, 0.0100024),
        (0, 1, 1.0),
        (0, 10, 0.1),
        (9, 10, 0.01 + 0.99 * 0.5 * (1 + math.cos(0.9 * math.pi))),
    ],
)
def test_the_learning_rate_warms_up_and_falls_as_a_cosine(index, rounds, expected):
    assert learning_rate(index, rounds, 1.0) == pytest.approx(expected, rel=1e-5)
    assert learning_rate(index, rounds, 0.002) == pytest.approx(0.002 * expected, rel=1e-5)


def test_the_learning_rate_rises_for_50_rounds_and_then_only_falls():
    rates = [learning_rate(index, 300, 1.0) for index in range(300)]
    assert rates[:50] == sorted(rates[:50])
    assert rates[50:] == sorted(rates[50:], reverse=True)
    assert 0 < min(rates) <= max(rates) <= 1


@pytest.mark.parametrize(
    ("index", "decay", "kept"),
    [(0, 0.999, 1 / 10), (1, 0.999, 2 / 11), (90, 0.999, 91 / 100), (10_000, 0.999, 0.999), (90, 0.5, 0.5), (9, 0, 0)],
)
def test_the_average_keeps_little_of_the_early_weights_and_then_the_decays_share(index, decay, kept):
    supernet = random_supernet(SPACE)
    before = {n: torch.full_like(p, 2.0) for n, p in supernet.named_parameters()}
    average = {n: t.clone() for n, t in before.items()}
    learning = Learning(Alone(supernet), Criterion(Terms(L1Alone())), training_settings(20_000, ema=decay))
    learning.index = index
    for weight in (learning.average_weight(), torch.tensor(learning.average_weight())):
        moved = {n: t.clone() for n, t in average.items()}
        update_average(list(moved.values()), list(supernet.parameters()), weight)
        for n, p in supernet.named_parameters():
            torch.testing.assert_close(moved[n], kept * before[n] + (1 - kept) * p.detach())


# -- the loop -----------------------------------------------------------------------------------------


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


# -- adversarial training, and what goes wrong in it ----------------------------------------------------


class Pairs:
    """Batches for translation; one of them, if told, holds a NaN."""

    def __init__(self, broken: int | None = None):
        self.broken, self.asked = broken, list[int]()

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        self.asked.append(index)
        source, target = (random_images(2, 3, 16, 16, seed=2 * index + s) for s in (0, 1))
        if index == self.broken:
            self.broken = None
            target = target * torch.nan
        return source, target


def adversarial_criterion() -> Criterion:
    torch.manual_seed(0)
    weights = L1Alone(l1=1.0, adversarial=0.1, feature_matching=0.5)
    return Criterion(Terms(weights), adversary=Adversary(PatchGan(16, 4, None, 3), "lsgan", 0.001))


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


def translator() -> Supernet:
    return fresh_supernet(SPACE, TRANSLATION)


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


# -- side by side ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [2, 3])
def test_networks_side_by_side_leave_the_gradients_of_one_after_the_other(threads):
    before = torch.get_num_threads()
    supernet, (low, high) = random_supernet(SPACE), pair()
    architectures = [SPACE.decode(genome) for genome in joint_rounds().deal()]
    networks, used = [partial(supernet, architecture=a) for a in architectures], supernet.used(architectures)
    criterion = Criterion(Terms(L1Alone()))
    criterion.begin(0, low, high)
    found = []
    try:
        for n in (1, threads):
            torch.set_num_threads(n)
            with loop.Crew(torch.device("cpu")) as side_by_side:
                assert next(iter(side_by_side(lambda network: network, networks))) is networks[0]
                losses, outputs = loop.fair_gradients(networks, used, low, criterion, side_by_side)
            found.append((losses, outputs, [parameter.grad for parameter in used]))
            for parameter in used:
                parameter.grad = None
    finally:
        torch.set_num_threads(before)
    assert torch.get_num_threads() == before
    for alone, beside in zip(sum(found[0], []), sum(found[1], []), strict=True):
        torch.testing.assert_close(alone, beside, atol=1e-6, rtol=1e-5)


def test_one_network_alone_gets_all_threads():
    with loop.Crew(torch.device("cpu")) as side_by_side:
        list(side_by_side(lambda network: None, [None]))
        assert side_by_side.pool is None


# -- precision ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2], ids=["one thread", "side by side"])
def test_bf16_is_for_the_convolutions_and_what_is_kept_stays_float32(tmp_path: Path, threads):
    before, found, seen = torch.get_num_threads(), {}, set()
    try:
        torch.set_num_threads(threads)
        for precision in ("float32", "bf16"):
            supernet, losses, state = translator(), list[float](), tmp_path / f"{precision}.safetensors"
            for module in supernet.modules():
                if isinstance(module, torch.nn.Conv2d):
                    module.register_forward_hook(lambda m, x, y, precision=precision: seen.add((precision, y.dtype)))

            def stop_at_3(index: int, loss: float, losses: list[float] = losses) -> None:
                losses.append(loss)
                if index == 3:
                    raise KeyboardInterrupt

            settings = training_settings(6, precision=precision)
            learning = Learning(SharedSubnets(supernet, joint_rounds()), adversarial_criterion(), settings)
            with pytest.raises(KeyboardInterrupt):
                loop.train(learning, Pairs(), state, stop_at_3)
            found[precision] = losses
            assert {t.dtype for name, t in checkpoint.load(state)[0].items()} == {torch.float32}
    finally:
        torch.set_num_threads(before)
    assert seen == {("float32", torch.float32), ("bf16", torch.bfloat16)}
    assert found["bf16"] == pytest.approx(found["float32"], rel=0.02)
    assert found["bf16"] != found["float32"]
