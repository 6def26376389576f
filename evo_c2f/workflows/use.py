"""What a trained model is for: judge it, export it, put pictures through it."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from evo_c2f.errors import InputError
from evo_c2f.workflows.session import cores
from supernet.data.aligned import Direction
from supernet.data.picture_files import tell_others
from supernet.jobs.job import choose_device
from supernet.models import pictures
from supernet.models.card import write_card
from supernet.models.export import Format, export, metadata_of, sample_images
from supernet.models.judgement import costs_of, judge, latency, read_judged
from supernet.models.model import file_of, load_network, read_model

log = logging.getLogger(__name__)


def prepare(device: str, threads: int | None) -> torch.device:
    """The device of that name, with so many threads, or one a core."""
    torch.set_num_threads(threads or cores())
    return choose_device(device)


@dataclass(frozen=True)
class Images:
    """A benchmark's folder (HR/, LR_bicubic/X4/), or one of A|B pairs; of pairs: which split, way and size."""

    folder: Path
    split: str = "test"
    direction: Direction = "AtoB"
    load_size: int | None = None


def evaluate(
    model: Path, data: Images, metrics: Sequence[str], output_size: tuple[int, int] | None, device: torch.device
) -> dict[str, Any]:
    """`images`: the metrics of each; `mean`; `costs`, for an output of (height, width) or of the first image's size.

    metrics: by default PSNR and SSIM on Y and RGB, and LPIPS.
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
    """Write a model as a file that runs without this project: `out`, or model.onnx beside the model; and its card.

    samples: real images to check the file on. InputError if `out` is there already, unless `overwrite`.
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


class Application:
    """A picture, or every picture in a folder, to go through a model; the names stay the same in `out`."""

    def __init__(self, model: Path, source: Path, out: Path, overwrite: bool = False, skip: bool = False):
        """InputError if there is nothing to do, or something in its way; overwrite, skip: what is there."""
        self.network = load_network(model)
        self.pairs = pictures.plan(source, out, overwrite, skip)
        if source.is_dir():
            tell_others(source, log.warning, out)

    def run(self, tile: int, device: torch.device) -> Iterator[Path]:
        """Each picture that was written. tile: the side of the parts, in pixels of the input, that memory follows."""
        return pictures.apply(self.network.to(device), self.pairs, tile, device, log.warning)
