import pytest
import torch
from supernet_fixtures import random_images

from evo_c2f.errors import InputError
from supernet.generator import Frame
from supernet.metrics import psnr_y, ssim_y
from supernet.tasks import SuperResolution


@pytest.mark.parametrize(("scale", "level"), [(2, 1), (4, 2), (8, 3)])
def test_the_scale_gives_the_level_of_the_input(scale, level):
    assert SuperResolution(scale).frame == Frame(input_level=level, residual=True)


@pytest.mark.parametrize("scale", [-4, 0, 1, 3, 6, 16])
def test_another_scale_is_refused(scale):
    with pytest.raises(InputError, match=f"task.scale is {scale};.*2, 4 or 8"):
        SuperResolution(scale)


def test_the_loss_is_the_mean_absolute_difference():
    output, target = torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)
    output[0], target[1] = 0.5, 0.25
    assert SuperResolution(4).loss(output, target).item() == pytest.approx(0.375)


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_the_baseline_enlarges_to_the_targets_size_and_keeps_a_constant(scale):
    baseline = SuperResolution(scale).baseline(torch.full((2, 3, 5, 7), 0.3))
    assert baseline.shape == (2, 3, 5 * scale, 7 * scale)
    torch.testing.assert_close(baseline, torch.full_like(baseline, 0.3), atol=1e-6, rtol=0)


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_the_metrics_cut_a_border_of_scale_pixels(scale):
    output, target = random_images(2, 3, 40, 40, seed=1), random_images(2, 3, 40, 40, seed=2)
    metrics = SuperResolution(scale).metrics
    assert metrics.keys() == {"psnr_y", "ssim_y"}
    for name, metric in (("psnr_y", psnr_y), ("ssim_y", ssim_y)):
        assert torch.equal(metrics[name](output, target), metric(output, target, scale))
        assert not torch.equal(metrics[name](output, target), metric(output, target, scale - 1))


def test_each_scale_has_a_protocol_of_its_own():
    assert len({SuperResolution(scale).protocol() for scale in (2, 4, 8)}) == 3
