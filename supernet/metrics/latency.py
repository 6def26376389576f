"""Latency of a subnet: measured as a whole, or summed from a table of its parts, each measured once."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evo_c2f.errors import DamagedFileError, InputError
from evo_c2f.files import write_text
from evo_c2f.json_text import to_json
from evo_c2f.space import Architecture, SearchSpace, inner_width
from supernet.network.generator import IMAGE_CHANNELS, Frame, Part, Supernet, build, parts, run_part
from supernet.timing import timed

Size = tuple[int, int]  # (height, width) of the output

REPEATS = 7
BASE = "base"  # what every network does besides its parts: the resized input that it adds to


@torch.inference_mode()
def latency_ms(supernet: Supernet, architecture: Architecture, output_size: Size) -> float:
    """Latency of the extracted subnet on one image, on the supernet's device."""
    subnet = supernet.extract(architecture).eval()
    image = _map(IMAGE_CHANNELS, supernet.frame.input_level, output_size, next(subnet.parameters()).device)
    return timed(lambda: subnet(image), image.device, REPEATS)


@dataclass(frozen=True)
class LatencyTable:
    """Milliseconds of every part of a space at one size, on one device; a subnet's latency is their sum."""

    about: dict[str, object]  # what it holds for: see `describe`
    ms: dict[str, float]

    def __call__(self, architecture: Architecture) -> float:
        return self.ms[BASE] + sum(self.ms[key(part)] for part in parts(architecture))

    def save(self, path: Path) -> None:
        write_text(path, to_json({"about": self.about, "ms": self.ms}, indent=1) + "\n")


def describe(space: SearchSpace, frame: Frame, output_size: Size, device: torch.device) -> dict[str, object]:
    """Everything a table depends on."""
    return {
        "space": space.digest,
        "parts": len({key(part) for part in every_part(space)}),
        "input_level": frame.input_level,
        "activation": frame.activation,
        "normalise": frame.normalise,
        "output_size": list(output_size),
        "device": device.type,
        "threads": torch.get_num_threads() if device.type == "cpu" else 0,
    }


def read_table(path: Path, about: dict[str, object]) -> LatencyTable:
    """The table. InputError if it is missing, or made for something else than `about`; DamagedFileError if it can't be
    read.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist; 'python cli.py bench --latency-table {path}' makes it")
    try:
        table = LatencyTable(**json.loads(path.read_text(encoding="utf-8")))
        differs = [
            f"{name} {table.about[name]}, not {value}" for name, value in about.items() if table.about[name] != value
        ]
        if table.about["parts"] != len(table.ms) - 1:
            raise ValueError("a part is missing")
    except (ValueError, TypeError, KeyError) as error:
        raise DamagedFileError(f"{path} is no latency table ({error}); make it anew") from None
    if differs:
        raise InputError(f"{path} is of {differs[0]}; make another with 'python cli.py bench --latency-table'")
    return table


@torch.inference_mode()
def measure_table(space: SearchSpace, frame: Frame, output_size: Size, device: torch.device) -> LatencyTable:
    """Time every part of the space at the sizes that it has in a network with such an output."""
    ms = {}
    for part in every_part(space):
        # Random weights: fresh ones are zeros in part, which some processors multiply faster.
        module = build(part, frame).to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        for parameter in module.parameters():
            nn.init.normal_(parameter, std=0.1)
        level = part.place[0] if part.kind == "transition" else frame.input_level if part.kind == "stem" else part.level
        channels = {"stem": IMAGE_CHANNELS, "transition": part.source_width}.get(part.kind, part.width)
        x = _map(channels, level, output_size, device)
        ms[key(part)] = timed(partial(run_part, part, module, x, frame), device, REPEATS)
    image = _map(IMAGE_CHANNELS, frame.input_level, output_size, device)
    scale = 2.0**frame.input_level if frame.residual else 1.0
    ms[BASE] = timed(lambda: F.interpolate(image, scale_factor=scale, mode="bilinear"), device, REPEATS)
    return LatencyTable(describe(space, frame, output_size, device), ms)


def key(part: Part) -> str:
    """Everything a part's time depends on; not the cell."""
    place = part.place[2:] if part.kind == "operator" else part.place
    return " ".join(map(str, (part.kind, *place, part.level, part.width, part.inner, part.source_width)))


def every_part(space: SearchSpace) -> Iterator[Part]:
    """Each part of each subnet once; parts with the same `key` count as one."""
    for level, widths in space.widths.items():
        for width in widths:
            yield Part("stem", (level,), level, width)
            yield Part("head", (level,), level, width)
            for source in (level - 1, level + 1):
                for source_width in space.widths.get(source, ()):
                    yield Part("transition", (source, level), level, width, source_width=source_width)
            for inner in {inner_width(width, ratio) for ratio in space.inner_ratios}:
                for operator in space.operators:
                    yield Part("operator", (0, level, operator), level, width, inner=inner)


def _map(channels: int, level: int, output_size: Size, device: torch.device) -> Tensor:
    """A random feature map of a level, in the layout that convolutions want."""
    sides = (-(-side // 2**level) for side in output_size)
    return torch.rand(1, channels, *sides, device=device).to(memory_format=torch.channels_last)
