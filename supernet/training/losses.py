"""Losses of generators and discriminators. All are means; lower is better."""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Adversarial = Literal["lsgan", "hinge", "relativistic"]

# The discriminator's loss when it can't tell anything.
IGNORANCE: dict[Adversarial, float] = {"lsgan": 0.25, "hinge": 2.0, "relativistic": 1.3863}


def discriminator_loss(kind: Adversarial, real: Tensor, fake: Tensor) -> Tensor:
    """real, fake: scores of any shape.

    lsgan: arXiv 1611.04076, eq. 9; hinge: arXiv 1802.05957, eq. 16; relativistic: the average one of
    arXiv 1807.00734, as ESRGAN uses it.
    """
    if kind == "lsgan":
        return 0.5 * ((real - 1).square().mean() + fake.square().mean())
    if kind == "hinge":
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean()
    return F.softplus(fake.mean() - real).mean() + F.softplus(fake - real.mean()).mean()


def generator_loss(kind: Adversarial, real: Tensor, fake: Tensor) -> Tensor:
    """See `discriminator_loss`; only the relativistic loss uses real."""
    if kind == "lsgan":
        return (fake - 1).square().mean()
    if kind == "hinge":
        return -fake.mean()
    return F.softplus(real.mean() - fake).mean() + F.softplus(real - fake.mean()).mean()


def mean_sizes(features: Sequence[Tensor]) -> Tensor:
    """Mean absolute value of each layer's features, (layers,)."""
    return torch.stack([f.float().abs().mean() for f in features])


def feature_distance(found: Sequence[Tensor], wanted: Sequence[Tensor], sizes: Tensor | None = None) -> Tensor:
    """Mean over the layers of the L1 distance, relative to `sizes`; None: the mean_sizes of the target features.

    Used for feature matching (pix2pixHD, arXiv 1711.11585, eq. 4) and the perceptual loss (arXiv 1603.08155).
    """
    sizes = mean_sizes(wanted) if sizes is None else sizes
    distances = torch.stack([F.l1_loss(f.float(), w.float()) for f, w in zip(found, wanted, strict=True)])
    return (distances / sizes.clamp(min=1e-6)).mean()


def spectrum_distance(output: Tensor, target: Tensor) -> Tensor:
    """Mean L1 distance of the real and imaginary parts of the spectra; (b, c, h, w).

    SAFMN (arXiv 2302.13800, eq. 9) adds it to L1 with weight 0.05: edges and textures get sharper.
    """
    difference = torch.fft.rfft2(output) - torch.fft.rfft2(target)
    return torch.view_as_real(difference).abs().mean()
