"""Opens a teacher by its file, or by the name that a plugin gave it. Nothing in a file is ever executed."""

import hashlib
import inspect
import pickle
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from evo_c2f.errors import DamagedFileError, InputError
from supernet.models.model import load_network
from supernet.teachers import onnx_files, pix2pix, super_resolution
from supernet.teachers.found import PLUGGED, Found, Network

PICKLES = {".pth", ".pt", ".ckpt"}
INSIDE = ("params_ema", "params", "state_dict", "model_state_dict", "model", "net")  # where weights lie in a checkpoint


def place_of(name: str) -> str:
    """The teacher's absolute path, or the name of a plugin's. InputError if it is neither."""
    if name in PLUGGED:
        return name
    path = Path(name).absolute()
    if path.is_dir() and (path / "model.safetensors").is_file():
        return str(path / "model.safetensors")
    if not path.is_file():
        plugged = f", or what a --plugin adds ({', '.join(PLUGGED)})" if PLUGGED else ""
        raise InputError(f"teacher {name} does not exist; name an .onnx, .pth or .safetensors file{plugged}")
    return str(path)


def digest_of(place: str, whole: bool = True) -> str:
    """A short hash of the file's content; of a plugin's teacher, of the file that makes it.

    whole: with the weights of a plugin's module, and the files that hold tensors of an ONNX file. Without these it is
    the hash in runs of older versions.
    """
    content = hashlib.sha256()
    if place in PLUGGED:
        source = inspect.getsourcefile(PLUGGED[place])
        content.update(place.encode() + (Path(source).read_bytes() if source and Path(source).is_file() else b""))
        network = PLUGGED[place]() if whole else None
        for name, tensor in network.state_dict().items() if isinstance(network, nn.Module) else ():
            content.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
            content.update(tensor.detach().cpu().flatten().view(torch.uint8).numpy())
        return content.hexdigest()[:16]
    path = Path(place)
    more = onnx_files.external_data(path) if whole and path.suffix == ".onnx" else []
    for each in (path, *more):
        with each.open("rb") as file:
            hashlib.file_digest(file, lambda: content)
    return content.hexdigest()[:16]


def find(place: str, warn: Callable[[str], None]) -> Found:
    """The network at this place. InputError or DamagedFileError, in one sentence, if it can't be a teacher."""
    if place in PLUGGED:
        return plugged(place)
    path = Path(place)
    if path.suffix == ".onnx":
        return onnx_files.read(path, warn)
    if path.suffix == ".safetensors":
        if is_ours(path):
            return Found(on_any_device(load_network(path)), "a network of this project", "0..1")
        return of_weights(read_safetensors(path), place)
    if path.suffix in PICKLES:
        return of_weights(read_tensors(path), place)
    raise InputError(f"{path} is no teacher; name an .onnx, .pth or .safetensors file")


def plugged(name: str) -> Found:
    """What a plugin made: a module or a function."""
    network = PLUGGED[name]()
    if not callable(network):
        raise InputError(f"the plugin's teacher {name} is no function of images, but {type(network).__name__}")
    if not isinstance(network, nn.Module):
        return Found(network, "a plugin's function")
    return Found(on_any_device(network.eval().requires_grad_(False)), "a plugin's module")


def on_any_device(module: nn.Module) -> Network:
    """The module as a function that runs on the device of its input."""

    def run(x: Tensor) -> Tensor:
        output: Tensor = module.to(x.device)(x)
        return output

    return run


def of_weights(weights: Mapping[str, Any], origin: str) -> Found:
    """The network of some weights, recognised by their keys."""
    if pix2pix.is_known(weights):
        found = pix2pix.read(weights, origin)
        assert isinstance(found.run, nn.Module)
        return Found(on_any_device(found.run), found.words, found.range)
    return super_resolution.read(weights, origin)


def is_ours(path: Path) -> bool:
    """Whether the file is one that this project wrote."""
    try:
        with safe_open(path, "pt") as file:
            return "evo_c2f" in (file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise DamagedFileError(f"{path} can't be read ({error}); get the teacher's file again") from None


def read_safetensors(path: Path) -> dict[str, Tensor]:
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def read_tensors(path: Path) -> Mapping[str, Any]:
    """The weights in a .pth file, read without executing anything in it. InputError if it holds more than tensors."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of TorchScript, which is refused below
            found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise InputError(
            f"{path} holds Python objects that could run code, so it is not opened; save its state_dict alone, or as "
            ".safetensors"
        ) from None
    except Exception as error:  # a file that is cut short raises whatever its reader meets first
        if "TorchScript" in str(error):
            raise InputError(
                f"{path} is a TorchScript archive, which is a program, so it is not opened; save its state_dict alone, "
                "or export it to ONNX"
            ) from None
        raise DamagedFileError(f"{path} can't be read ({type(error).__name__}); get the teacher's file again") from None
    inside = next((found[key] for key in INSIDE if isinstance(found, dict) and isinstance(found.get(key), dict)), found)
    if not isinstance(inside, dict) or not inside or not all(isinstance(one, Tensor) for one in inside.values()):
        raise InputError(f"{path} holds no weights by name; save the network's state_dict")
    prefix = "module."
    return {
        key.removeprefix(prefix) if all(k.startswith(prefix) for k in inside) else key: t for key, t in inside.items()
    }
