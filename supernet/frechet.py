"""Frechet distances between real and generated images: FID (arXiv 1706.08500), and `fd_vgg` without Inception.

The arithmetic is torchmetrics'; here are the features, their protocols, and the statistics of the real
images, computed once and cached.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from evo_c2f.errors import DamagedFileError, InputError
from supernet import checkpoint
from supernet.images import round_to_8_bits
from supernet.perceptual import VggFeatures
from supernet.vision import make_torchvision_importable

INCEPTION = "weights-inception-2015-12-05-6726825d.pth"
INCEPTION_SHA256 = "6726825d0af5f729"  # how it begins
REAL_STATISTICS = ("real_features_sum", "real_features_cov_sum", "real_features_num_samples")


@dataclass(frozen=True)
class Protocol:
    """A feature space: how many numbers an image, and what they are."""

    dimensions: int
    description: str


PROTOCOLS = {
    "fid": Protocol(2048, "InceptionV3 pool3 of torch-fidelity, weights 2015-12-05, resize of TensorFlow 1, 8-bit"),
    "fd_vgg": Protocol(512, "VGG16 relu5_3 of LPIPS' weights, spatial mean, 8-bit"),
}


class VggMeans(nn.Module):
    """(b, 3, h, w) in 0..1 -> (b, 512), the spatial means of relu5_3."""

    num_features = 512

    def __init__(self) -> None:
        super().__init__()
        self.features = VggFeatures(["relu5_3"])

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.features(images)[0]
        return features.mean(dim=(2, 3))


def refuse_few(name: str, n_images: int) -> None:
    """InputError if so few images give no Frechet distance of that name.

    Fewer images than dimensions leave the covariance singular and the distance biased; asked for
    all the same, the figure is named by their number, such as fid_n200.
    """
    kind, _, count = name.partition("_n")
    if count and int(count) != n_images:
        raise InputError(f"{name} is of {count} images, and there are {n_images}; name it {kind}_n{n_images}")
    if not count and n_images < PROTOCOLS[kind].dimensions:
        raise InputError(
            f"{kind} needs at least {PROTOCOLS[kind].dimensions} images, one for each of its dimensions, and there are "
            f"{n_images}; name it {kind}_n{n_images} to have it all the same"
        )


def inception_file() -> Path:
    """The standard Inception weights in torch-hub's cache. InputError, naming the file, if absent or another."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / INCEPTION
    if not path.is_file():
        raise InputError(
            f"{path}, which FID needs, is absent; fetch {INCEPTION} of toshas/torch-fidelity's releases, or use fd_vgg"
        )
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not digest.startswith(INCEPTION_SHA256):
        raise InputError(f"{path} has sha256 {digest[:16]}, not {INCEPTION_SHA256}; fetch it again")
    return path


def inception(path: Path) -> nn.Module:
    """(b, 3, h, w) uint8 -> (b, 2048), from a state dict of torch-fidelity's InceptionV3."""
    make_torchvision_importable()
    from torchmetrics.image.fid import NoTrainInceptionV3

    with TemporaryDirectory() as folder:
        # torch-fidelity unpickles without restriction: it is handed what was read with it.
        copy = Path(folder) / path.name
        torch.save(torch.load(path, weights_only=True), copy)
        # Without antialiasing: the resize of the original, which all published figures are of.
        network: nn.Module = NoTrainInceptionV3("inception-v3-compat", ["2048"], str(copy), antialias=False)
    network.num_features = 2048  # type: ignore[assignment]
    return network


class Frechet:
    """The distance of generated images to fixed real ones, lower is better. `add` the batches, then take `value`."""

    def __init__(self, name: str, targets: Sequence[Tensor], device: torch.device, features: nn.Module | None = None):
        """targets: batches (b, 3, h, w) in 0..1; features: None for the protocol's own, whose statistics are cached.

        InputError if there are too few images, or if the weights are absent.
        """
        kind = name.partition("_n")[0]
        refuse_few(name, sum(map(len, targets)))
        own = features is None
        if features is None:
            features = VggMeans() if kind == "fd_vgg" else inception(inception_file())
        make_torchvision_importable()
        from torchmetrics.image.fid import FrechetInceptionDistance

        self.whole_numbers = kind == "fid"
        self.metric: Any = FrechetInceptionDistance(feature=features, reset_real_features=False).to(device)
        self.finite = True
        cache = statistics_file(name, targets) if own else None
        tensors = read_statistics(cache) if cache else None
        if tensors:
            for statistic in REAL_STATISTICS:
                setattr(self.metric, statistic, tensors[statistic].to(device))
            return
        for target in targets:
            self._update(target.to(device), real=True)
        if cache:
            tensors = {statistic: getattr(self.metric, statistic) for statistic in REAL_STATISTICS}
            checkpoint.save(cache, tensors, {"protocol": PROTOCOLS[kind].description})

    @torch.no_grad()
    def _update(self, images: Tensor, real: bool) -> None:
        rounded = round_to_8_bits(images)
        self.metric.update((rounded * 255).round().to(torch.uint8) if self.whole_numbers else rounded, real=real)

    def add(self, output: Tensor, target: Tensor) -> None:
        """Take a batch of generated images, (b, 3, h, w); the real ones are known already."""
        self.finite &= bool(output.isfinite().all())
        self._update(output, real=False)

    def value(self) -> float:
        """The distance of what was added since the last `value`; NaN if some of it was not finite."""
        distance = float(self.metric.compute()) if self.finite else float("nan")
        self.reset()
        return distance

    def reset(self) -> None:
        """Forget what was added; the real images stay."""
        self.metric.reset()
        self.finite = True


def read_statistics(path: Path) -> dict[str, Tensor] | None:
    """What was cached there; None if it is absent or damaged, to be computed anew."""
    try:
        return checkpoint.load(path)[0] if path.is_file() else None
    except DamagedFileError:
        return None


def statistics_file(name: str, targets: Sequence[Tensor]) -> Path:
    """Where the statistics of these real images are cached: by the protocol and by every pixel."""
    kind = name.partition("_n")[0]
    digest = hashlib.sha256(PROTOCOLS[kind].description.encode())
    for target in targets:
        digest.update(repr(tuple(target.shape)).encode())
        digest.update((target * 255).round().to(torch.uint8).cpu().contiguous().numpy().tobytes())
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "evo_c2f"
    return cache / "statistics" / f"{kind}-{digest.hexdigest()[:16]}.safetensors"
