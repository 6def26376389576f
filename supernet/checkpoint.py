"""Weights and training state as safetensors, with JSON in the header; loading never unpickles."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from evo_c2f.errors import DamagedFileError, FailedError, InputError
from evo_c2f.files import replacing
from evo_c2f.json_text import finite

FORMAT = 2  # 1 had no checksum
CHECKSUM = "sha256"


def save(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write under a temporary name, then rename: the file is the old one or the new one, never incomplete.

    FailedError if there is no room.
    """
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    about = finite({"format": FORMAT, **metadata})
    # One entry: safetensors writes several in any order, and the same weights are to be the same bytes.
    header = {"evo_c2f": json.dumps({**about, CHECKSUM: _checksum(whole, about)})}
    with replacing(path) as partial:
        try:
            save_file(whole, partial, header)
        except SafetensorError as error:
            raise FailedError(f"{path} can't be written ({error}); make room, and run the same command again") from None


def load(path: Path, device: str = "cpu") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(tensors, metadata). DamagedFileError if it is damaged, InputError if from a newer version or another program."""
    with path.open("rb"):  # safetensors calls a file that may not be read absent
        pass
    try:
        with safe_open(path, "pt", device=device) as file:
            header = (file.metadata() or {}).get("evo_c2f")
            if header is None:
                raise InputError(f"{path} is not a model of this project; name one that 'finetune' wrote")
            metadata = json.loads(header)
            if metadata["format"] > FORMAT:
                raise InputError(f"{path} has format {metadata['format']}, this version reads up to {FORMAT}; upgrade")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            unchecked = metadata["format"] == 1 and CHECKSUM not in metadata
            if not unchecked and metadata.pop(CHECKSUM) != _checksum(tensors, metadata):
                raise ValueError("it is not what was written, or another program has changed it")
            if metadata.get("metrics"):
                metadata["metrics"] = {key: _figure(value) for key, value in metadata["metrics"].items()}
            if metadata.get("curve"):
                metadata["curve"] = [_figure(value) for value in metadata["curve"]]
            return tensors, metadata
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise DamagedFileError(f"{path} is damaged ({error}); put back a copy, or remove it and train again") from None


def _figure(value: float | None) -> float:
    """A number that JSON has as null if it was not finite."""
    return float("nan") if value is None else value


def _checksum(tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> str:
    found = hashlib.sha256(json.dumps(about).encode())
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def fingerprint(path: Path) -> str:
    """A short hash of the file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]


def state_of(target: Path) -> Path:
    """The path for the state of the training that will write `target`."""
    return target.with_suffix(".state.safetensors")
