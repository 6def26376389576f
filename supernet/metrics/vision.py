"""Makes torchvision importable beside a CPU-only torch; lpips and torchmetrics import it.

The registry's torchvision carries CUDA operators that a CPU-only torch can't load, and then fails on
registering their shapes ('operator torchvision::nms does not exist'). Only the import matters here:
none of its operators is called.
"""

import importlib
import sys

import torch

_libraries: list[torch.library.Library] = []  # a library's operators live as long as the object


def make_torchvision_importable() -> None:
    """Declare the missing operators, only after a plain import has failed."""
    try:
        importlib.import_module("torchvision")
    except RuntimeError:
        for module in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[module]
        library = torch.library.Library("torchvision", "FRAGMENT")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _libraries.append(library)
        importlib.import_module("torchvision")
