"""Spoilt inputs: what each step does, and what the draws depend on."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from supernet_fixtures import photographs, random_pixels, write_images

from evo_c2f.errors import InputError
from evo_c2f.sections.data import DataSection, DegradationSection
from supernet.batches.ahead import CPU, Ahead
from supernet.batches.degradation import OTHERS, Degradation, degradation_of, gaussian
from supernet.batches.kept import Kept
from supernet.batches.patches import DegradedPatches, square
from supernet.data.images import LowAndHigh, Pixels, low_and_high
from supernet.data.photograph_data import PhotographData
from supernet.ranks import ALONE, Ranks

EVERYTHING = {
    "blur": {"sigma": [0.5, 2], "kinds": ["isotropic", "anisotropic"], "chance": 0.8},
    "resize": {"filters": ["area", "bilinear", "bicubic"], "factor": [0.5, 1.5]},
    "noise": {"sigma": [1, 20], "kinds": ["gaussian", "poisson"], "chance": 0.8},
    "jpeg": {"quality": [30, 95], "chance": 0.8},
    "times": 2,
    "order": "random",
}
JPEG_ALONE = {"jpeg": {"quality": [30, 30]}}


def of(settings: dict[str, Any]) -> Degradation:
    return degradation_of(DegradationSection.model_validate(settings))


def degraded(pixels: Pixels, settings: dict[str, Any], scale: int = 1, seed: int = 0) -> Pixels:
    return of(settings)(pixels, scale, np.random.default_rng(seed))


def grey(level: int) -> Pixels:
    return np.full((200, 200, 3), level, np.uint8)


# -- the steps --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "level", "deviation"),
    [("gaussian", 60, 10), ("gaussian", 120, 10), ("poisson", 60, 4.85), ("poisson", 120, 6.86)],
)
def test_noise_has_its_deviation_and_poisson_noise_less_in_the_dark(kind, level, deviation):
    found = degraded(grey(level), {"noise": {"sigma": [10, 10], "kinds": [kind]}}).astype(float)
    assert found.mean() == pytest.approx(level, abs=0.1) and found.std() == pytest.approx(deviation, rel=0.02)


@pytest.mark.parametrize(("dtype", "white"), [(np.uint16, 65535), (np.float32, 1)])
@pytest.mark.parametrize("channels", [1, 7])
def test_other_numbers_are_degraded_as_bytes_are(dtype, white, channels):
    pixels = np.tile(random_pixels(24, 32), 3)[..., :channels]
    every = {key: step for key, step in EVERYTHING.items() if key != "jpeg" or channels == 1}
    expected = degraded(pixels, every, 2)
    found = degraded((pixels / 255 * white).round(6).astype(dtype), every, 2)
    assert found.dtype == dtype and found.shape == expected.shape == (12, 16, channels)
    assert abs(found / white - expected / 255).max() <= 0.51 / 255 and found.min() >= 0 and found.max() <= white


def test_the_kernel_of_a_blur_has_its_deviations_along_its_direction_and_across():
    for angle in (0.0, 0.7):
        kernel = gaussian(3.0, 1.0, angle).astype(float)
        y, x = np.mgrid[-9:10, -9:10]
        moments = np.array([[(kernel * a * b).sum() for a in (x, y)] for b in (x, y)])
        assert kernel.sum() == pytest.approx(1)
        along = np.array([np.cos(angle), np.sin(angle)])
        assert along @ moments @ along == pytest.approx(9, rel=0.05)
        assert np.trace(moments) == pytest.approx(9 + 1, rel=0.05)


def test_a_blur_spreads_a_point_and_leaves_what_is_even():
    point = np.zeros((31, 31, 3), np.uint8)
    point[15, 15] = 255
    found = degraded(point, {"blur": {"sigma": [1, 1]}}).astype(float)
    assert found[15, 15, 0] == pytest.approx(255 / (2 * np.pi), abs=1)
    assert found[15, 17, 0] == found[17, 15, 0] == pytest.approx(255 / (2 * np.pi) * np.exp(-2), abs=1)
    assert np.array_equal(degraded(grey(77), {"blur": {"sigma": [3, 3]}}), grey(77))


def test_without_a_filter_the_input_is_the_usual_reduction():
    pixels = random_pixels(48, 60)
    for scale in (2, 3, 4):
        found, usual = degraded(pixels, {}, scale).astype(int), low_and_high(pixels, scale)[0].astype(int)
        assert found.shape == usual.shape and abs(found - usual).max() <= 1
    assert not np.array_equal(degraded(pixels, {"resize": {"filters": ["area"]}}, 2), degraded(pixels, {}, 2))


def test_jpeg_is_of_the_quality_and_a_step_without_a_chance_does_nothing():
    pixels = random_pixels(40, 56)
    errors = [abs(degraded(pixels, {"jpeg": {"quality": [q, q]}}).astype(int) - pixels).mean() for q in (95, 50, 10)]
    assert 0 < errors[0] < errors[1] < errors[2]
    without = {"jpeg": {"quality": [5, 5], "chance": 0}, "blur": {"sigma": [3, 3], "chance": 0}}
    assert np.array_equal(degraded(pixels, without), pixels)


@pytest.mark.parametrize("scale", [1, 3, 4])
def test_all_steps_twice_in_any_order_give_the_input_s_size_and_depend_on_the_generator_alone(scale):
    pixels = random_pixels(48, 36)
    found = [degraded(pixels, EVERYTHING, scale, seed).tobytes() for seed in (*range(8), *range(8))]
    assert found[:8] == found[8:] and len(set(found)) == 8
    assert degraded(pixels, EVERYTHING, scale).shape == (48 // scale, 36 // scale, 3)


def test_the_degradation_of_a_plugin_that_is_not_there_is_named():
    with pytest.raises(InputError, match="degradation 'rain' is unknown; name the --plugin that adds it"):
        of({"plugin": "rain"})


def test_a_plugin_that_gives_no_input_is_named(monkeypatch):
    monkeypatch.setitem(OTHERS, "rain", lambda photograph, scale, rng: photograph[::2] / 255)
    with pytest.raises(InputError, match=r"'rain' gave float64 \(10, 20, 3\) of \(20, 20, 3\) at scale 1"):
        degraded(random_pixels(20, 20), {"plugin": "rain"})


def test_a_plugin_may_write_into_the_photograph_that_it_is_given(monkeypatch):
    def blacken(photograph, scale, rng):
        photograph[:] = 0
        return photograph[::scale, ::scale]

    monkeypatch.setitem(OTHERS, "blacken", blacken)
    photograph = random_pixels(20, 20)
    assert degraded(photograph, {"plugin": "blacken"}).max() == 0
    assert np.array_equal(photograph, random_pixels(20, 20))


# -- patches ----------------------------------------------------------------------------------------------


def patches_of(
    folder: Path, settings: dict[str, Any], scale: int = 4, seed: int = 0, ranks: Ranks = ALONE
) -> DegradedPatches:
    """Batches of four 8x8 patches."""
    pairs = LowAndHigh(photographs(folder, side=40 * scale), scale, Kept(0))
    return DegradedPatches(pairs, of(settings), 8, 4, [seed], ranks)


@pytest.mark.parametrize(("scale", "settings", "levels"), [(1, JPEG_ALONE, 0), (4, {"blur": {"sigma": [1, 1]}}, 1)])
def test_a_patch_is_that_of_the_whole_photograph_degraded_at_once(tmp_path, scale, settings, levels):
    """Also what JPEG makes of it, whose blocks lie on a grid."""
    patches = patches_of(tmp_path, settings, scale)
    whole = [of(settings)(p.pixels, scale, np.random.default_rng(0)).astype(int) for p in patches.photographs]
    for index in range(3):
        for position, cut in enumerate(patches.cuts(index)):
            source, target = patches.pair(cut, index, position)
            assert abs(source - whole[cut.pair][square(cut, 8)]).max() <= levels
            assert np.array_equal(target, patches.photographs[cut.pair].pixels[square(cut, 8, scale)])


def test_a_batch_depends_on_the_seed_its_index_and_the_place_in_it_alone(tmp_path):
    patches, other = patches_of(tmp_path, EVERYTHING), patches_of(tmp_path, EVERYTHING, seed=1)
    batches = [patches[index] for index in range(4)]
    ahead = Ahead(patches_of(tmp_path, EVERYTHING), CPU)
    for index in (2, 3, 0):
        assert all(torch.equal(a, b) for a, b in zip(ahead[index], batches[index], strict=True))
        assert not torch.equal(other[index][0], batches[index][0])
    ahead.close()
    parts = [patches_of(tmp_path, EVERYTHING, ranks=Ranks(rank, 2))[3] for rank in range(2)]
    assert all(
        torch.equal(torch.cat(both), one) for both, one in zip(zip(*parts, strict=True), batches[3], strict=True)
    )
    cut = patches.cuts(0)[0]
    assert not np.array_equal(patches.pair(cut, 0, 0)[0], patches.pair(cut, 0, 1)[0])


# -- the images of a job ----------------------------------------------------------------------------------


def data_of(folder: Path, seed: int = 0, **degradation: Any) -> PhotographData:
    settings = {
        "folder": str(folder),
        "patch": 4,
        "batch": 2,
        "validation_images": 3,
        "validation_crops": 2,
        "crop": 32,
    }
    return PhotographData(DataSection.model_validate({**settings, "degradation": degradation}), 1, seed, print)


def test_held_out_images_are_always_degraded_alike_and_each_in_its_own_way(tmp_path):
    write_images(tmp_path, {f"{seed}.png": random_pixels(64, 64, seed) for seed in range(5)})
    first, other = (data_of(tmp_path, seed, **EVERYTHING) for seed in (0, 1))
    known = {high.numpy().tobytes(): low for low, high in first.full()}
    both = [(low, known[high.numpy().tobytes()]) for low, high in other.full() if high.numpy().tobytes() in known]
    assert both and all(torch.equal(low, before) for low, before in both)
    assert all(torch.equal(a, b) for a, b in zip(first.crops, data_of(tmp_path, **EVERYTHING).crops, strict=True))
    noise = [low - high for low, high in data_of(tmp_path, noise={"sigma": [9, 9]}).full()]
    assert noise[0].std() > 0.01 and not torch.equal(noise[0], noise[1])


def test_scores_of_other_degradations_are_never_mixed(tmp_path):
    write_images(tmp_path, {f"{seed}.png": random_pixels(64, 64, seed) for seed in range(5)})
    used = [{"noise": {"sigma": [9, 9]}}, {"noise": {"sigma": [9, 10]}}, JPEG_ALONE]
    assert len({data_of(tmp_path, **settings).fingerprint for settings in used}) == 3


def test_a_teacher_is_refused_and_a_gpu_s_user_told(tmp_path):
    write_images(tmp_path, {f"{seed}.png": random_pixels(64, 64, seed) for seed in range(5)})
    data, said = data_of(tmp_path, **JPEG_ALONE), list[str]()
    with pytest.raises(InputError, match="a teacher's outputs are kept, but data.degradation makes ever new inputs"):
        data.samples(1)
    data.warn = said.append
    data.training((0,), device=torch.device("meta")).close()
    assert said == ["data.degradation runs on the CPU, ahead of the rounds; the GPU may wait for it"]
