"""The learning rate over the rounds, and the average of the weights."""

import math

import pytest
import torch
from supernet_fixtures import (
    random_supernet,
    training_settings,
)
from training_parts import (
    SPACE,
)

from supernet.rounds.students import Alone
from supernet.training.criterion import Criterion, L1Alone, Terms
from supernet.training.learning import Learning, learning_rate
from supernet.training.loop import update_average


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
