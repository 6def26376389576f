"""A large image in tiles, with bounded memory and the same result as for the whole image.

The tiles overlap by the network's reach. Layers that pool over the whole image get its statistics, which are gathered
tile by tile beforehand, one layer after the other.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from supernet.network.pooling import Pool

DEFAULT_TILE = 256
LARGEST = 2048 * 1024  # input pixels that are run at once to judge a network
LARGE_TILE = 1024  # of larger images


@runtime_checkable
class Generator(Protocol):
    """A network that can be tiled; all sizes except the scale are in pixels of its input.

    scale: the output's side over the input's; reach: how far an output pixel looks; grain: tiles begin at multiples of
    it; block: the network pads sides to a multiple of it. input_channels: of the images that it takes.
    """

    input_channels: int

    @property
    def scale(self) -> int: ...
    @property
    def reach(self) -> int: ...
    @property
    def grain(self) -> int: ...
    @property
    def block(self) -> int: ...
    def __call__(self, x: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Span:
    """One tile along one axis: its own core, and the larger part that it reads."""

    core: tuple[int, int]
    read: tuple[int, int]

    def inside(self, factor: float, end: int | None = None) -> slice:
        """The core's position in the part that is read, at `factor` times the resolution; `end` for another end of the
        core.
        """
        start, stop = self.core[0] - self.read[0], (self.core[1] if end is None else end) - self.read[0]
        return slice(round(start * factor), round(stop * factor))


def spans(length: int, tile: int, reach: int, grain: int) -> list[Span]:
    """The tiles along an axis, in order: cores of `tile` pixels, rounded up to the grain, that meet without a gap."""
    tile, margin = (-(-n // grain) * grain for n in (tile, reach))
    return [
        Span((start, min(start + tile, length)), (max(0, start - margin), min(start + tile + margin, length)))
        for start in range(0, length, tile)
    ]


def tiles(network: Generator, image: Tensor, tile: int = DEFAULT_TILE) -> Iterator[tuple[slice, slice, Tensor]]:
    """(rows, columns, output) of each tile's core in the output, for an image (1, c, h, w) in 0..1."""
    grid, scale = grid_of(network, image, tile), network.scale
    with whole_image_statistics(network, image, grid), torch.inference_mode():
        for rows, columns in grid:
            output = network(cut(image, rows, columns))
            down, along = (slice(scale * span.core[0], scale * span.core[1]) for span in (rows, columns))
            yield down, along, output[..., rows.inside(scale), columns.inside(scale)]


def grid_of(network: Generator, image: Tensor, tile: int) -> list[tuple[Span, Span]]:
    """The (rows, columns) of each tile of an image (..., h, w), in order."""
    rows, columns = (spans(length, tile, network.reach, network.grain) for length in image.shape[-2:])
    return list(product(rows, columns))


def is_large(shape: Sequence[int]) -> bool:
    """Whether inputs of this shape (b, c, h, w) are run in tiles."""
    return shape[2] * shape[3] > LARGEST


def run(network: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """The network's output for (b, c, h, w); large images in tiles, if it is a generator of ours."""
    if is_large(images.shape) and isinstance(network, nn.Module) and isinstance(network, Generator):
        outputs = [run_tiled(network, image[None], LARGE_TILE) for image in images]
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs)
    return network(images)


def run_tiled(network: Generator, image: Tensor, tile: int = DEFAULT_TILE) -> Tensor:
    """The network's output for (1, c, h, w), assembled from tiles."""
    sides = [network.scale * side for side in image.shape[-2:]]
    output: Tensor | None = None
    for rows, columns, part in tiles(network, image, tile):
        output = image.new_empty(1, part.shape[1], *sides) if output is None else output
        output[..., rows, columns] = part
    assert output is not None
    return output


def cut(image: Tensor, rows: Span, columns: Span) -> Tensor:
    return image[..., slice(*rows.read), slice(*columns.read)]


class ReachedError(Exception):
    """A pool without the whole image's statistics was reached."""

    def __init__(self, pool: Pool, x: Tensor):
        self.pool, self.x = pool, x


def stop_at(pool: nn.Module, inputs: tuple[Tensor]) -> None:
    pool = cast(Pool, pool)
    if pool.fixed is None:
        raise ReachedError(pool, inputs[0])


@contextmanager
def whole_image_statistics(network: Generator, image: Tensor, grid: list[tuple[Span, Span]]) -> Iterator[None]:
    """Within it, every pool that the network runs uses the statistics of the whole image."""
    pools = [module for module in cast(nn.Module, network).modules() if isinstance(module, Pool)]
    if len(grid) == 1:
        yield
        return
    try:
        while fix_next(network, pools, image, grid):
            pass
        yield
    finally:
        for pool in pools:
            pool.fixed = None


@torch.inference_mode()
def fix_next(network: Generator, pools: list[Pool], image: Tensor, grid: list[tuple[Span, Span]]) -> bool:
    """Give the network's next pool its statistics; False if all pools have them."""
    hooks = [pool.register_forward_pre_hook(stop_at) for pool in pools]
    n, total, squares = 0, torch.zeros(()), torch.zeros(())
    reached: Pool | None = None
    try:
        for rows, columns in grid:
            try:
                network(cut(image, rows, columns))
                return False
            except ReachedError as stop:
                reached = stop.pool
                x = core_of(stop.x, rows, columns, image, network.block).double()
                n, total = n + x.shape[2] * x.shape[3], total + x.sum((2, 3), keepdim=True)
                squares = squares + x.square().sum((2, 3), keepdim=True)
    finally:
        for hook in hooks:
            hook.remove()
    assert reached is not None
    mean = total / n
    reached.fixed = (mean.float(), (squares / n - mean.square()).clamp(min=0).float())
    return True


def core_of(x: Tensor, rows: Span, columns: Span, image: Tensor, block: int) -> Tensor:
    """The positions of a tile's features that belong to no other tile; the last tiles also own the padding."""
    parts = []
    for span, positions, length in zip((rows, columns), x.shape[-2:], image.shape[-2:], strict=True):
        read = -(-(span.read[1] - span.read[0]) // block) * block
        end = -(-length // block) * block if span.core[1] == length else None
        parts.append(span.inside(positions / read, end))
    return x[..., parts[0], parts[1]]
