"""A network as ncnn's .param and .bin."""

import subprocess
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from evo_c2f.errors import FailedError, InputError
from supernet.formats.shapes import How, random_image
from supernet.network.generator import Subnet
from supernet.network.operators import OPERATORS


def write_ncnn(network: Any, path: Path, metadata: Mapping[str, Any], how: How) -> None:
    """By pnnx; the .bin lies beside the .param. The sides of its images must be multiples of `network.grain`.

    InputError if ncnn lacks a layer that the network needs, or if a package is not installed.
    """
    unit = network.grain
    sides = [how.size] * 2 if how.size else [(unit * -(-side // unit), 2 * unit) for side in (64, 96)]
    with tempfile.TemporaryDirectory() as folder:
        shapes = [(1, network.input_channels, *side) for side in sides]
        param, weights = convert(network, shapes, Path(folder), how.half)
        if missing := missing_layers(param):
            raise InputError(f"ncnn has no {', '.join(missing)}{culprits(network)}; export another format")
        param.replace(path)
        weights.replace(path.with_suffix(".bin"))


def convert(network: nn.Module, shapes: list[tuple[int, ...]], folder: Path, half: bool) -> tuple[Path, Path]:
    """The files that pnnx makes in the folder. shapes: two of the input, by which it finds out which sides may vary."""
    pnnx, _ = require_ncnn()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of the tracer, about branches by size
        torch.jit.trace(network, random_image(shapes[0]), check_trace=False).save(folder / "network.pt")
    names = ("inputshape", "inputshape2")
    inputs = [f"{name}={list(shape)}".replace(" ", "") for name, shape in zip(names, shapes, strict=True)]
    command = [pnnx.EXEC_PATH, "network.pt", *inputs, f"fp16={int(half)}", "device=cpu"]
    done = subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8")
    found = folder / "network.ncnn.param", folder / "network.ncnn.bin"
    if done.returncode or not all(file.is_file() for file in found):
        raise FailedError(f"pnnx could not convert the network: {(done.stderr or done.stdout).strip()[-200:]}")
    return found


def missing_layers(param: Path) -> list[str]:
    """The layers in a .param file that ncnn does not have: pnnx leaves them under torch's names, which hold a dot."""
    kinds = {line.split()[0] for line in param.read_text(encoding="utf-8").splitlines()[2:]}
    return sorted(kind for kind in kinds if "." in kind or ":" in kind)


def culprits(network: nn.Module) -> str:
    """In words, which of the network's operators need missing layers, each tried alone; '' if none does."""
    if not isinstance(network, Subnet):
        return ""
    names = []
    for name in dict.fromkeys(cell.operator for cell in network.architecture.cells):
        with tempfile.TemporaryDirectory() as folder:
            param, _ = convert(OPERATORS[name](8, 8), [(1, 8, 32, 32), (1, 8, 48, 64)], Path(folder), False)
            if missing_layers(param):
                names.append(name)
    return f", which the operator {' and '.join(names)} needs" if names else ""


def open_ncnn(path: Path) -> Callable[[Tensor], Tensor]:
    """The network in the files, for single images, on the CPU in 32 bits."""
    _, ncnn = require_ncnn()
    net = ncnn.Net()
    net.opt.num_threads = torch.get_num_threads()
    for option in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
        setattr(net.opt, option, False)
    if net.load_param(str(path)) or net.load_model(str(path.with_suffix(".bin"))):
        raise FailedError(f"ncnn could not read {path}")

    def run(x: Tensor) -> Tensor:
        extractor = net.create_extractor()
        extractor.input("in0", ncnn.Mat(x[0].numpy()).clone())
        failed, output = extractor.extract("out0")
        return x.new_tensor(float("nan")) if failed else torch.from_numpy(np.array(output))[None]

    return run


def require_ncnn() -> tuple[Any, Any]:
    """The packages pnnx and ncnn."""
    try:
        import ncnn
        import pnnx
    except ImportError:
        raise InputError("ncnn's files need pnnx and ncnn; run 'pip install .[ncnn]'") from None
    return pnnx, ncnn
