"""Tries a teacher on real images: its scale, its range of values, and whether it gives images at all."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from evo_c2f.errors import InputError
from supernet.teachers.found import RANGES, Found, Range

LARGEST = 256  # side of what is tried, of a teacher that takes any size
MOST_OUTSIDE = 0.05  # share of an image's values that may lie outside of the range, by more than 5 % of it
LEAST_SPREAD = 0.02  # standard deviation of an image's values in 0..1
CLEARLY = 0.8  # another range must come so much closer than 0..1


@dataclass(frozen=True)
class Teacher:
    """A teacher that fits: (1, 3, h, w) in 0..1 -> (1, 3, scale * h, scale * w) in 0..1.

    takes, gives: the ranges of the network's input and output.
    """

    found: Found
    scale: int
    takes: Range
    gives: Range

    @property
    def words(self) -> str:
        """What the probe found, for people."""
        ranges = f"values in {self.takes}" if self.takes == self.gives else f"{self.takes} in, {self.gives} out"
        larger = f"its output is {self.scale} times as large" if self.scale > 1 else "its output is as large"
        return f"{self.found.words}; RGB, {ranges}, {larger}"

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        """InputError if the network does not accept images of this size, or does not enlarge them as the first ones."""
        parts = [mapped_back(output_of(self.found, image[None], self.takes), self.gives) for image in x]
        height, width = (self.scale * side for side in x.shape[2:])
        for part in parts:
            if part.shape != (1, 3, height, width):
                raise InputError(f"{self.found.words} makes {shape_of(part)} of {shape_of(x)}, not {width}x{height}")
        return torch.cat(parts).clamp(0, 1)


def probe(
    found: Found, samples: Sequence[tuple[Tensor, Tensor]], scale: int, origin: str, given: Range | None
) -> Teacher:
    """The teacher, tried on samples (source, what its output should resemble), each (1, 3, h, w) in 0..1.

    given: its range, if the user names it; None: found out. InputError if it does not fit, or gives no images.
    """
    every = [cut_to(found, *sample) for sample in samples]
    # Of a flat picture, such as a white page, a good teacher's output is flat too, which tells nothing.
    cut = [(source, wanted) for source, wanted in every if source.std() >= LEAST_SPREAD] or every
    known = given or found.range
    pairs = [(known, known)] if known else [(takes, gives) for takes in RANGES for gives in RANGES]
    best: tuple[float, Range, Range] | None = None
    trouble = "gives no image"
    for takes, gives in pairs:
        outputs = [mapped_back(checked(output_of(found, x, takes), x, scale, origin), gives) for x, _ in cut]
        trouble = next((why for why in map(no_image, outputs) if why), "")
        if trouble:
            continue
        distance = sum(
            (output.clamp(0, 1) - wanted).abs().mean().item() for output, (_, wanted) in zip(outputs, cut, strict=True)
        )
        if best is None or distance < CLEARLY * best[0]:
            best = distance, takes, gives
    if best is None:
        ranges = f"in the range {known}" if known else f"in any of the ranges {', '.join(RANGES)}"
        raise InputError(f"teacher {origin} {trouble} {ranges}; name its range by teacher.range, or another file")
    return Teacher(found, scale, best[1], best[2])


def cut_to(found: Found, source: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """The middle of a large source and of what is wanted; whole for a teacher of one size."""
    height, width = source.shape[2:]
    if found.size is not None or max(height, width) <= LARGEST:
        return source, wanted
    scale = wanted.shape[2] // height
    rows, columns = ((side - min(side, LARGEST)) // 2 for side in (height, width))

    def middle(x: Tensor, unit: int) -> Tensor:
        return x[..., unit * rows : unit * (rows + LARGEST), unit * columns : unit * (columns + LARGEST)]

    return middle(source, 1), middle(wanted, scale)


def output_of(found: Found, x: Tensor, takes: Range) -> Tensor:
    """The network's own output for x in 0..1. InputError if it takes only images of another size."""
    if found.size is not None and tuple(x.shape[2:]) != found.size:
        height, width = found.size
        raise InputError(f"{found.words} takes images of {width}x{height} alone, these are {shape_of(x)}")
    low, high = RANGES[takes]
    output: object = found.run(x * (high - low) + low)
    if not isinstance(output, Tensor):
        raise InputError(f"{found.words} gives no tensor, but {type(output).__name__}")
    return output.float()


def mapped_back(output: Tensor, gives: Range) -> Tensor:
    low, high = RANGES[gives]
    return (output - low) / (high - low)


def checked(output: Tensor, x: Tensor, scale: int, origin: str) -> Tensor:
    """The output. InputError if its shape is not that of an image of this scale."""
    height, width = x.shape[2:]
    if output.dim() != 4 or output.shape[:2] != (1, 3):
        raise InputError(
            f"teacher {origin} gives {list(output.shape)} for one image; an image is [1, 3, height, width]"
        )
    if output.shape[2:] != (scale * height, scale * width):
        rows, columns = output.shape[2] / height, output.shape[3] / width
        larger = f"{rows:g} times as large" if rows == columns else shape_of(output)
        wanted = f"{scale} times as large" if scale > 1 else "as large as the input"
        raise InputError(
            f"teacher {origin} makes {larger} an image of {shape_of(x)}; the recipe's outputs are {wanted}"
        )
    return output


def no_image(output: Tensor) -> str:
    """Why these values, which should lie in 0..1, are no image; '' if they are one."""
    if not output.isfinite().all():
        return "gives values that are not finite"
    outside = ((output < -0.05) | (output > 1.05)).float().mean().item()
    if outside > MOST_OUTSIDE:
        return f"gives no image: {outside:.0%} of its values lie outside"
    if output.std() < LEAST_SPREAD:
        return "gives no image: all its values are nearly the same"
    return ""


def shape_of(x: Tensor) -> str:
    return f"{x.shape[3]}x{x.shape[2]}"
