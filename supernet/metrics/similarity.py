"""PSNR and SSIM by the usual super-resolution protocol."""

import torch
from torch import Tensor

from supernet.data.images import round_to_8_bits
from supernet.metrics.vision import make_torchvision_importable

SSIM_WINDOW = 11  # pixels; only where it lies within the image
# In dB, of equal images, so that a mean over images stays a number: an error of one level in one of 150,000 numbers.
PSNR_CEILING = 100.0


def luma(rgb: Tensor) -> Tensor:
    """The Y channel of BT.601, in 16..235; rgb (b, 3, h, w) in 0..1 -> (b, 1, h, w)."""
    weights = torch.tensor([65.481, 128.553, 24.966], device=rgb.device, dtype=rgb.dtype)
    return 16 + (rgb * weights[:, None, None]).sum(dim=1, keepdim=True)


def y_pair(output: Tensor, target: Tensor, border: int) -> tuple[Tensor, Tensor]:
    """Both images on the Y channel, the output rounded to 8 bits, `border` pixels cut on each side.

    An infinite output becomes NaN, and so does its metric: clamping would hide it.
    """
    output = torch.where(output.isfinite(), output, torch.nan)
    inside = (..., slice(border, target.shape[-2] - border), slice(border, target.shape[-1] - border))
    return luma(round_to_8_bits(output))[inside], luma(target)[inside]


def rgb_pair(output: Tensor, target: Tensor, border: int) -> tuple[Tensor, Tensor]:
    """Like `y_pair`, on the three colours, in 0..255."""
    output = torch.where(output.isfinite(), output, torch.nan)
    inside = (..., slice(border, target.shape[-2] - border), slice(border, target.shape[-1] - border))
    return 255 * round_to_8_bits(output)[inside], 255 * target[inside]


def all_pair(output: Tensor, target: Tensor, border: int) -> tuple[Tensor, Tensor]:
    """Like `rgb_pair`, on all channels, and not rounded, since the target may have more than 8 bits."""
    output = torch.where(output.isfinite(), output, torch.nan)
    inside = (..., slice(border, target.shape[-2] - border), slice(border, target.shape[-1] - border))
    return 255 * output.clamp(0, 1)[inside], 255 * target[inside]


def psnr_y(output: Tensor, target: Tensor, border: int) -> Tensor:
    """Peak signal-to-noise ratio in dB of each image, higher is better; (b, 3, h, w) -> (b,)."""
    return psnr(*y_pair(output, target, border))


def psnr_rgb(output: Tensor, target: Tensor, border: int) -> Tensor:
    """Like `psnr_y`, over all three colours at once."""
    return psnr(*rgb_pair(output, target, border))


def ssim_y(output: Tensor, target: Tensor, border: int) -> Tensor:
    """Structural similarity of each image, higher is better: 11x11 Gaussian of 1.5, valid region; -> (b,)."""
    return ssim(*y_pair(output, target, border)).to(output.dtype)


def ssim_rgb(output: Tensor, target: Tensor, border: int) -> Tensor:
    """Like `ssim_y`, the mean over the three colours."""
    return ssim(*rgb_pair(output, target, border)).to(output.dtype)


def psnr_all(output: Tensor, target: Tensor, border: int) -> Tensor:
    """Like `psnr_y`, over all channels at once, and not rounded."""
    return psnr(*all_pair(output, target, border))


def ssim_all(output: Tensor, target: Tensor, border: int) -> Tensor:
    """Like `ssim_y`, the mean over all channels, and not rounded."""
    return ssim(*all_pair(output, target, border)).to(output.dtype)


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """PSNR of values in 0..255, capped at PSNR_CEILING, the value of equal images; (b, c, h, w) -> (b,)."""
    error = (a.double() - b.double()).square().mean(dim=(1, 2, 3))
    return (10 * torch.log10(255**2 / error)).clamp(max=PSNR_CEILING)


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """SSIM of values in 0..255; (b, c, h, w) -> (b,)."""
    make_torchvision_importable()
    # Imported here: torchmetrics takes seconds to load, and a search on PSNR alone never needs it.
    from torchmetrics.functional.image import structural_similarity_index_measure

    # In doubles: a variance is the small difference of two large squares.
    _, each = structural_similarity_index_measure(
        a.double(),
        b.double(),
        sigma=1.5,
        kernel_size=SSIM_WINDOW,
        data_range=255.0,
        reduction="none",
        return_full_image=True,
    )
    edge = SSIM_WINDOW // 2
    return each[..., edge:-edge, edge:-edge].mean(dim=(1, 2, 3))
