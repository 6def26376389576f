"""Small pictures for a page: the same parts of held-out images by many subnets, as WebP in data URLs."""

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from supernet.batches.fixed import Side, count_images, images_at
from supernet.data.images import shown
from supernet.metrics.tasks import Task
from supernet.models.tiling import run
from supernet.network.generator import Frame

N_IMAGES = 3
SIDE = 96  # of a picture, in pixels: some 3 kB each
MARGIN = 16  # of the input around a part, so that its edge is no edge to the network
MOST_SUBNETS = 48  # of one front


@dataclass(frozen=True)
class Part:
    """A part of an image: the input with a margin, the part's position in it, and its target (3, h, w)."""

    source: Tensor
    top: int
    left: int
    side: tuple[int, int]
    target: Tensor


def parts_of(batches: Sequence[tuple[Tensor, Tensor]], frame: Frame) -> list[Part]:
    """The most detailed part of each of a few images, spread evenly; whole images if the task translates."""
    last = count_images(Side(batches, 0)) - 1
    wanted = sorted({round(i * last / (N_IMAGES - 1)) for i in range(N_IMAGES)})
    return [_part(*pair, frame) for pair in images_at(batches, wanted)]


def _part(source: Tensor, target: Tensor, frame: Frame) -> Part:
    (height, width), scale = source.shape[1:], frame.scale
    side = (min(SIDE // scale, height), min(SIDE // scale, width)) if frame.residual else (height, width)
    places = [
        (top, left)
        for top in range(0, height - side[0] + 1, max(1, side[0] // 2))
        for left in range(0, width - side[1] + 1, max(1, side[1] // 2))
    ]
    y, x = max(places, key=lambda p: float(_cut(target, p, side, scale).std()))
    top, left = max(0, y - MARGIN), max(0, x - MARGIN)
    around = source[:, top : y + side[0] + MARGIN, left : x + side[1] + MARGIN]
    # Copies: a view would keep the whole image.
    return Part(around.clone(), y - top, x - left, side, _cut(target, (y, x), side, scale).clone())


def _cut(image: Tensor, place: tuple[int, int], side: tuple[int, int], scale: int) -> Tensor:
    (top, left), (height, width) = place, side
    return image[:, top * scale : (top + height) * scale, left * scale : (left + width) * scale]


@torch.inference_mode()
def outputs(network: nn.Module, parts: Iterable[Part], scale: int, device: torch.device) -> list[str]:
    """A network's output for each part, as data URLs."""
    made = ((p, run(network, p.source[None].to(device))[0].cpu()) for p in parts)
    return [as_url(_cut(image, (p.top, p.left), p.side, scale)) for p, image in made]


def comparisons(parts: Sequence[Part], task: Task) -> dict[str, list[str]]:
    """The pictures beside them: the inputs, the baseline, the targets."""
    scale = task.frame.scale
    inputs = [as_url(_cut(p.source, (p.top, p.left), p.side, 1)) for p in parts]
    shown = {"input": inputs, "target": [as_url(p.target) for p in parts]}
    if scale == 1:
        return shown
    made = [_cut(task.baseline(p.source[None])[0], (p.top, p.left), p.side, scale) for p in parts]
    return {"input": inputs, task.baseline_name: [as_url(image) for image in made], "target": shown["target"]}


def as_url(image: Tensor) -> str:
    """An image (1 or 3, h, w) in 0..1, at most SIDE pixels a side, as a WebP in a data URL."""
    picture, file = shown(image), io.BytesIO()
    picture.thumbnail((SIDE, SIDE))
    picture.save(file, "WEBP", quality=85, method=4)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"


def spread_evenly(n: int) -> list[int]:
    """At most MOST_SUBNETS of the numbers below n, including both ends."""
    return sorted({round(i * (n - 1) / (MOST_SUBNETS - 1)) for i in range(MOST_SUBNETS)})
