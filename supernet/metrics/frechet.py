"""Frechet distances between real and generated images: FID (arXiv 1706.08500), and `fd_vgg` without Inception.

torchmetrics computes the distance; this module has the features, their protocols, and the statistics of the real
images, computed once and cached.
"""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from filelock import FileLock
from torch import Tensor, nn

from evo_c2f.errors import DamagedFileError, FailedError, InputError
from supernet import cache, checkpoint
from supernet.data.images import round_to_8_bits
from supernet.metrics.perceptual import VggFeatures, as_rgb
from supernet.metrics.vision import make_torchvision_importable

# One file, as torch-fidelity and as pytorch-fid publish it.
INCEPTION = (
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth",
    "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
)
INCEPTION_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
NOT_CACHED = "the statistics of the real images are not cached ({}); they are taken anew each time"
log = logging.getLogger(__name__)

REAL_STATISTICS = ("real_features_sum", "real_features_cov_sum", "real_features_num_samples")


@dataclass(frozen=True)
class Protocol:
    """A feature space: the numbers for each image, and their meaning."""

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
    """InputError if there are too few images for a Frechet distance of that name.

    With fewer images than dimensions, the covariance is singular and the distance biased. Such a distance can still be
    requested: its name has the image count, such as fid_n200.
    """
    kind, _, count = name.partition("_n")
    if n_images < 2:
        raise InputError(f"{name} compares sets of images, and there is only one; name another quality")
    if count and int(count) != n_images:
        raise InputError(f"{name} is of {count} images, and there are {n_images}; name it {kind}_n{n_images}")
    if not count and n_images < PROTOCOLS[kind].dimensions:
        raise InputError(
            f"{kind} needs at least {PROTOCOLS[kind].dimensions} images, one for each of its dimensions, and there are "
            f"{n_images}; name it {kind}_n{n_images} to have it all the same"
        )


def inception_places() -> list[Path]:
    """The files in torch-hub's cache that may hold the standard Inception weights, in the order of INCEPTION."""
    return [Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2] for url in INCEPTION]


def inception_file() -> Path:
    """The file of the standard Inception weights. InputError, naming it, if it is missing or different."""
    places = inception_places()
    path = next(filter(Path.is_file, places), None)
    if path is None:
        raise InputError(
            f"{places[0]}, which FID needs, is absent; 'python cli.py data fid' says what to fetch; or use fd_vgg"
        )
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != INCEPTION_SHA256:
        raise InputError(f"{path} has sha256 {digest}, not {INCEPTION_SHA256}; fetch it again")
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

        InputError if the weights are missing.
        """
        kind = name.partition("_n")[0]
        own = features is None
        if features is None:
            features = VggMeans() if kind == "fd_vgg" else inception(inception_file())
        make_torchvision_importable()
        from torchmetrics.image.fid import FrechetInceptionDistance

        self.whole_numbers = kind == "fid"
        self.metric: Any = FrechetInceptionDistance(feature=features, reset_real_features=False).to(device)
        self.finite = True
        self.file = open_file(name, targets) if own else None
        known = read_statistics(self.file) if self.file else None
        for statistic, value in (known or {}).items():
            setattr(self.metric, statistic, value.to(device))
        if known is not None:
            return
        for target in targets:
            self._update(target.to(device), real=True)
        if self.file:
            keep_statistics(name, self.file, {what: getattr(self.metric, what) for what in REAL_STATISTICS})

    @torch.no_grad()
    def _update(self, images: Tensor, real: bool) -> None:
        rounded = round_to_8_bits(as_rgb(images))
        self.metric.update((rounded * 255).round().to(torch.uint8) if self.whole_numbers else rounded, real=real)

    def add(self, output: Tensor, target: Tensor) -> None:
        """Add a batch of generated images, (b, 3, h, w); the real ones are known already."""
        self.finite &= bool(output.isfinite().all())
        self._update(output, real=False)

    def value(self) -> float:
        """The distance of all images added since the last `value`; NaN if an output was not finite."""
        distance = float(self.metric.compute()) if self.finite else float("nan")
        self.reset()
        return distance

    def reset(self) -> None:
        """Forget the added images; the real ones stay."""
        self.metric.reset()
        self.finite = True


def statistics_file(name: str, targets: Sequence[Tensor]) -> Path:
    """The cache file for the statistics of these real images, named by the protocol and every pixel."""
    kind = name.partition("_n")[0]
    digest = hashlib.sha256(PROTOCOLS[kind].description.encode())
    for target in targets:
        digest.update(repr(tuple(target.shape)).encode())
        digest.update((target * 255).round().to(torch.uint8).cpu().contiguous().numpy().tobytes())
    return cache.folder() / "statistics" / f"{kind}-{digest.hexdigest()[:16]}.safetensors"


def open_file(name: str, targets: Sequence[Tensor]) -> Path | None:
    """The same; None, and a warning, if there is no cache."""
    try:
        return statistics_file(name, targets)
    except OSError as error:
        log.warning(NOT_CACHED.format(error))
        return None


def read_statistics(path: Path) -> dict[str, Tensor] | None:
    """The cached statistics; None if there are none, or the file is unusable. They are then computed again."""
    try:
        if not path.is_file():
            return None
        tensors, _ = checkpoint.load(path)
        return {statistic: tensors[statistic] for statistic in REAL_STATISTICS}
    except OSError:
        return None  # a closed cache, of which the writer tells
    except (DamagedFileError, InputError, KeyError):
        log.warning(f"{path} is damaged; the statistics of the real images are taken anew")
        return None


def keep_statistics(name: str, path: Path, statistics: Mapping[str, Tensor]) -> None:
    """Cache the statistics, if the cache can be written."""
    about = {"protocol": PROTOCOLS[name.partition("_n")[0]].description}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):  # other processes cache the same
            checkpoint.save(path, statistics, about)
    except (OSError, FailedError) as error:
        log.warning(NOT_CACHED.format(error))
