"""A model on the images of a benchmark: each image, the average, and its costs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn

from evo_c2f.errors import InputError
from evo_c2f.space import Architecture
from supernet.batches.fixed import Fixed, Side
from supernet.data import aligned
from supernet.data.benchmarks import read_benchmark
from supernet.data.picture_files import tell_losses, tell_others
from supernet.layouts.partners import Item, places, relative_names
from supernet.metrics import qualities
from supernet.metrics.tasks import SuperResolution
from supernet.models.model import Model, build_network
from supernet.models.tiling import run
from supernet.network.cost import BYTES_PER_PARAMETER, costs, network_costs
from supernet.network.generator import Frame
from supernet.pictures.decoding import Depth, Reading
from supernet.pictures.pairs import Direction
from supernet.timing import timed

LATENCY_REPEATS = 7


@dataclass(frozen=True)
class Judged:
    """Images to judge a model on: each one's name, and itself as a batch of one, (source, target)."""

    names: list[str]
    batches: Fixed


def read_judged(
    model: Model,
    folder: Path,
    split: str,
    direction: Direction,
    side: int | None,
    warn: Callable[[str], None] = lambda sentence: None,
) -> Judged:
    """The images of a benchmark folder (super-resolution), or of an aligned folder's split (translation).

    warn: gets a message about the files' losses and about ignored files.
    """
    frame = model.task.frame
    channels = frame.input_channels, frame.output_channels
    depth: Depth = 8 if channels == (3, 3) else "float"  # the metrics of RGB are of 8 bits
    source, target = (Reading(n, depth) for n in channels)
    if isinstance(model.task, SuperResolution):
        return Judged(*read_benchmark(folder, model.task.scale, warn, source))
    paths = aligned.split_files(folder, split)
    tell_others(aligned.split_folders(folder, split).pictures, warn)
    readings = source, target
    sizes = aligned.check_sizes(paths, layout=direction, load_size=side, readings=readings)
    pairs = aligned.Pairs(paths, direction, side, sizes, readings)
    for number in range(len(pairs)):
        pairs[number]  # what can't be read, or is lost, is told first
    tell_losses({name: pairs.losses[item] for item, name in places(paths).items()}, warn)
    return Judged(names_of(paths), aligned.in_batches(pairs, 1))


def names_of(items: Sequence[Item]) -> list[str]:
    """The files' names as seen from their folder, without suffixes; with them if two names would be equal."""
    names = [Path(name) for name in relative_names(items).values()]
    stems = [name.with_suffix("").as_posix() for name in names]
    return stems if len(set(stems)) == len(stems) else [name.as_posix() for name in names]


def forward(model: Model, device: torch.device) -> Callable[[Tensor], Tensor]:
    """The model as a function on the device; large images in tiles."""
    network = model.network
    if isinstance(network, nn.Module):
        network.to(device)
    return partial(run, network)


@torch.inference_mode()
def judge(
    model: Model,
    images: Judged,
    names: Sequence[str],
    device: torch.device,
    on_image: Callable[[int], None] = lambda done: None,
) -> dict[str, Any]:
    """`images`: name -> qualities of each; `mean`: their averages, and the Frechet distances over the whole set."""
    targets = Side(images.batches, 1)
    for name in names:
        if not qualities.is_quality(name, model.task):
            raise InputError(f"{name} is no quality of {model.task.name}; there are {', '.join(known(model))}")
        qualities.check(name, model.task, len(images.names), min(min(shape[2:]) for shape in targets.shapes))
    network = forward(model, device)
    judges = {name: qualities.make(name, model.task, targets, device) for name in names}
    rows: dict[str, dict[str, float]] = {}
    for done, (image, (source, target)) in enumerate(zip(images.names, images.batches, strict=True), 1):
        output, target = network(source.to(device)).to(device), target.to(device)
        rows[image] = {}
        for name, quality in judges.items():
            quality.add(output, target)
            if not qualities.is_frechet(name):
                rows[image][name] = quality.value()
        on_image(done)
    mean = {
        name: quality.value() if qualities.is_frechet(name) else fmean(row[name] for row in rows.values())
        for name, quality in judges.items()
    }
    return {"images": rows, "mean": mean}


def known(model: Model) -> list[str]:
    return [*(usual := qualities.usual(model.task)), *(["fid", "fd_vgg"] if "lpips" in usual else [])]


def costs_of(model: Model, size: tuple[int, int]) -> dict[str, float]:
    """params, macs and size_mb for an output of (height, width)."""
    if "architecture" in model.metadata:
        architecture, frame = Architecture.from_dict(model.metadata["architecture"]), Frame(**model.metadata["frame"])
        return costs(architecture, frame, size)
    with torch.device("meta"):  # counted, not computed
        found = network_costs(build_network(model.metadata), input_size(model, size))
    return found | {"size_mb": found["params"] * BYTES_PER_PARAMETER / 1e6}


def input_size(model: Model, size: tuple[int, int]) -> tuple[int, int]:
    """The smallest input whose output covers (height, width), as the costs of subnets take it."""
    height, width = (-(-side // model.scale) for side in size)
    return height, width


@torch.inference_mode()
def latency(model: Model, size: tuple[int, int], device: torch.device) -> dict[str, Any]:
    """Median time in milliseconds for one output of (height, width), after two warm-ups; the threads and the device.

    `latency_ms` of an ONNX file, which ONNX Runtime runs on the CPU; `latency_torch_ms` of a torch module, which takes
    large images in tiles.
    """
    network, is_module = forward(model, device), isinstance(model.network, nn.Module)
    name, device = ("latency_torch_ms", device) if is_module else ("latency_ms", torch.device("cpu"))
    image = torch.rand(1, model.task.frame.input_channels, *input_size(model, size), device=device)
    ms = timed(lambda: network(image), device, LATENCY_REPEATS)
    return {name: ms, "threads": torch.get_num_threads(), "device": str(device)}
