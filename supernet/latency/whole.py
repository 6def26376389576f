"""The latencies of a whole subnet, by the names of their metrics."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch

from evo_c2f.errors import DamagedFileError
from evo_c2f.files import write_text
from evo_c2f.json_text import to_json
from evo_c2f.space import Architecture
from supernet.latency.exported import REPEATS, actions, milliseconds
from supernet.latency.table import LatencyTable, Size, random_map
from supernet.network.generator import Frame, Supernet
from supernet.network.plain import PlainUpscaler
from supernet.timing import timed

PLAIN_WIDTHS = range(4, 97, 4)
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


def plain_latencies(file: Path, frame: Frame, output_size: Size, device: torch.device) -> Callable[[int, int], float]:
    """The milliseconds of the exported plain network of a width and a number of blocks; infinite beyond PLAIN_WIDTHS.

    They are those of 1 and 3 blocks, continued in a straight line. file: keeps what was timed, since another time would
    choose other networks; DamagedFileError if it can't be read.
    """
    if not file.exists():
        write_text(file, to_json(_plain_times(frame, output_size, device), indent=1) + "\n")
    try:
        ms: dict[str, float] = json.loads(file.read_text(encoding="utf-8"))
        lines = {width: (float(ms[f"{width}x1"]), float(ms[f"{width}x3"])) for width in PLAIN_WIDTHS}
    except (ValueError, TypeError, KeyError) as error:
        raise DamagedFileError(f"{file} holds no latencies of plain networks ({error}); remove it") from None

    def latency(width: int, blocks: int) -> float:
        if width not in lines:
            return math.inf
        one, three = lines[width]
        return one + (three - one) / 2 * (blocks - 1)

    return latency


def _plain_times(frame: Frame, output_size: Size, device: torch.device) -> dict[str, float]:
    """'48x3' (width and blocks) -> milliseconds, for each width with 1 and 3 blocks."""
    shapes = [(width, blocks) for width in PLAIN_WIDTHS for blocks in (1, 3)]
    networks = [PlainUpscaler(width, blocks, frame.scale, frame.input_channels) for width, blocks in shapes]
    image = random_map(frame.input_channels, frame.scale, output_size)
    runs = actions(networks, [image] * len(networks), device)
    return {f"{width}x{blocks}": milliseconds(run) for (width, blocks), run in zip(shapes, runs, strict=True)}
