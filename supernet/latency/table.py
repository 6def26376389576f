"""The latency of a subnet's exported file, from the times of its parts, each taken once in ONNX Runtime."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from itertools import chain
from pathlib import Path
from statistics import median
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evo_c2f.errors import DamagedFileError, InputError
from evo_c2f.files import write_text
from evo_c2f.json_text import to_json
from evo_c2f.space import Architecture, SearchSpace, inner_width
from supernet.device import machine_name
from supernet.latency.exported import actions, milliseconds_in_turn, runtime
from supernet.network.generator import Frame, Part, Subnet, build, parts, run_part
from supernet.network.plain import PlainUpscaler

Size = tuple[int, int]  # (height, width) of the output
Module = TypeVar("Module", bound=nn.Module)

BASE = "base"  # what every network does besides its parts: the resized input that it adds to, or a sigmoid
RGB = [3, 3]  # channels of input and output
WHOLE = 16  # subnets that are timed whole


@dataclass(frozen=True)
class LatencyTable:
    """Milliseconds of every part of a space at one size, on one device; a subnet's latency is their sum, scaled."""

    about: dict[str, object]  # what it holds for: see `describe`
    ms: dict[str, float]
    plain_ms: float | None  # of the plain network; None: the task has none
    scale: float = 1.0  # how much longer whole networks take than their parts; older tables don't know

    def __call__(self, architecture: Architecture) -> float:
        return self.scale * (self.ms[BASE] + sum(self.ms[key(part)] for part in parts(architecture)))

    def ratio(self, architecture: Architecture) -> float:
        """The latency over the plain network's, for a task that has one."""
        assert self.plain_ms is not None
        return self(architecture) / self.plain_ms

    def save(self, path: Path) -> None:
        write_text(path, to_json(asdict(self), indent=1) + "\n")


def describe(space: SearchSpace, frame: Frame, output_size: Size, device: torch.device) -> dict[str, object]:
    """Everything a table depends on."""
    channels = [frame.input_channels, frame.output_channels]
    return {
        "space": space.digest,
        "parts": len({key(part) for part in every_part(space)}),
        "input_level": frame.input_level,
        "first_step": frame.first_step,
        **({} if channels == RGB else {"channels": channels}),
        "activation": frame.activation,
        "normalise": frame.normalise,
        **({"bounded": True} if frame.bounded else {}),
        "output_size": list(output_size),
        "runtime": runtime(device),
        "machine": machine_name(device),
        "threads": torch.get_num_threads(),
    }


def read_table(path: Path, about: dict[str, object]) -> LatencyTable:
    """The table. InputError if it is missing, or made for something else than `about`; DamagedFileError if it can't be
    read.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist; 'python cli.py bench --latency-table {path}' makes it")
    try:
        table = LatencyTable(**json.loads(path.read_text(encoding="utf-8")))
        # Which tables of older versions don't tell; the machine can't be known.
        older = {"first_step": 2, "channels": RGB, "bounded": False, "machine": about.get("machine")}
        told, wanted = older | table.about, older | about
        differs = [f"{name} {told[name]}, not {value}" for name, value in wanted.items() if told[name] != value]
        if table.about["parts"] != len(table.ms) - 1:
            raise ValueError("a part is missing")
    except (ValueError, TypeError, KeyError) as error:
        raise DamagedFileError(f"{path} is no latency table ({error}); make it anew") from None
    if differs:
        raise InputError(f"{path} is of {differs[0]}; make another with 'python cli.py bench --latency-table'")
    return table


@torch.inference_mode()
def measure_table(space: SearchSpace, frame: Frame, output_size: Size, device: torch.device) -> LatencyTable:
    """Time every part of the space at the sizes that it has in a network with such an output.

    An operator's time is what each of two more copies adds to a first one, as in a network: ONNX Runtime converts its
    feature maps to a layout of its own once, not for each operator. Whole networks tell the scale of the sums.
    """
    about = describe(space, frame, output_size, device)  # InputError before anything takes long
    grain = frame.span(max(space.levels))
    padded = (-(-output_size[0] // grain) * grain, -(-output_size[1] // grain) * grain)  # as networks do
    ends = (frame.output_channels, 1) if frame.bounded else (frame.input_channels, frame.scale)
    maps = cache(partial(random_map, output_size=padded))
    timed: dict[str, list[tuple[nn.Module, Tensor]]] = {BASE: [(_Ending(frame), maps(*ends))]}
    for part in every_part(space):
        copies = (1, 3) if part.kind == "operator" else (1,)
        stretches = [Stretch(n * [part], frame) for n in copies]
        timed[key(part)] = [(stretch, maps(*stretch.source())) for stretch in stretches]
    modules, inputs = zip(*chain.from_iterable(timed.values()), strict=True)
    runs, ms = iter(actions(modules, inputs, device)), dict[str, float]()
    for name, some in timed.items():
        # In turn, since a machine that gets faster between the two would give far too small a difference.
        first, *three = milliseconds_in_turn([next(runs) for _ in some])
        ms[name] = max(three[0] - first, 0.0) / 2 if three else first
    return _scaled(LatencyTable(about, ms, None), space, frame, output_size, device)


def _scaled(
    table: LatencyTable, space: SearchSpace, frame: Frame, output_size: Size, device: torch.device
) -> LatencyTable:
    """The table with the plain network's latency, and the scale by some subnets of all kinds, timed in turn with it."""
    architectures = [space.decode(genome) for genome in space.random(WHOLE, np.random.default_rng(0))]
    whole, plain = whole_ms(architectures, frame, output_size, device)
    scale = median(ms / table(architecture) for ms, architecture in zip(whole, architectures, strict=True))
    return replace(table, scale=scale, plain_ms=plain)


def whole_ms(
    architectures: Sequence[Architecture], frame: Frame, output_size: Size, device: torch.device
) -> tuple[list[float], float | None]:
    """Milliseconds of the exported subnets, and of the plain network of 8 blocks and 48 channels if the task has one.

    They take turns.
    """
    networks: list[nn.Module] = [Subnet(architecture, frame) for architecture in architectures]
    if frame.residual:
        networks.append(PlainUpscaler(scale=frame.scale, channels=frame.input_channels))
    image = random_map(frame.input_channels, frame.scale, output_size)
    runs = [*actions([*map(with_random_weights, networks)], [image] * len(networks), device)]
    times = milliseconds_in_turn(runs)
    return times[: len(architectures)], times[-1] if frame.residual else None


def with_random_weights(module: Module) -> Module:
    """Fresh weights are zeros in part, which some processors multiply faster."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.1)
    return module


class Stretch(nn.Module):
    """Parts in a row, with random weights."""

    def __init__(self, stretch: list[Part], frame: Frame):
        super().__init__()
        self.stretch, self.frame = stretch, frame
        self.built = nn.ModuleList(build(part, frame) for part in stretch)
        with_random_weights(self)

    def forward(self, x: Tensor) -> Tensor:
        for part, module in zip(self.stretch, self.built, strict=True):
            x = run_part(part, module, x, self.frame)
        return x

    def source(self) -> tuple[int, int]:
        """Channels of the feature map that arrives at the first part, and pixels of the output a position spans."""
        part = self.stretch[0]
        level = {"transition": part.place[0], "stem": self.frame.input_level}.get(part.kind, part.level)
        channels = {"stem": self.frame.input_channels, "transition": part.source_width}.get(part.kind, part.width)
        return channels, self.frame.span(level)


class _Ending(nn.Module):
    """What follows the last part: the resized input, to which its output is added, or the sigmoid of that output."""

    def __init__(self, frame: Frame):
        super().__init__()
        self.bounded, self.scale = frame.bounded, float(frame.scale) if frame.residual else 1.0

    def forward(self, x: Tensor) -> Tensor:
        if self.bounded:
            return torch.sigmoid(2 * x)
        resized = F.interpolate(x, scale_factor=self.scale, mode="bilinear")
        return resized + resized


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


def random_map(channels: int, span: int, output_size: Size) -> Tensor:
    """A feature map (1, channels, h, w) whose positions span so many pixels of the output along a side."""
    sides = (-(-side // span) for side in output_size)
    return torch.rand(1, channels, *sides, generator=torch.Generator().manual_seed(0))
