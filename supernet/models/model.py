"""A trained network as one file: its weights, and its description in the header. Or an exported ONNX file."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from evo_c2f.errors import DamagedFileError, InputError
from evo_c2f.space import Architecture
from supernet import checkpoint
from supernet.metrics.tasks import Task, task_of
from supernet.models.onnx_runtime import OnnxNetwork
from supernet.network.generator import Frame, Subnet
from supernet.network.operators import OPERATORS
from supernet.network.plain import PlainUpscaler
from supernet.network.teacher import ResNetGenerator

Network = Subnet | ResNetGenerator | PlainUpscaler  # what is trained and written here
KINDS = {"resnet", "plain", "architecture"}  # of networks: one of them is in a model's header
FILE = "model.safetensors"  # of a model's folder


@dataclass(frozen=True)
class Model:
    """A network (perhaps from an ONNX file), its task, and its file's metadata."""

    network: Network | OnnxNetwork
    task: Task
    metadata: dict[str, Any]

    @property
    def scale(self) -> int:
        """The output's side over the input's."""
        return self.task.frame.scale


def header(network: nn.Module) -> dict[str, Any]:
    """The metadata from which `load_network` rebuilds the network."""
    if isinstance(network, ResNetGenerator):
        return {"resnet": network.settings}
    if isinstance(network, PlainUpscaler):
        return {"plain": network.settings}
    assert isinstance(network, Subnet)
    return {"architecture": network.architecture.to_dict(), "frame": asdict(network.frame)}


def build_network(metadata: dict[str, Any]) -> Network:
    """The network that a header describes, with fresh weights."""
    if "resnet" in metadata:
        return ResNetGenerator(**metadata["resnet"])
    if "plain" in metadata:
        return PlainUpscaler(**metadata["plain"])
    architecture = Architecture.from_dict(metadata["architecture"])
    for cell in architecture.cells:
        if cell.operator not in OPERATORS:
            raise InputError(f"operator {cell.operator!r} is unknown; name the --plugin that adds it")
    return Subnet(architecture, Frame(**metadata["frame"]))


def file_of(path: Path) -> Path:
    """The file of a model given as a file or as its folder. InputError if it is missing."""
    file = path / FILE if path.is_dir() else path
    if not file.is_file() or file.suffix not in (".safetensors", ".onnx"):
        trouble = "no model" if file.is_file() else "absent"
        raise InputError(f"{file} is {trouble}; a model is a folder with {FILE}, such a file, or an .onnx file")
    return file


def load_network(path: Path) -> Network:
    """The network of a model that this project wrote, frozen.

    InputError if it is missing, exported or not of this project, DamagedFileError if it is damaged.
    """
    file = file_of(path)
    if file.suffix == ".onnx":
        raise InputError(f"{file} is exported already; name the model that it was made from")
    return _read(file)[0]


def _read(file: Path) -> tuple[Network, dict[str, Any]]:
    tensors, metadata = checkpoint.load(file)
    if KINDS.isdisjoint(metadata):
        raise InputError(f"{file} is no model but a supernet or a stopped training; name what 'finetune' wrote")
    try:
        network = build_network(metadata)
        network.load_state_dict(tensors)
    except (KeyError, TypeError, ValueError, RuntimeError):
        raise DamagedFileError(f"{file} holds no network; train it again") from None
    return network.eval().requires_grad_(False), metadata


def read_model(path: Path, warn: Callable[[str], None] = lambda sentence: None) -> Model:
    """A model that this project wrote, or exported to ONNX. Errors like `load_network`.

    warn: gets a message if another program has rewritten the exported file.
    """
    file = file_of(path)
    if file.suffix == ".onnx":
        network = OnnxNetwork(file, warn)
        try:
            return Model(network, task_of(build_network(network.metadata)), network.metadata)
        except (KeyError, TypeError, ValueError, RuntimeError):
            raise InputError(f"{file} was not exported by this project: it doesn't tell its network") from None
    plain, metadata = _read(file)
    return Model(plain, task_of(plain), metadata)
