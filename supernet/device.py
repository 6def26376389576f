"""The device that networks are trained and measured on."""

import platform
from pathlib import Path

import torch

from evo_c2f.errors import InputError

# float32 is to be float32, in workers too; for speed there is `training.precision`.
torch.backends.cudnn.allow_tf32 = False


def choose_device(name: str) -> torch.device:
    """'auto' is the GPU if there is one. InputError if the device does not exist."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
        return torch.device(name)
    except (RuntimeError, AssertionError, NotImplementedError, ImportError):
        raise InputError(f"device {name!r} is not there; use --device cpu") from None


def machine_name(device: torch.device) -> str:
    """The name of the GPU, or of this machine's processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # no Linux
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
