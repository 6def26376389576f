"""The qualities by name: scores of a set of outputs against its targets, one batch after another."""

from collections.abc import Sequence
from statistics import fmean
from typing import Protocol

import torch
from torch import Tensor

from evo_c2f.errors import InputError
from supernet.batches import fixed
from supernet.metrics import frechet, perceptual
from supernet.metrics.frechet import Frechet
from supernet.metrics.perceptual import COLOURS, Lpips
from supernet.metrics.similarity import SSIM_WINDOW
from supernet.metrics.tasks import OF_OTHERS, OF_RGB, Metric, Task


class Quality(Protocol):
    """`add` each batch in order, then take the `value`, which starts anew; `reset` discards batches after an error."""

    def reset(self) -> None: ...
    def add(self, output: Tensor, target: Tensor) -> None: ...
    def value(self) -> float: ...


class MeanOf:
    """The mean over all images of a metric that gives one number an image."""

    def __init__(self, metric: Metric):
        self.metric, self.values = metric, list[Tensor]()

    def reset(self) -> None:
        self.values = []

    def add(self, output: Tensor, target: Tensor) -> None:
        self.values.append(self.metric(output, target))

    def value(self) -> float:
        mean = fmean(torch.cat(self.values).tolist())
        self.reset()
        return mean


def is_quality(name: str, task: Task) -> bool:
    """Whether the metric compares images, of perhaps other channels, rather than telling a network's cost."""
    return name in task.metrics or name in {*OF_RGB, *OF_OTHERS, "lpips"} or is_frechet(name)


def usual(task: Task) -> list[str]:
    """The qualities that a model is judged by if none is named."""
    return [*task.metrics, *(["lpips"] if task.frame.output_channels in COLOURS else [])]


def refuse_other_channels(name: str, task: Task) -> None:
    """InputError if the quality is of images of other channels than the task's."""
    channels = task.frame.output_channels
    if name not in task.metrics and (name in {*OF_RGB, *OF_OTHERS} or channels not in COLOURS):
        raise InputError(f"{name} is no quality of images of {channels} channels; there are {', '.join(usual(task))}")


def is_frechet(name: str) -> bool:
    return name.partition("_n")[0] in frechet.PROTOCOLS


def for_count(name: str, n_images: int) -> str:
    """The name of the same quality for so many images: fd_vgg_n191 becomes fd_vgg_n616 for 616 images."""
    kind, few, _ = name.partition("_n")
    return f"{kind}_n{n_images}" if few and is_frechet(name) else name


def named_by_count(names: Sequence[str], n_images: int) -> list[str]:
    """The names, in which a Frechet distance of too few images tells their number: fd_vgg becomes fd_vgg_n200."""
    few = {kind for kind, protocol in frechet.PROTOCOLS.items() if n_images < protocol.dimensions}
    return [f"{name}_n{n_images}" if name in few else name for name in names]


def count(targets: Sequence[Tensor], reals: Sequence[Tensor]) -> int:
    """The number of images that a Frechet distance is named by: of outputs, or of reals if these are fewer."""
    return min(fixed.count_images(targets), fixed.count_images(reals or targets))


def least_side(name: str, task: Task) -> int:
    """The smallest side, in pixels, of images for the quality."""
    if is_frechet(name):
        return 1 if name.startswith("fid") else perceptual.LEAST_SIDE["vgg"]  # Inception's are resized
    if name == "lpips":
        return perceptual.LEAST_SIDE["alex"]
    return 2 * task.border + (SSIM_WINDOW if name in ("ssim_y", "ssim_rgb", "ssim") else 1)


def refuse_unfit(name: str, task: Task, side: int, setting: str = "") -> None:
    """InputError if the quality can't be measured on images of that side, or of the task's channels. setting: the one
    that decides the side, if any.
    """
    refuse_other_channels(name, task)
    least, scale = least_side(name, task), task.frame.scale
    if side < least:
        larger = f"set {setting} to {-(-least // scale) * scale} or more" if setting else "give larger ones"
        raise InputError(f"{name} needs images of at least {least} pixels a side, these have {side}; {larger}")


def check(name: str, task: Task, n_images: int, side: int, setting: str = "") -> None:
    """InputError if the quality can't be measured on so many images of that smallest side, or lacks its weights."""
    refuse_unfit(name, task, side, setting)
    if name == "lpips":
        perceptual.backbone_weights("alex")
    if is_frechet(name):
        frechet.refuse_few(name, n_images)
        if name.startswith("fid"):
            frechet.inception_file()
        else:
            perceptual.backbone_weights("vgg")


def make(
    name: str, task: Task, targets: Sequence[Tensor], device: torch.device, reals: Sequence[Tensor] = ()
) -> Quality:
    """The quality of that name against these targets. InputError if it is not available, or if images are too few.

    reals: what a Frechet distance is against, if not the targets.
    """
    refuse_unfit(name, task, min(min(shape[2:]) for shape in fixed.shapes_of(targets)))
    if name == "lpips":
        return MeanOf(Lpips("alex").to(device))
    if is_frechet(name):
        frechet.refuse_few(name, count(targets, reals))
        return Frechet(name, reals or targets, device)
    return MeanOf(task.metrics[name])
