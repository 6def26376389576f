"""Weights and training state as safetensors, with JSON in the header: nothing to unpickle."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from evo_c2f.errors import DamagedFileError, InputError

FORMAT = 1


def save(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write under a temporary name, then rename: the file is the old one or the new one, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    header = {"evo_c2f": json.dumps({"format": FORMAT, **metadata})}
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, partial, header)
    os.replace(partial, path)


def load(path: Path, device: str = "cpu") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(tensors, metadata). DamagedFileError if it is no whole checkpoint, InputError if from a newer version."""
    try:
        with safe_open(path, "pt", device=device) as file:
            metadata = json.loads((file.metadata() or {})["evo_c2f"])
            if metadata["format"] > FORMAT:
                raise InputError(f"{path} has format {metadata['format']}, this version reads up to {FORMAT}; upgrade")
            return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise DamagedFileError(f"{path} is damaged ({error}); remove it and train again") from None


def fingerprint(path: Path) -> str:
    """A short hash of the file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]
