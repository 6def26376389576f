"""Sample sheets: the same images by several networks side by side, as one picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evo_c2f.files import replacing
from supernet.batches.fixed import Side, count_images, images_at
from supernet.data.images import shown
from supernet.models.tiling import run

INCH_A_CELL, INCH_OF_TITLES, DOTS_AN_INCH = 1.3, 0.5, 110
ROWS = 10
SIDE = 512  # of an image in pixels; a cell is smaller


@torch.inference_mode()
def sample_columns(
    batches: Sequence[tuple[Tensor, Tensor]], networks: Mapping[str, nn.Module], device: torch.device
) -> dict[str, list[Tensor]]:
    """Title -> images: input, target, and each network's output, of images evenly spread over the batches.

    They are made smaller, if they have more than SIDE pixels a side.
    """
    last = count_images(Side(batches, 0)) - 1
    wanted = sorted({round(i * last / (ROWS - 1)) for i in range(ROWS)})
    columns: dict[str, list[Tensor]] = {title: [] for title in ("input", "target", *networks)}
    for source, target in images_at(batches, wanted):
        columns["input"].append(small(source))
        columns["target"].append(small(target))
        for title, network in networks.items():
            columns[title].append(small(run(network, source[None].to(device))[0].cpu()))
    return columns


def small(image: Tensor) -> Tensor:
    """A copy of the image (c, h, w), with at most SIDE pixels a side."""
    scale = SIDE / max(image.shape[1:])
    if scale >= 1:
        return image.clone()
    height, width = (max(1, round(scale * side)) for side in image.shape[1:])
    return F.interpolate(image[None], (height, width), mode="bicubic", antialias=True)[0]


def draw_sheet(columns: Mapping[str, Sequence[Tensor]], path: Path, dots: int = DOTS_AN_INCH) -> None:
    """Write a PNG: each column is a title, each row an image (1 or 3, h, w) in 0..1; all columns have the same length.

    dots: per inch; a cell is 1.3 inches wide.
    """
    from matplotlib.figure import Figure

    rows = len(next(iter(columns.values())))
    height = INCH_A_CELL * rows + INCH_OF_TITLES
    figure = Figure(figsize=(INCH_A_CELL * len(columns), height))
    # Not matplotlib's own layout, which takes longer than all the rest.
    room = {"left": 0.01, "right": 0.99, "bottom": 0.005, "top": 1 - INCH_OF_TITLES / height}
    axes = figure.subplots(rows, len(columns), squeeze=False, gridspec_kw={**room, "wspace": 0.04, "hspace": 0.04})
    for column, (title, images) in enumerate(columns.items()):
        axes[0, column].set_title(title, fontsize=7)
        for row, image in enumerate(images):
            axes[row, column].imshow(shown(image).convert("RGB"), interpolation="nearest")
            axes[row, column].axis("off")
    with replacing(path) as partial:
        figure.savefig(partial, dpi=dots)
