import pytest
import torch
from supernet_fixtures import random_architectures, random_images, small_space

from evo_c2f.errors import InputError
from supernet.metrics.qualities import for_count, named_by_count
from supernet.metrics.similarity import psnr_rgb, psnr_y, ssim_rgb, ssim_y
from supernet.metrics.tasks import SuperResolution, Translation, task_of
from supernet.models.measure import Score
from supernet.network.generator import Frame, Subnet


@pytest.mark.parametrize(("scale", "level", "step"), [(1, 0, 2), (2, 1, 2), (3, 1, 3), (4, 2, 2), (8, 3, 2)])
def test_the_scale_gives_the_level_of_the_input(scale, level, step):
    frame = SuperResolution(scale).frame
    assert frame == Frame(input_level=level, residual=True, activation="relu", first_step=step)
    assert frame.scale == scale


@pytest.mark.parametrize("scale", [-4, 0, 5, 6, 16])
def test_another_scale_is_refused(scale):
    with pytest.raises(InputError, match=f"task.scale is {scale};.*1, 2, 3, 4 or 8"):
        SuperResolution(scale)


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_the_baseline_enlarges_to_the_targets_size_and_keeps_a_constant(scale):
    baseline = SuperResolution(scale).baseline(torch.full((2, 3, 5, 7), 0.3))
    assert baseline.shape == (2, 3, 5 * scale, 7 * scale)
    torch.testing.assert_close(baseline, torch.full_like(baseline, 0.3), atol=1e-6, rtol=0)


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_the_metrics_cut_a_border_of_scale_pixels(scale):
    output, target = random_images(2, 3, 40, 40, seed=1), random_images(2, 3, 40, 40, seed=2)
    metrics = SuperResolution(scale).metrics
    known = {"psnr_y": psnr_y, "ssim_y": ssim_y, "psnr_rgb": psnr_rgb, "ssim_rgb": ssim_rgb}
    assert metrics.keys() == known.keys()
    for name, metric in known.items():
        assert torch.equal(metrics[name](output, target), metric(output, target, scale))
        assert not torch.equal(metrics[name](output, target), metric(output, target, scale - 1))


def test_a_translation_keeps_the_size_is_normalised_and_has_the_input_for_nothing():
    task, source = Translation(), random_images(2, 3, 9, 7)
    assert task.frame == Frame(input_level=0, residual=False, normalise=True)
    assert Translation(bounded=True).frame.bounded
    assert torch.equal(task.baseline(source), source)
    target = random_images(2, 3, 9, 7, seed=1)
    assert torch.equal(task.metrics["psnr_y"](source, target), psnr_y(source, target, 0))


@pytest.mark.parametrize(
    "task", [SuperResolution(3), SuperResolution(1, 7), Translation(1, 3), Translation(bounded=True)]
)
def test_a_networks_task_is_the_one_that_it_was_made_for(task):
    (architecture,) = random_architectures(small_space(), 1)
    assert task_of(Subnet(architecture, task.frame)).frame == task.frame


def test_at_scale_1_the_input_is_the_baseline_and_nothing_is_cut_off():
    task, (source, target) = SuperResolution(1), random_images(2, 1, 3, 9, 7)
    assert (task.name, task.baseline_name, task.border) == ("restoration", "the input itself", 0)
    assert torch.equal(task.baseline(source), source)
    assert torch.equal(task.metrics["psnr_y"](source, target), psnr_y(source, target, 0))


def test_each_scale_has_a_protocol_of_its_own():
    assert len({Translation().protocol(), *(SuperResolution(scale).protocol() for scale in (1, 2, 3, 4, 8))}) == 6
    assert SuperResolution(4).protocol() == "super-resolution x4, Y of BT.601, 8-bit, border 4"  # of older scores


def test_a_frechet_distance_of_counted_images_is_renamed_for_the_final_front():
    """An objective such as fd_vgg_n4 is of the search's 4 images; its front is scored on all 6 of the others."""
    assert [for_count(name, 6) for name in ("fd_vgg_n4", "fid_n191", "fid", "psnr_y")] == [
        "fd_vgg_n6",
        "fid_n6",
        "fid",
        "psnr_y",
    ]
    batches = [(random_images(3, 3, 32, 32), random_images(3, 3, 32, 32, seed=1))] * 2
    cpu, names = torch.device("cpu"), ["fd_vgg_n4", "psnr_y"]
    with pytest.raises(InputError, match="fd_vgg_n4 is of 4 images, and there are 6"):
        Score(Translation(), batches, names, cpu)
    assert set(Score(Translation(), batches, names, cpu, suffix="_full").baseline()) == {
        "fd_vgg_n4_full",
        "psnr_y_full",
    }


def test_a_frechet_distance_of_too_few_images_is_named_by_their_number() -> None:
    names = ["fd_vgg", "fid", "fd_vgg_n191", "lpips"]
    assert named_by_count(names, 6) == ["fd_vgg_n6", "fid_n6", "fd_vgg_n191", "lpips"]
    assert named_by_count(names, 512) == ["fd_vgg", "fid_n512", "fd_vgg_n191", "lpips"]
    assert named_by_count(names, 2048) == names


@pytest.mark.parametrize("task", [SuperResolution(1, 7), Translation(1, 7)])
def test_images_of_other_channels_have_psnr_and_ssim_on_all_of_them_and_are_not_rounded(task):
    output, target = random_images(2, 2, 7, 20, 20)
    assert [*task.metrics] == ["psnr", "ssim"]
    error = (output.double() - target.double()).square().mean(dim=(1, 2, 3))
    torch.testing.assert_close(task.metrics["psnr"](output, target), -10 * error.log10())
    output[1] *= torch.inf
    assert (
        task.metrics["psnr"](output, target).isnan().tolist() == task.metrics["ssim"](output, target).isnan().tolist()
    )
    assert task.metrics["psnr"](output, target).isnan().tolist() == [False, True]


def test_other_channels_are_another_protocol():
    assert (
        len({SuperResolution(4, n).protocol() for n in (1, 3, 7)} | {Translation(3, n).protocol() for n in (1, 3)}) == 5
    )
    assert Translation().protocol() == Translation(1, 3).protocol() == "translation, 8-bit"  # of older scores
