"""Uses a trained model: evaluates it, exports it, applies it to pictures."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from evo_c2f.errors import InputError
from evo_c2f.page.demo import DemoServer
from evo_c2f.workflows.session import cores
from supernet.data.aligned import Direction
from supernet.data.picture_files import tell_others
from supernet.device import choose_device
from supernet.drawing.demo import LoadedModels
from supernet.models import pictures
from supernet.models.card import write_card
from supernet.models.export import Format, export, metadata_of, sample_images
from supernet.models.judgement import costs_of, judge, latency, read_judged
from supernet.models.model import file_of, load_network, read_model

log = logging.getLogger(__name__)


def prepare(device: str, threads: int | None) -> torch.device:
    """The device with that name. threads: the CPU threads to use; None: one a core."""
    torch.set_num_threads(threads or cores())
    return choose_device(device)


def network_of(model: Path) -> nn.Module:
    """A plain module, frozen: (b, 3, h, w) in 0..1 -> its output, not clamped."""
    return load_network(model)


def about(model: Path) -> dict[str, Any]:
    """The metadata of a model's file."""
    return read_model(model).metadata


@dataclass(frozen=True)
class Images:
    """A benchmark folder (HR/, LR_bicubic/X4/), or a folder of A|B pairs.

    split, direction, load_size: only for pairs.
    """

    folder: Path
    split: str = "test"
    direction: Direction = "AtoB"
    load_size: int | None = None


def evaluate(
    model: Path, data: Images, metrics: Sequence[str], output_size: tuple[int, int] | None, device: torch.device
) -> dict[str, Any]:
    """`images`: the metrics of each image; `mean`: their means; `costs`: the model's costs.

    metrics: if empty, PSNR and SSIM on Y and RGB, and LPIPS. output_size: (height, width) for the costs; None: the size
    of the first image.
    """
    found = read_model(model, log.warning)
    images = read_judged(found, data.folder, data.split, data.direction, data.load_size, log.warning)
    result = judge(found, images, metrics or (*found.task.metrics, "lpips"), device)
    height, width = images[0].target.shape[2:]
    size = output_size or (height, width)
    result["costs"] = costs_of(found, size) | latency(found, size, device) | {"output_size": list(size)}
    return result


def export_model(
    model: Path,
    out: Path | None,
    form: Format,
    half: bool = False,
    samples: Sequence[Path] = (),
    overwrite: bool = False,
) -> Path:
    """Write a model as a file that runs without this project, and its card. Returns the file.

    out: None: the model's name with the suffix of `form`, beside the model. samples: real images to check the file on.
    InputError if `out` exists and `overwrite` is not set.
    """
    file = file_of(model)
    if file.suffix == ".onnx":
        raise InputError(f"{file} is exported already; name the model that it was made from")
    target = out or file.with_suffix(f".{form}")
    if target.suffix != f".{form}" or target.is_dir():
        raise InputError(f"{target} is no name for a file of the format {form}; end it in .{form}")
    if out and out.exists() and not overwrite:
        raise InputError(f"{out} is there already; name another file, or say --overwrite")
    found = read_model(model)
    worst = export(found.network, target, form, metadata_of(found), sample_images(samples), half)  # type: ignore[arg-type]
    log.info(
        f"{target}: {target.stat().st_size / 1e6:.3f} MB on disk; it differs from the network by at most {worst:.1g}"
    )
    card = target.with_suffix(".md")
    if not write_card(found, card, target.with_suffix(".onnx").name):
        log.info(f"{card} is there already, and no card of ours: it is left as it is")
    return target


def demo(models: Sequence[Path], samples: Sequence[Path], tile: int, port: int, device: torch.device) -> DemoServer:
    """The server of the page that tries models; `serve_forever` starts it. tile: as in `Application.run`.

    samples: pictures that the page offers. InputError if a model or a sample can't be read, or the port is taken.
    """
    return DemoServer(LoadedModels(models, samples, tile, device), port)


class Application:
    """Applies a model to a picture, or to every picture in a folder; the names stay the same in `out`."""

    def __init__(self, model: Path, source: Path, out: Path, overwrite: bool = False, skip: bool = False):
        """overwrite, skip: the treatment of existing outputs. InputError if no input exists, or if an output does."""
        self.network = load_network(model)
        self.pairs = pictures.plan(source, out, overwrite, skip)
        if source.is_dir():
            tell_others(source, log.warning, out)

    def run(self, tile: int, device: torch.device) -> Iterator[Path]:
        """Yields each written picture. tile: side of the tiles in input pixels; smaller tiles need less memory."""
        return pictures.apply(self.network.to(device), self.pairs, tile, device, log.warning)
