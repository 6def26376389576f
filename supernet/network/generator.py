"""The generator: a supernet whose weights all subnets share, and one subnet as a plain module.

Both run the same route over the levels (`run_route`), with parts from different places. On arriving at a level, the
transition's output is added to the level's last features. On a first visit, it is added to the level's own stem of the
input. So the features of a level mean the same on all paths.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evo_c2f.errors import InputError
from evo_c2f.space import Architecture, SearchSpace, inner_width
from supernet.network.operators import OPERATORS, Activation
from supernet.network.slicing import Conv, SlicedConv2d, copy_prefix


@dataclass(frozen=True)
class Frame:
    """The settings of generators that a task fixes.

    `residual`: the output is added to the enlarged input. `normalise`: operators see instance-normalised features
    (without running statistics or parameters, so that any prefix of the channels is normalised alike).
    """

    input_level: int  # x4 super-resolution: 2
    residual: bool
    normalise: bool = False
    activation: Activation = "gelu"
    first_step: int = 2  # from level 1 to level 0, the output; x3: 3 (docs/decisions/0019). All others are 2.
    input_channels: int = 3
    output_channels: int = 3  # as many where `residual`
    bounded: bool = False  # the output passes a sigmoid (docs/decisions/0020); not where `residual`

    def span(self, level: int) -> int:
        """Pixels of the output that a position of the level spans along a side."""
        return self.first_step * 2 ** (level - 1) if level else 1

    @property
    def scale(self) -> int:
        """The output's side over the input's."""
        return self.span(self.input_level)

    def step(self, level: int, other: int) -> int:
        """How many times finer one of the levels is than the other."""
        spans = self.span(level), self.span(other)
        return max(spans) // min(spans)


@dataclass(frozen=True)
class Part:
    """One module of a network: `kind` is stem, transition, operator or head.

    `place` names the supernet's module that the part is a slice of: (level,), (source level, level) or (position,
    level, operator). `inner` is the operator's inner width.
    """

    kind: str
    place: tuple[Any, ...]
    level: int
    width: int
    inner: int = 0
    source_width: int = 0


def parts(architecture: Architecture) -> Iterator[Part]:
    """The modules that the architecture runs, in order."""
    visited: set[int] = set()
    last: int | None = None
    for cell in architecture.cells:
        level, width = cell.level, architecture.width(cell.level)
        if level not in visited:
            visited.add(level)
            yield Part("stem", (level,), level, width)
        if last is not None and last != level:
            yield Part("transition", (last, level), level, width, source_width=architecture.width(last))
        yield Part("operator", (cell.position, level, cell.operator), level, width, inner=cell.inner)
        last = level
    assert last is not None, "an architecture has at least one cell"
    yield Part("head", (last,), last, architecture.width(last))


def convolutions(part: Part, frame: Frame) -> dict[str, Conv]:
    """The part's convolutions, by their names in its module ('' is the module itself)."""
    if part.kind == "stem":  # on the input, which is resized to a finer level, or folded into channels
        folded = max(1, frame.span(part.level) // frame.scale)
        return {"": Conv(frame.input_channels * folded**2, part.width, 3)}
    if part.kind == "head":  # before the pixel-shuffle to the output
        return {"": Conv(part.width, frame.output_channels * frame.span(part.level) ** 2, 3)}
    if part.kind == "transition":  # after the pixel-unshuffle to a coarser level, before the shuffle to a finer one
        source, level = part.place
        area = frame.step(source, level) ** 2
        into, out = (area, 1) if level > source else (1, area)
        return {"": Conv(into * part.source_width, out * part.width)}
    operator = OPERATORS[part.place[2]]
    return operator.convolutions(part.width, part.inner * operator.expansion)


def build(part: Part, frame: Frame) -> nn.Module:
    """A fresh module for the part; transitions start at zero, as do operators."""
    if part.kind == "operator":
        return OPERATORS[part.place[2]](part.width, part.inner, frame.activation)
    conv = SlicedConv2d(convolutions(part, frame)[""])
    for parameter in conv.parameters() if part.kind == "transition" else ():
        nn.init.zeros_(parameter)
    return conv


def enlarged(x: Tensor, scale: int) -> Tensor:
    """The image, bilinearly enlarged."""
    return x if scale == 1 else F.interpolate(x, scale_factor=float(scale), mode="bilinear")


def run_part(part: Part, module: Callable[..., Tensor], x: Tensor, frame: Frame) -> Tensor:
    """Run a module that may be wider than the part."""
    if part.kind == "stem":
        step = frame.step(part.level, frame.input_level)
        x = F.pixel_unshuffle(x, step) if part.level > frame.input_level else enlarged(x, step)
        return module(x, part.width)
    if part.kind == "head":
        return F.pixel_shuffle(module(x), frame.span(part.level))
    if part.kind == "transition":
        source, level = part.place
        step = frame.step(source, level)
        if level > source:
            return module(F.pixel_unshuffle(x, step), part.width)
        return F.pixel_shuffle(module(x, step**2 * part.width), step)
    return module(x, part.inner, frame.normalise)


def refuse_other_channels(x: Tensor, channels: int) -> None:
    """InputError if x is no batch of such images: sliced convolutions would silently take a prefix of the weights."""
    if x.dim() != 4 or x.shape[1] != channels:
        kind = "RGB images" if channels == 3 else "images"
        raise InputError(f"the network takes {kind} (b, {channels}, h, w), not {tuple(x.shape)}; convert them first")


def pad_to_multiple(x: Tensor, multiple: int, least: int = 1) -> Tensor:
    """Reflection-pad x at the bottom and right, until its sides are multiples and at least `least`.

    If the image is smaller than the padding, the reflection repeats. There are no branches by size, since an exported
    program would keep one for all sizes. A trace, whose sizes are tensors, is for multiples alone.
    """
    if multiple == 1 or torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        return x
    sides = [torch.sym_max(side + -side % multiple, least) for side in x.shape[-2:]]
    if not torch.compiler.is_exporting() and all(new < 2 * old for new, old in zip(sides, x.shape[-2:], strict=True)):
        pad = [new - old for new, old in zip(sides, x.shape[-2:], strict=True)]
        return F.pad(x, (0, pad[1], 0, pad[0]), mode="reflect") if any(pad) else x
    for axis, side in zip((-2, -1), sides, strict=True):
        last = torch.arange(x.shape[axis], device=x.device)[-1:]
        places = torch.arange(side, device=x.device) % (2 * last).clamp(min=1)
        x = x.index_select(axis, last - (last - places).abs())
    return x


def block(route: Iterable[Part], frame: Frame) -> int:
    """Pixels of the input that one position of the coarsest visited level spans."""
    return max(1, frame.span(max(part.level for part in route)) // frame.scale)


def reach(part: Part, frame: Frame) -> float:
    """The largest distance, in pixels of the input, that the part looks."""
    unit = frame.span(part.level) / frame.scale  # what a position spans
    convs = convolutions(part, frame).values()
    parallel = max((conv.reach for conv in convs if conv.shrink > 1), default=0)  # the scales of one operator
    own = unit * (sum(conv.reach for conv in convs if conv.shrink <= 1) + parallel)
    # On the way to a position its whole span is seen; a bilinear enlargement looks at the neighbours.
    arriving = part.kind == "stem" or (part.kind == "transition" and part.level > part.place[0])
    return own + (max(1.0, unit) if arriving else 0.0)


def run_route(x: Tensor, route: list[Part], module: Callable[[int, Part], nn.Module], frame: Frame) -> Tensor:
    """x (b, c, h, w) in 0..1 at the input's level -> the output at level 0, not clamped unless it is bounded.

    The input is reflect-padded to a multiple of the coarsest visited level, and the output cropped. InputError if x has
    other channels than the frame's input.
    """
    refuse_other_channels(x, frame.input_channels)
    height, width = x.shape[-2:]
    start: Tensor | float = enlarged(x, frame.scale) if frame.residual else 0.5
    x = pad_to_multiple(x, block(route, frame)) - 0.5  # zero padding then means mid-grey, not black
    held: dict[int, Tensor] = {}
    for index, part in enumerate(route):
        if part.kind == "stem":
            held[part.level] = run_part(part, module(index, part), x, frame)
        elif part.kind == "transition":
            arriving = run_part(part, module(index, part), held[part.place[0]], frame)
            held[part.level] = held[part.level] + arriving
        elif part.kind == "operator":
            held[part.level] = run_part(part, module(index, part), held[part.level], frame)
    output = run_part(route[-1], module(len(route) - 1, route[-1]), held[route[-1].level], frame)
    output = output[..., : height * frame.scale, : width * frame.scale]
    return torch.sigmoid(2 * output) if frame.bounded else output + start


class Subnet(nn.Module):
    """One architecture as a plain module with its own weights; each transition has its own copy."""

    def __init__(self, architecture: Architecture, frame: Frame):
        super().__init__()
        self.architecture, self.frame, self.input_channels = architecture, frame, frame.input_channels
        self.route = list(parts(architecture))
        self.layers = nn.ModuleList(build(part, frame) for part in self.route)

    @property
    def scale(self) -> int:
        """The output's side over the input's."""
        return self.frame.scale

    @property
    def block(self) -> int:
        """In pixels of the input: sides are padded to a multiple of it."""
        return block(self.route, self.frame)

    @property
    def grain(self) -> int:
        """In pixels of the input: all pooling windows begin at a multiple of it."""
        windows = [
            conv.shrink * self.frame.span(part.level)
            for part in self.route
            for conv in convolutions(part, self.frame).values()
            if conv.shrink
        ]
        return math.lcm(self.block, *(window // math.gcd(window, self.scale) for window in windows))

    @property
    def reach(self) -> int:
        """In pixels of the input: how far an output pixel looks, except through pools over the whole image."""
        return math.ceil(sum(reach(part, self.frame) for part in self.route))

    def forward(self, x: Tensor) -> Tensor:
        """x (b, input channels, h, w) in 0..1 -> (b, output channels, scale * h, scale * w)."""
        return run_route(x, self.route, lambda index, part: self.layers[index], self.frame)


class Supernet(nn.Module):
    """All subnets of a space at once: every (cell, level, operator) at full width, a stem and a head for each level,
    and the transitions between neighbouring levels, shared by all cells.
    """

    def __init__(self, space: SearchSpace, frame: Frame):
        """The space's operators must be among OPERATORS."""
        super().__init__()
        self.space, self.frame = space, frame
        self.modules_by_place = nn.ModuleDict({name(part): build(part, frame) for part in all_parts(space)})

    def forward(self, x: Tensor, architecture: Architecture) -> Tensor:
        """The same output as `extract(architecture)` for x."""
        return run_route(x, list(parts(architecture)), lambda _, part: self.module_of(part), self.frame)

    def module_of(self, part: Part) -> nn.Module:
        """The full-width module that the part is a slice of."""
        return self.modules_by_place[name(part)]

    def slices(self, part: Part) -> Iterator[tuple[nn.Parameter, tuple[slice, ...]]]:
        """The supernet's parameters behind a part, each with the prefix that the part uses."""
        module = self.module_of(part)
        for place, spec in convolutions(part, self.frame).items():
            conv = module.get_submodule(place)
            assert isinstance(conv, SlicedConv2d)
            yield conv.weight, (slice(spec.outputs), slice(1 if spec.depthwise else spec.inputs))
            yield conv.bias, (slice(spec.outputs),)

    def used(self, architectures: Iterable[Architecture]) -> list[nn.Parameter]:
        """The parameters behind the architectures, each once."""
        taken = (self.slices(part) for architecture in architectures for part in parts(architecture))
        return list(dict.fromkeys(parameter for slices in taken for parameter, _ in slices))

    def extract(self, architecture: Architecture) -> Subnet:
        """The subnet as a module with copied weights, on the supernet's device."""
        subnet = Subnet(architecture, self.frame)
        for part, layer in zip(subnet.route, subnet.layers, strict=True):
            copy_prefix(self.module_of(part), layer)
        return subnet.to(next(self.parameters()).device)


def name(part: Part) -> str:
    """The part's name in the supernet's state."""
    return "_".join((part.kind, *map(str, part.place)))


def all_parts(space: SearchSpace) -> Iterator[Part]:
    """Every module of the supernet, at full width."""
    widest = {level: widths[-1] for level, widths in space.widths.items()}
    for level, width in widest.items():
        yield Part("stem", (level,), level, width)
        yield Part("head", (level,), level, width)
        for source in (level - 1, level + 1):
            if source in widest:
                yield Part("transition", (source, level), level, width, source_width=widest[source])
        inner = inner_width(width, space.inner_ratios[-1])
        for position in range(space.n_cells):
            for operator in space.operators:
                yield Part("operator", (position, level, operator), level, width, inner=inner)
