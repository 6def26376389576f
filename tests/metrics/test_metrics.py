import math
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from supernet_fixtures import random_images, random_pixels

from supernet.data.benchmarks import read_benchmark
from supernet.data.images import resize_bicubic, round_to_8_bits, to_tensor
from supernet.metrics.similarity import PSNR_CEILING, luma, psnr, psnr_rgb, psnr_y, ssim_rgb, ssim_y

BENCHMARKS = Path(__file__).parents[3] / "shared/data/sr/benchmark"


def grey(level: float, side: int = 16) -> torch.Tensor:
    """A constant image; level in 0..255."""
    return torch.full((1, 3, side, side), level / 255)


def noisy_pair(seed: int = 0, noise: int = 20, size: tuple[int, int] = (40, 52)) -> tuple[torch.Tensor, torch.Tensor]:
    """(output, target): a photograph with 8-bit noise, and without."""
    target = random_pixels(*size, seed)
    rng = np.random.default_rng(seed)
    output = (target + rng.integers(-noise, noise + 1, size=target.shape)).clip(0, 255).astype(np.uint8)
    return to_tensor(output)[None], to_tensor(target)[None]


# -- luma ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rgb", "y"),
    [
        ((0, 0, 0), 16),
        ((1, 1, 1), 235),
        ((1, 0, 0), 16 + 65.481),
        ((0, 1, 0), 16 + 128.553),
        ((0, 0, 1), 16 + 24.966),
        ((0.5, 0.5, 0.5), 125.5),
    ],
)
def test_the_luma_is_that_of_bt_601(rgb, y):
    image = torch.tensor(rgb, dtype=torch.float32)[None, :, None, None].expand(2, 3, 4, 5)
    torch.testing.assert_close(luma(image), torch.full((2, 1, 4, 5), float(y)))


# -- PSNR ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("output", "target"), [(0, 255), (100, 110), (110, 100), (100, 101), (7, 0)])
def test_a_constant_offset_has_the_psnr_of_its_closed_form(output, target):
    offset = abs(output - target) * 219 / 255  # of the luma
    expected = 20 * math.log10(255 / offset)
    assert psnr_y(grey(output), grey(target), 0).item() == pytest.approx(expected, abs=1e-4)


def test_the_psnr_is_that_of_skimage_on_the_luma():
    output, target = noisy_pair()
    a, b = (luma(t)[0, 0, 4:-4, 4:-4].double().numpy() for t in (output, target))
    expected = peak_signal_noise_ratio(b, a, data_range=255)
    assert 25 < expected < 35
    assert psnr_y(output, target, 4).item() == pytest.approx(expected, abs=1e-4)


def test_equal_images_have_the_stated_ceiling_of_psnr_and_none_has_more():
    assert psnr_y(grey(100), grey(100), 0).tolist() == [PSNR_CEILING] == psnr_rgb(grey(100), grey(100), 0).tolist()
    almost = torch.zeros(1, 3, 1000, 1000)
    almost[0, 2, 0, 0] = 1  # of 255
    assert psnr(almost, torch.zeros_like(almost)).tolist() == [PSNR_CEILING]
    assert 90 < float(psnr(almost[..., :200, :200], torch.zeros(1, 3, 200, 200))) < PSNR_CEILING


@pytest.mark.parametrize("metric", [psnr_y, ssim_y, psnr_rgb, ssim_rgb])
def test_each_image_of_a_batch_is_judged_alone(metric):
    pairs = [noisy_pair(seed, noise) for seed, noise in ((0, 5), (1, 20), (2, 60))]
    together = metric(*(torch.cat(side) for side in zip(*pairs, strict=True)), 2)
    assert together.shape == (3,)
    torch.testing.assert_close(together, torch.cat([metric(*pair, 2) for pair in pairs]))
    assert together[0] > together[1] > together[2]


@pytest.mark.parametrize("metric", [psnr_y, ssim_y, psnr_rgb, ssim_rgb])
@pytest.mark.parametrize("border", [1, 4])
def test_the_border_is_not_judged_and_the_next_pixel_is(metric, border):
    output, target = noisy_pair()
    outside = torch.ones_like(output, dtype=torch.bool)
    outside[..., border:-border, border:-border] = False
    spoilt = torch.where(outside, 1 - output, output)
    assert torch.equal(metric(spoilt, target, border), metric(output, target, border))
    assert metric(spoilt, target, border) != metric(spoilt, target, border - 1)


@pytest.mark.parametrize("metric", [psnr_y, ssim_y, psnr_rgb, ssim_rgb])
def test_the_output_is_judged_as_the_8_bit_file_it_would_be(metric):
    output, target = noisy_pair()
    wild = output * 1.5 - 0.25 + 0.3 / 255 * random_images(*output.shape)  # beyond 0..1 and between the levels
    assert wild.min() < 0 < 1 < wild.max()
    assert torch.equal(metric(wild, target, 4), metric(round_to_8_bits(wild), target, 4))
    within = output + 0.4 / 255 * (random_images(*output.shape) * 2 - 1)
    assert torch.equal(metric(within, target, 4), metric(output, target, 4))


@pytest.mark.parametrize("metric", [psnr_y, ssim_y, psnr_rgb, ssim_rgb])
@pytest.mark.parametrize("n", [1, 100])
def test_nan_in_the_output_is_nan_in_the_metric(metric, n):
    output, target = noisy_pair()
    output[..., 20, 10 : 10 + n] = math.nan
    assert metric(output, target, 4).isnan().all()


# -- SSIM ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seed", "noise", "border"), [(0, 5, 0), (1, 20, 4), (2, 60, 4), (3, 20, 3)])
def test_the_ssim_is_that_of_skimage_on_the_valid_region(seed, noise, border):
    output, target = noisy_pair(seed, noise)
    inside = (0, 0, slice(border, 40 - border), slice(border, 52 - border))
    a, b = (luma(t)[inside].double().numpy() for t in (output, target))
    expected = structural_similarity(
        a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
    )
    assert 0.1 < expected < 0.999
    assert ssim_y(output, target, border).item() == pytest.approx(expected, abs=1e-4)


def test_equal_images_have_an_ssim_of_one():
    output, _ = noisy_pair()
    torch.testing.assert_close(ssim_y(output, output, 4), torch.ones(1))


@pytest.mark.parametrize(("output", "target"), [(0, 255), (100, 110), (200, 20)])
def test_the_ssim_of_constant_images_is_its_closed_form(output, target):
    a, b = (16 + level * 219 / 255 for level in (output, target))
    constant = (0.01 * 255) ** 2
    expected = (2 * a * b + constant) / (a * a + b * b + constant)
    assert ssim_y(grey(output), grey(target), 0).item() == pytest.approx(expected, abs=1e-4)


# -- benchmarks ---------------------------------------------------------------------------------------------


BICUBIC = [("Set5", 5, (28.40, 28.46), (0.807, 0.813)), ("Set14", 14, (26.0, 26.1), (0.69, 0.72))]


@pytest.mark.parametrize(("name", "n", "psnr", "ssim"), BICUBIC)
def test_bicubic_has_the_figures_of_the_literature(name, n, psnr, ssim):
    if not (BENCHMARKS / name).is_dir():
        pytest.skip(f"{BENCHMARKS / name} is not there")
    pairs = [(resize_bicubic(low, 4), high) for low, high in read_benchmark(BENCHMARKS / name, 4)[1]]
    assert len(pairs) == n
    for metric, (lowest, highest) in ((psnr_y, psnr), (ssim_y, ssim)):
        mean = sum(metric(output, high, 4).item() for output, high in pairs) / n
        assert lowest <= mean <= highest


def test_the_metrics_on_rgb_are_those_of_skimage_on_the_colours():
    output, target = noisy_pair(3)
    a, b = ((255 * t[0]).round().byte().movedim(0, -1).numpy() for t in (output, target))
    assert psnr_rgb(output, target, 0).item() == pytest.approx(peak_signal_noise_ratio(b, a), abs=1e-6)
    _, each = structural_similarity(b, a, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
                                    data_range=255, full=True, channel_axis=2)  # fmt: skip
    assert ssim_rgb(output, target, 0).item() == pytest.approx(each[5:-5, 5:-5].mean(), abs=1e-6)
