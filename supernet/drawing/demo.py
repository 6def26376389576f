"""The models of the demo, which run on users' pictures."""

import io
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from evo_c2f.errors import InputError
from supernet.data.photographs import embedded
from supernet.metrics.perceptual import COLOURS
from supernet.metrics.tasks import Task, task_of
from supernet.models.model import load_network
from supernet.models.pictures import Picture, generate, read_picture, tensor_of
from supernet.models.tiling import grid_of
from supernet.pictures.opening import SUFFIXES
from supernet.pictures.writing import TO_16_BITS, save_picture

KEPT = 12  # outputs; older ones are dropped
SAMPLES = {"astronaut.png", "chelsea.png", "coffee.png"}  # which photographs are offered if no sample is named
SIDE = 320  # the longer side of these


class Baseline(nn.Module):
    """A task's output without a network, as a network that can be tiled."""

    reach, grain, block = 4, 1, 1  # bicubic looks two pixels far

    def __init__(self, task: Task):
        super().__init__()
        self.task, self.scale, self.input_channels = task, task.frame.scale, task.frame.input_channels

    def forward(self, x: Tensor) -> Tensor:
        return self.task.baseline(x)


class LoadedModels:
    """Models, and pictures to try them on, as `evo_c2f.page.demo` serves them. The first model is the baseline."""

    def __init__(self, models: Sequence[Path], samples: Sequence[Path], tile: int, device: torch.device):
        """samples: pictures; none: photographs of Python packages. tile: its side in input pixels.

        InputError if a model or a sample can't be read, or if the models differ in scale.
        """
        networks = [load_network(model) for model in models]
        if len({network.scale for network in networks}) > 1:
            scales = ", ".join(f"{model} x{network.scale}" for model, network in zip(models, networks, strict=True))
            raise InputError(f"the models enlarge differently ({scales}); show those of one scale at a time")
        task = task_of(networks[0])
        channels = {(one.frame.input_channels, one.frame.output_channels) for one in map(task_of, networks)}
        if len(channels) > 1 or not {*next(iter(channels))} <= {*COLOURS}:
            raise InputError("the page shows models of 1 or 3 channels, and alike ones together; 'apply' runs others")
        self.networks = [Baseline(task), *(network.to(device) for network in networks)]
        self.names = [task.baseline_name, *short_names(models)]
        for path in samples:
            read_picture(path, networks[0].input_channels)
        self.samples = [(path.name, path.read_bytes()) for path in samples] or photographs()
        self.tile, self.device = tile, device
        self.outputs = dict[int, bytes]()
        self.n_made = 0

    def about(self) -> dict[str, Any]:
        sizes = [sum(4 * p.numel() for p in network.parameters()) / 1e6 or None for network in self.networks]
        models = [{"name": name, "size_mb": size} for name, size in zip(self.names, sizes, strict=True)]
        return {"models": models, "samples": [name for name, _ in self.samples]}

    def sample(self, number: int) -> tuple[str, bytes]:
        return self.samples[number]

    def run(self, model: int, picture: bytes, name: str, on_tile: Callable[[int, int], None]) -> dict[str, Any]:
        network, done = self.networks[model], 0
        opened = opened_as(name, picture, network.input_channels)
        of = len(grid_of(network, tensor_of(opened), self.tile))

        def after_tile() -> None:
            nonlocal done
            done += 1
            on_tile(done, of)

        start = time.perf_counter()
        output = generate(network, opened, self.tile, self.device, after_tile)
        seconds = time.perf_counter() - start
        height, width = (network.scale * side for side in opened.colour.shape[:2])
        losses = opened.losses
        if opened.dtype == np.float32:
            output, losses = (np.asarray(output) * 65535).round().astype(np.uint16), (*losses, TO_16_BITS)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "output.png")
            losses += save_picture(output, file, opened.info, opened.layout)
            self.outputs[self.n_made] = file.read_bytes()
        self.outputs.pop(self.n_made - KEPT, None)
        self.n_made += 1
        about = {"result": self.n_made - 1, "ms": 1000 * seconds, "memory": peak_memory()}
        return {**about, "height": height, "width": width, "losses": losses}

    def result(self, number: int) -> bytes:
        try:
            return self.outputs[number]
        except KeyError:
            raise IndexError(number) from None


def short_names(models: Sequence[Path]) -> list[str]:
    """The name of each one's file or folder, after as many parents' names as tell it from the others: 'runA/model'."""
    places = [(model.with_suffix("") if model.is_file() else model).absolute() for model in models]
    names = []
    for place in places:
        n, others = 1, [other for other in places if other != place]
        while any(other.parts[-n:] == place.parts[-n:] for other in others):
            n += 1
        names.append("/".join(place.parts[-n:]))
    return names


def opened_as(name: str, picture: bytes, channels: int) -> Picture:
    """A picture's file from memory. InputError, with the file's name, if it can't be read for so many channels."""
    with tempfile.TemporaryDirectory() as folder:
        suffix = PurePath(name).suffix.lower()
        file = Path(folder, f"picture{suffix if suffix in SUFFIXES else ''}")
        file.write_bytes(picture)
        try:
            return read_picture(file, channels)
        except InputError as error:
            raise InputError(str(error).replace(str(file), name)) from None


def photographs() -> list[tuple[str, bytes]]:
    """(name, file) of small photographs."""
    found = []
    for path in embedded():
        if path.name not in SAMPLES:
            continue
        with Image.open(path) as photograph:
            small = photograph.convert("RGB")
        small.thumbnail((SIDE, SIDE), Image.Resampling.BICUBIC)
        file = io.BytesIO()
        small.save(file, "PNG")
        found.append((f"{path.stem}.png", file.getvalue()))
    return found


def peak_memory() -> int | None:
    """The most bytes that this process has held so far; None where Python can't tell."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
