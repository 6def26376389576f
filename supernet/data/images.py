"""Images as arrays and tensors: reading any mode, resizing, and 8-bit rounding."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from supernet.data.picture_files import EIGHT_BITS, ON_WHITE, opening

Pixels = NDArray[np.uint8]  # (height, width, 3), RGB


def read_rgb(path: Path) -> Pixels:
    """The image as 8-bit RGB, upright: grey is repeated, alpha is laid on white, 16 bits are scaled to 8.

    ValueError, in a few words, if the file is not a readable image.
    """
    return read_with_losses(path)[0]


def read_with_losses(path: Path) -> tuple[Pixels, tuple[str, ...]]:
    """The result of `read_rgb`, and in words the parts of the file that it lacks."""
    with opening(path) as opened:
        image, losses = opened.upright(), opened.losses
        if image.mode.startswith("I"):
            # 16-bit grey: Pillow's own conversion would clip, not scale.
            grey = (np.asarray(image).astype(np.float64) / 257 + 0.5).clip(0, 255).astype(np.uint8)
            image, losses = Image.fromarray(grey), (*losses, EIGHT_BITS)
        if image.has_transparency_data:
            image, losses = image.convert("RGBA"), (*losses, ON_WHITE)
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        return np.asarray(image.convert("RGB")), losses


def to_tensor(pixels: Pixels) -> Tensor:
    """uint8 (..., h, w, 3) -> float (..., 3, h, w) in 0..1."""
    return torch.from_numpy(np.array(pixels)).movedim(-1, -3).float() / 255


def to_pixels(tensor: Tensor) -> Pixels:
    """Float (..., 3, h, w) in 0..1 -> uint8 (..., h, w, 3), clamped and rounded."""
    pixels: Pixels = round_to_8_bits(tensor).movedim(-3, -1).mul(255).round().to(torch.uint8).cpu().numpy()
    return pixels


def round_to_8_bits(tensor: Tensor) -> Tensor:
    """The values, 0..1, that an 8-bit file would hold."""
    return (tensor.clamp(0, 1) * 255).round() / 255


def resize_bicubic(images: Tensor, scale: float) -> Tensor:
    """Antialiased bicubic (a = -0.5), the usual degradation and baseline; (b, c, h, w)."""
    return F.interpolate(images, scale_factor=scale, mode="bicubic", antialias=True)
