"""Our networks in spandrel, with which ComfyUI and chaiNNer open models.

After `register()`, spandrel's ModelLoader opens the file that `export --format spandrel` writes. It hands on the
tensors alone, not a file's header, so the network's description is one of the tensors.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from evo_c2f.errors import InputError
from evo_c2f.json_text import to_json
from supernet.metrics.tasks import task_of
from supernet.metrics.vision import make_torchvision_importable
from supernet.models.model import build_network

KEY = "evo_c2f"  # of the description: its JSON as bytes


def write_spandrel(network: nn.Module, path: Path, metadata: Mapping[str, Any], how: object = None) -> None:
    """The weights, and the metadata as a tensor."""
    description = torch.frombuffer(bytearray(to_json(metadata).encode()), dtype=torch.uint8)
    save_file({**network.state_dict(), KEY: description}, path)


def register() -> Any:
    """Tell spandrel about our networks. Returns the package. InputError if it is not installed."""
    make_torchvision_importable()  # which spandrel imports
    try:
        import spandrel
    except ImportError:
        raise InputError("this needs the package spandrel; run 'pip install spandrel'") from None

    class EvoC2f(spandrel.Architecture[nn.Module]):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(id=KEY, name="evo_c2f", detect=lambda weights: KEY in weights)

        def load(self, weights: dict[str, torch.Tensor]) -> Any:
            metadata = json.loads(bytes(weights.pop(KEY).tolist()))
            network = build_network(metadata)
            return spandrel.ImageModelDescriptor(
                network,
                weights,
                architecture=self,
                purpose="SR" if network.scale > 1 else "Restoration",
                tags=[],
                supports_half=True,
                supports_bfloat16=True,
                scale=network.scale,
                input_channels=network.input_channels,
                output_channels=task_of(network).frame.output_channels,
            )

    ours = spandrel.ArchSupport.from_architecture(EvoC2f())
    spandrel.MAIN_REGISTRY.add(ours, ignore_duplicates=True)
    return spandrel


def is_for_spandrel(path: Path) -> bool:
    """Whether the file is a safetensors file that `write_spandrel` wrote."""
    try:
        with safe_open(path, "pt") as file:
            return KEY in file.keys()  # noqa: SIM118
    except (SafetensorError, OSError):
        return False


def check_spandrel(path: Path) -> None:
    """Read every tensor of such a file, which has no checksum. ValueError if its description is none."""
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    json.loads(bytes(tensors[KEY].tolist()))


def open_spandrel(path: Path) -> nn.Module:
    """The network that spandrel's own loader makes of the file."""
    network: nn.Module = register().ModelLoader("cpu").load_from_file(path).eval().model
    return network
