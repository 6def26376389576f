"""The device that networks are trained and measured on."""

import torch

from evo_c2f.errors import InputError


def choose_device(name: str) -> torch.device:
    """'auto' is the GPU if there is one. InputError if the device does not exist."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cudnn.allow_tf32 = False  # float32 is to be float32; for speed there is `training.precision`
    try:
        torch.empty(0, device=name)
        return torch.device(name)
    except (RuntimeError, AssertionError, NotImplementedError, ImportError):
        raise InputError(f"device {name!r} is not there; use --device cpu") from None
