import math

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from supernet.training.losses import IGNORANCE, discriminator_loss, feature_distance, generator_loss, spectrum_distance

REAL, FAKE = torch.tensor([[2.0, 0.5]]), torch.tensor([[-1.0, 0.25]])


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("lsgan", 0.5 * ((1 + 0.25) / 2 + (1 + 0.0625) / 2)),
        ("hinge", (0 + 0.5) / 2 + (0 + 1.25) / 2),
    ],
)
def test_the_discriminators_loss_is_that_of_its_paper(kind, expected):
    assert discriminator_loss(kind, REAL, FAKE).item() == pytest.approx(expected)


@pytest.mark.parametrize(("kind", "expected"), [("lsgan", (4 + 0.5625) / 2), ("hinge", 0.375)])
def test_the_generators_loss_is_that_of_its_paper(kind, expected):
    assert generator_loss(kind, REAL, FAKE).item() == pytest.approx(expected)


def test_the_relativistic_losses_are_cross_entropies_of_each_against_the_mean_of_the_other():
    real, fake = REAL - FAKE.mean(), FAKE - REAL.mean()
    ones, zeros = torch.ones(1, 2), torch.zeros(1, 2)
    expected = cross_entropy(real, ones) + cross_entropy(fake, zeros)
    torch.testing.assert_close(discriminator_loss("relativistic", REAL, FAKE), expected)
    expected = cross_entropy(real, zeros) + cross_entropy(fake, ones)
    torch.testing.assert_close(generator_loss("relativistic", REAL, FAKE), expected)


@pytest.mark.parametrize(("kind", "score"), [("lsgan", 0.5), ("hinge", 0.0), ("relativistic", 0.0)])
def test_knowing_nothing_costs_the_figure_that_collapse_is_measured_by(kind, score):
    scores = torch.full((4,), score)
    assert discriminator_loss(kind, scores, scores).item() == pytest.approx(IGNORANCE[kind], abs=1e-4)


@pytest.mark.parametrize("kind", IGNORANCE)
def test_a_generator_gains_by_higher_scores_and_the_discriminator_by_lower_ones_of_fakes(kind):
    fake = FAKE.clone().requires_grad_()
    generator_loss(kind, REAL, fake).backward()
    assert (fake.grad < 0).all()
    fake = FAKE.abs().requires_grad_()  # least squares pull a fake's score to 0, the others down
    discriminator_loss(kind, REAL, fake).backward()
    assert (fake.grad >= 0).all() and fake.grad.any()


def test_the_distance_of_features_is_relative_to_each_layer():
    wanted = [torch.full((1, 2), 4.0), torch.full((1, 3), 100.0)]
    found = [torch.full((1, 2), 5.0), torch.full((1, 3), 50.0)]
    assert feature_distance(found, wanted).item() == pytest.approx((0.25 + 0.5) / 2)
    assert feature_distance(wanted, wanted).item() == 0
    assert math.isfinite(feature_distance(found[:1], [torch.zeros(1, 2)]).item())


def test_the_distance_of_spectra_is_that_of_numpy_and_none_for_equal_images():
    a, b = torch.rand(2, 3, 8, 6), torch.rand(2, 3, 8, 6)
    difference = np.fft.rfft2(a.numpy()) - np.fft.rfft2(b.numpy())
    expected = (np.abs(difference.real).mean() + np.abs(difference.imag).mean()) / 2
    assert spectrum_distance(a, b).item() == pytest.approx(expected, rel=1e-4)
    assert spectrum_distance(a, a).item() == 0
