"""The gradients of one round: which weights get them, how they are divided, threads and precision."""

from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from supernet_fixtures import (
    random_images,
    random_supernet,
    training_settings,
)
from torch import Tensor
from training_parts import (
    SPACE,
    Pairs,
    adversarial_criterion,
    fair_gradients,
    joint_rounds,
    modules_of,
    pair,
    translator,
)

from supernet import checkpoint
from supernet.network.generator import Supernet
from supernet.rounds.students import SharedSubnets, divide_by_uses
from supernet.training import loop
from supernet.training.criterion import Criterion, L1Alone, Terms
from supernet.training.learning import Learning


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
