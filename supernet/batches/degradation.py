"""Photographs degraded to inputs: blurred, resized, made noisy and compressed (BSRGAN, arXiv 2103.14006)."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from evo_c2f.errors import InputError
from supernet.pictures.decoding import WHITE

if TYPE_CHECKING:
    from evo_c2f.sections.data import BlurSection, DegradationSection, JpegSection, NoiseSection, ResizeSection
    from supernet.data.images import Pixels

# (a photograph (h, w, c), the scale, the generator of all draws) -> its input (h / scale, w / scale, c).
Degradation = Callable[["Pixels", int, np.random.Generator], "Pixels"]
Floats = NDArray[np.float32]  # (h, w, c) in 0..255, perhaps beyond

OTHERS: dict[str, Degradation] = {}  # that plugins add
FILTERS = {"area": Image.Resampling.BOX, "bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
STEPS = ("blur", "resize", "noise", "jpeg")


def degradation_of(settings: DegradationSection) -> Degradation:
    """The degradation of these settings. InputError if they name a plugin's that is not there."""
    if settings.plugin is None:
        return Steps(settings)
    if settings.plugin not in OTHERS:
        raise InputError(f"degradation {settings.plugin!r} is unknown; name the --plugin that adds it")
    return Plugged(settings.plugin, OTHERS[settings.plugin])


@dataclass(frozen=True)
class Plugged:
    """A plugin's degradation. InputError if it gives no input of the right size."""

    name: str
    made: Degradation

    def __call__(self, photograph: Pixels, scale: int, rng: np.random.Generator) -> Pixels:
        height, width, n = photograph.shape
        found = self.made(photograph.copy(), scale, rng)  # it may write there, and the photograph is kept
        if found.shape != (height // scale, width // scale, n) or found.dtype != photograph.dtype:
            given = f"{found.dtype} {found.shape} of {photograph.shape} at scale {scale}"
            wanted = f"{photograph.dtype} (h / scale, w / scale, {n})"
            raise InputError(f"degradation {self.name!r} gave {given}; it must give {wanted}")
        return found


@dataclass(frozen=True)
class Steps:
    """The steps of a recipe. In the last pass the photograph is resized to the input's size, whatever the order."""

    settings: DegradationSection

    def __call__(self, photograph: Pixels, scale: int, rng: np.random.Generator) -> Pixels:
        how, (height, width) = self.settings, photograph.shape[:2]
        steps: dict[str, Callable[[Floats, Any, np.random.Generator], Floats]]
        image, steps = in_255(photograph), {"blur": blurred, "noise": noisy, "jpeg": compressed}
        for left in reversed(range(how.times)):
            size = None if left else (height // scale, width // scale)
            for name in rng.permutation(STEPS) if how.order == "random" else STEPS:
                step = getattr(how, name)
                if name == "resize":
                    image = resized(image, step, rng, size)
                elif step and rng.random() < step.chance:
                    image = steps[name](image, step, rng)
        return eight_bits(image) if photograph.dtype == np.uint8 else from_255(image, photograph.dtype)


def in_255(photograph: Pixels) -> Floats:
    """The photograph as floats in 0..255, whatever its numbers are."""
    white = WHITE[photograph.dtype]
    floats: Floats = photograph.astype(np.float32)
    return floats if white == 255 else floats * np.float32(255 / white)


def from_255(image: Floats, dtype: Any) -> Pixels:
    """The reverse for 16 bits and floats: clipped, and the former rounded."""
    share = (image / 255).clip(0, 1)
    return share if dtype == np.float32 else (share * WHITE[np.dtype(dtype)]).round().astype(dtype)


def eight_bits(image: Floats) -> Pixels:
    return image.round().clip(0, 255).astype(np.uint8)


def drawn(ends: tuple[float, float], rng: np.random.Generator) -> float:
    """A number of the range."""
    least, most = ends
    return rng.uniform(least, most)


def blurred(image: Floats, how: BlurSection, rng: np.random.Generator) -> Floats:
    """Convolved with a Gaussian; at its sides the image is mirrored."""
    from scipy.signal import fftconvolve  # slow to import

    along = across = drawn(how.sigma, rng)
    if rng.choice(how.kinds) == "anisotropic":
        across = drawn(how.sigma, rng)
    kernel = gaussian(along, across, rng.uniform(0, math.pi))
    radius = len(kernel) // 2
    mirrored = np.pad(image, ((radius, radius), (radius, radius), (0, 0)), mode="symmetric")
    found: Floats = fftconvolve(mirrored, kernel[..., None], mode="valid", axes=(0, 1))
    return found


def gaussian(along: float, across: float, angle: float) -> Floats:
    """A kernel with these deviations along a direction and across it; its sum is 1."""
    radius = math.ceil(3 * max(along, across))
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    u, v = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    kernel = np.exp(-((u / along) ** 2 + (v / across) ** 2) / 2)
    found: Floats = (kernel / kernel.sum()).astype(np.float32)
    return found


def resized(image: Floats, how: ResizeSection | None, rng: np.random.Generator, size: tuple[int, int] | None) -> Floats:
    """Resized to (height, width); None: by a factor that is drawn."""
    if size is None:
        factor = drawn(how.factor, rng) if how else 1.0
        height, width = (max(1, round(factor * side)) for side in image.shape[:2])
        size = height, width
    by = FILTERS[rng.choice(how.filters) if how else "bicubic"]
    if size == image.shape[:2]:
        return image
    channels = [Image.fromarray(channel).resize(size[::-1], by) for channel in np.moveaxis(image, 2, 0)]
    return np.stack([np.asarray(channel) for channel in channels], axis=2)


def noisy(image: Floats, how: NoiseSection, rng: np.random.Generator) -> Floats:
    """With noise of a deviation that is drawn: equal everywhere, or as photons are counted."""
    sigma = drawn(how.sigma, rng)
    if rng.choice(how.kinds) == "gaussian":
        return image + rng.normal(0, sigma, image.shape).astype(np.float32)
    photons = 255 / sigma**2  # of one level of brightness: n photons have a deviation of sqrt(n)
    counted: Floats = (rng.poisson(image.clip(0, 255) * photons) / photons).astype(np.float32)
    return counted


def compressed(image: Floats, how: JpegSection, rng: np.random.Generator) -> Floats:
    """As JPEG of a quality that is drawn gives it back."""
    file = io.BytesIO()
    quality = int(rng.integers(how.quality[0], how.quality[1] + 1))
    pixels = eight_bits(image)
    Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0]).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file), dtype=np.float32).reshape(image.shape)
