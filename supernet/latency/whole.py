"""The latencies of a whole subnet, by the names of their metrics."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch

from evo_c2f.errors import DamagedFileError
from evo_c2f.files import write_text
from evo_c2f.json_text import to_json
from evo_c2f.space import Architecture
from supernet.latency.exported import REPEATS, actions, milliseconds
from supernet.latency.table import LatencyTable, Size, random_map, whole_ms
from supernet.network.generator import Frame, Supernet
from supernet.network.plain import PlainUpscaler
from supernet.timing import timed

PLAIN_WIDTHS = range(4, 97, 4)
T = TypeVar("T")
Timer = Callable[[Architecture], float]


@torch.inference_mode()
def torch_ms(supernet: Supernet, output_size: Size, architecture: Architecture) -> float:
    """Latency of the extracted subnet as a torch module on one image, on the supernet's device."""
    subnet = supernet.extract(architecture).eval()
    image = random_map(subnet.input_channels, subnet.scale, output_size).to(next(subnet.parameters()).device)
    return timed(lambda: subnet(image), image.device, REPEATS)


def together_ms(supernet: Supernet, output_size: Size, architectures: Sequence[Architecture]) -> list[float]:
    """Latency of each extracted subnet as an exported file, on the supernet's device. All are exported at once."""
    networks = [supernet.extract(architecture).cpu() for architecture in architectures]
    image = random_map(supernet.frame.input_channels, supernet.frame.scale, output_size)
    runs = actions(networks, [image] * len(networks), next(supernet.parameters()).device)
    return [milliseconds(run) for run in runs]


def timers(supernet: Supernet, output_size: Size, table: LatencyTable | None) -> Mapping[str, Timer]:
    """Metric -> its function of an architecture; without a table, torch's latency alone."""
    found: dict[str, Timer] = {"latency_torch_ms": partial(torch_ms, supernet, output_size)}
    return found | {"latency_ms": table, "latency_ratio": table.ratio} if table else found


def ratios_to_plain(
    architectures: Sequence[Architecture], frame: Frame, output_size: Size, device: torch.device
) -> list[float]:
    """Each subnet's latency over that of the plain network of 8 blocks and 48 channels, as exported files that take
    turns.
    """
    times, plain = whole_ms(architectures, frame, output_size, device)
    assert plain is not None, "only super-resolution has a plain network"
    return [ms / plain for ms in times]


def plain_latencies(
    shapes: Sequence[tuple[int, int]], frame: Frame, output_size: Size, device: torch.device
) -> list[float]:
    """The milliseconds of exported plain networks, each (width, blocks)."""
    networks = [PlainUpscaler(width, blocks, frame.scale, frame.input_channels) for width, blocks in shapes]
    image = random_map(frame.input_channels, frame.scale, output_size)
    return [milliseconds(run) for run in actions(networks, [image] * len(networks), device)]


def plain_line(file: Path, frame: Frame, output_size: Size, device: torch.device) -> Callable[[int, int], float]:
    """The milliseconds of the exported plain network of a width and a number of blocks; infinite beyond PLAIN_WIDTHS.

    They are those of 1 and 3 blocks, continued in a straight line. file: see `kept`.
    """
    shapes = {f"{width}x{blocks}": (width, blocks) for width in PLAIN_WIDTHS for blocks in (1, 3)}
    ms = kept(file, shapes, lambda some: plain_latencies(some, frame, output_size, device))

    def latency(width: int, blocks: int) -> float:
        if width not in PLAIN_WIDTHS:
            return math.inf
        one, three = ms[f"{width}x1"], ms[f"{width}x3"]
        return one + (three - one) / 2 * (blocks - 1)

    return latency


def kept(file: Path, wanted: Mapping[str, T], measure: Callable[[Sequence[T]], Sequence[float]]) -> dict[str, float]:
    """A number for each name, from the file or else measured, and added to it: another time would give other numbers.

    DamagedFileError if the file can't be read.
    """
    try:
        known = {name: float(value) for name, value in json.loads(file.read_text(encoding="utf-8")).items()}
    except FileNotFoundError:
        known = {}
    except (ValueError, TypeError, AttributeError) as error:
        raise DamagedFileError(f"{file} holds no latencies ({error}); remove it, and they are measured again") from None
    missing = {name: one for name, one in wanted.items() if name not in known}
    if missing:
        known |= zip(missing, measure([*missing.values()]), strict=True)
        write_text(file, to_json(known, indent=1) + "\n")
    return known
