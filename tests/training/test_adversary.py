import pytest
import torch
from supernet_fixtures import one_thread, random_images

from supernet.network.discriminator import PatchGan
from supernet.training.adversary import PATIENCE, Adversary
from supernet.training.losses import generator_loss


def adversary(kind: str = "lsgan", learning_rate: float = 0.002) -> Adversary:
    torch.manual_seed(0)
    return Adversary(PatchGan(16, 4, None, 3), kind, learning_rate)


SOURCE, TARGET, FAKE = (random_images(2, 3, 16, 16, seed=s) for s in (1, 2, 3))


def test_its_judgement_reaches_the_generator_and_not_its_own_weights():
    judge, output = adversary(), FAKE.clone().requires_grad_()
    judge.look(SOURCE, TARGET)
    adversarial, matching = judge.judge(SOURCE, output)
    (adversarial + matching).backward()
    assert output.grad.any()
    assert all(p.grad is None and p.requires_grad for p in judge.discriminator.parameters())
    expected = generator_loss("lsgan", TARGET, judge.discriminator(SOURCE, FAKE)[0])
    torch.testing.assert_close(adversarial.detach(), expected.detach())


def test_what_looks_real_matches_its_features():
    judge = adversary()
    judge.look(SOURCE, TARGET)
    assert judge.judge(SOURCE, TARGET)[1].item() == pytest.approx(0, abs=1e-5)
    assert judge.judge(SOURCE, FAKE)[1].item() > 0.1


@pytest.mark.parametrize("kind", ["lsgan", "hinge", "relativistic"])
def test_it_learns_to_tell_the_fakes_of_a_whole_round(kind):
    judge, fakes = adversary(kind), [FAKE, random_images(2, 3, 16, 16, seed=4) * 0.5, torch.zeros_like(FAKE)]
    losses = [judge.learn(SOURCE, TARGET, fakes, 1.0) for _ in range(40)]
    assert losses[-1] < 0.5 * losses[0] and judge.updates == 40
    with torch.no_grad():
        real = judge.discriminator(SOURCE, TARGET)[0].mean()
        assert all(judge.discriminator(SOURCE, fake)[0].mean() < real for fake in fakes)


def test_its_momentum_forgets_half_of_each_gradient():
    """As pix2pix's does (arXiv 1611.07004, sec. 3.3); its Adam divides by the root of the mean of squares over 100."""
    judge = adversary()
    judge.learn(SOURCE, TARGET, [FAKE], 1.0)
    for parameter, state in judge.optimizer.state.items():
        torch.testing.assert_close(state["exp_avg"], 0.5 * parameter.grad)
        torch.testing.assert_close(state["exp_avg_sq"], 0.01 * parameter.grad**2)


def test_one_update_takes_all_fakes_with_equal_weight():
    """Two fakes together give the gradient that is the mean of theirs."""
    alone = []
    for fakes in ([FAKE], [torch.zeros_like(FAKE)], [FAKE, torch.zeros_like(FAKE)]):
        judge = adversary()
        judge.learn(SOURCE, TARGET, fakes, 0.0)
        alone.append([p.grad.clone() for p in judge.discriminator.parameters()])
    for first, second, both in zip(*alone, strict=True):
        torch.testing.assert_close(both, (first + second) / 2, atol=1e-6, rtol=1e-4)


def test_a_loss_that_is_not_finite_changes_nothing():
    judge = adversary()
    before = [p.clone() for p in judge.discriminator.parameters()]
    assert not torch.tensor(judge.learn(SOURCE, TARGET, [FAKE * torch.nan], 1.0)).isfinite()
    assert judge.updates == 0
    assert all(torch.equal(p, b) for p, b in zip(judge.discriminator.parameters(), before, strict=True))


def test_it_has_collapsed_when_it_wins_outright_for_long_and_not_at_the_start():
    judge = adversary()
    judge.loss = 0.0
    assert not judge.collapsed
    judge.updates = PATIENCE + 1
    assert judge.collapsed
    judge.loss = 0.2
    assert not judge.collapsed


def test_a_restored_one_goes_on_as_if_never_stopped():
    with one_thread():
        whole, stopped, other = adversary(), adversary(), adversary()
        for judge in (whole, stopped):
            for _ in range(3):
                judge.learn(SOURCE, TARGET, [FAKE], 1.0)
        tensors, numbers = stopped.state()
        other.restore({name: t.clone() for name, t in tensors.items()}, numbers)
        losses = [judge.learn(SOURCE, TARGET, [FAKE], 1.0) for judge in (whole, other)]
    assert losses[0] == losses[1] and whole.loss == other.loss and other.updates == 4
    for a, b in zip(whole.discriminator.parameters(), other.discriminator.parameters(), strict=True):
        assert torch.equal(a, b)


def test_it_judges_with_the_weights_that_it_has_learned_or_was_given_back():
    judge = adversary()
    judge.look(SOURCE, TARGET)
    first = judge.judge(SOURCE, FAKE)[0].item()
    kept = {name: tensor.clone() for name, tensor in judge.state()[0].items()}
    for _ in range(3):
        judge.learn(SOURCE, TARGET, [FAKE], 1.0)
    learned = judge.judge(SOURCE, FAKE)[0].item()
    assert learned == pytest.approx(generator_loss("lsgan", TARGET, judge.discriminator(SOURCE, FAKE)[0]).item())
    assert learned != pytest.approx(first, rel=0.01)
    judge.restore(kept, {"updates": 0, "loss": 1.0})
    assert judge.judge(SOURCE, FAKE)[0].item() == pytest.approx(first)
