"""A network as a file that runs without this project, in one of several formats, checked as soon as it is written."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from evo_c2f.errors import FailedError, InputError
from evo_c2f.files import replacing
from supernet.data.images import read_rgb, to_tensor
from supernet.data.photographs import embedded
from supernet.formats.ncnn_file import open_ncnn, write_ncnn
from supernet.formats.onnx_file import write_onnx
from supernet.formats.openvino_file import open_openvino, write_openvino
from supernet.formats.program import load_pt2, write_pt2
from supernet.formats.shapes import AS_IT_IS, How, random_image
from supernet.models.model import Model
from supernet.models.onnx_runtime import OnnxNetwork
from supernet.models.pictures import read_picture
from supernet.spandrel import open_spandrel, write_spandrel

TOLERANCE = 1e-4
LEAST_SIDE = 16
PROBES = ((1, 64, 64), (2, 47, 33), (1, 24, 40))  # batch, height, width
CROPS = ((96, 128), (75, 53), (64, 64))  # of photographs, to test a file on


@dataclass(frozen=True)
class Format:
    """ending: of the file's usual name; beside: the suffix of a second file; options: those of `How` that it knows.

    multiples: it takes single images alone, whose sides are multiples of the network's grain.
    """

    ending: str
    write: Callable[[nn.Module, Path, Mapping[str, Any], How], None]
    load: Callable[[Path], Callable[[Tensor], Tensor]]
    options: tuple[str, ...] = ()
    beside: str | None = None
    multiples: bool = False


def open_onnx(path: Path) -> OnnxNetwork:
    return OnnxNetwork(path, warn=lambda sentence: None)


FORMATS = {
    "onnx": Format(".onnx", write_onnx, open_onnx, ("half", "opset", "size", "transposed")),
    "pt2": Format(".pt2", write_pt2, load_pt2, ("size",)),
    "openvino": Format(".xml", write_openvino, open_openvino, ("half", "opset", "size"), beside=".bin"),
    "ncnn": Format(".ncnn.param", write_ncnn, open_ncnn, ("half", "size"), beside=".bin", multiples=True),
    "spandrel": Format(".spandrel.safetensors", write_spandrel, open_spandrel),
}
OPTIONS = {"half": "--half", "opset": "--opset", "size": "--input-size", "transposed": "--upsampling"}


def export(
    network: Any,
    path: Path,
    form: str,
    metadata: Mapping[str, Any],
    samples: Sequence[Tensor],
    how: How = AS_IT_IS,
) -> float:
    """Write the file, for images (b, c, h, w) in 0..1 of any b, h and w; the largest difference found.

    samples: real inputs to test the file on, beside random ones; without any, crops of photographs. FailedError, with
    nothing written, if an output differs by more than 1e-4.
    """
    format = FORMATS[form]
    for name, option in OPTIONS.items():
        if getattr(how, name) and name not in format.options:
            raise InputError(f"the format {form} has no such option; leave {option} out")
    network = network.cpu().float().eval()
    if how.half:
        round_to_half(network)
    channels = network.input_channels
    images = [fitting(image, network, form, how.size) for image in samples or photographs(channels)]
    images += [fitting(random_image((b, channels, h, w)), network, form, how.size) for b, h, w in PROBES]
    with ExitStack() as stack:
        partial = stack.enter_context(replacing(path))
        if format.beside:
            stack.enter_context(replacing(path.with_suffix(format.beside)))
        format.write(network, partial, metadata, how)
        worst = largest_difference(network, format.load(partial), images)
        if not worst <= TOLERANCE:
            raise FailedError(f"the {form} file differs by {worst:.2g} from the network, more than {TOLERANCE:g}")
    return worst


def fitting(image: Tensor, network: Any, form: str, size: tuple[int, int] | None) -> Tensor:
    """As much of the image as the file takes; of too small an image copies in all directions, for a fixed size."""
    if size:
        copies = [-(-side // own) for side, own in zip(size, image.shape[2:], strict=True)]
        return image[:1].repeat(1, 1, *copies)[..., : size[0], : size[1]].contiguous()
    if not FORMATS[form].multiples:
        return image
    height, width = (max(side // network.grain, 2) * network.grain for side in image.shape[2:])
    return fitting(image, network, form, (height, width))


def metadata_of(model: Model, size: tuple[int, int] | None = None) -> dict[str, Any]:
    """A file's description of itself: the task, its inputs and outputs, the network, and its training.

    size: the only (height, width) of its input; None: it takes any.
    """
    taken, given, rgb = model.task.frame.input_channels, model.task.frame.output_channels, {3: "RGB "}
    n, low, high = "b", "h, w", f"{model.scale} h, {model.scale} w"
    if size:
        n, low, high = "1", f"{size[0]}, {size[1]}", f"{model.scale * size[0]}, {model.scale * size[1]}"
    return {
        "task": model.task.name,
        "scale": model.scale,
        "input": f"image: float32 ({n}, {taken}, {low}), {rgb.get(taken, '')}in 0..1",
        "output": f"output: float32 ({n}, {given}, {high}), {rgb.get(given, '')}in 0..1, to be clamped",
        **model.metadata,
    }


def photographs(channels: int) -> list[Tensor]:
    """Crops, of several sizes, of photographs that come with scikit-image; their three channels in turn."""
    colours = [channel % 3 for channel in range(channels)]
    pictures = [to_tensor(read_rgb(path))[None, colours] for path in embedded()[: len(CROPS)]]
    return [picture[..., 100 : 100 + h, 100 : 100 + w] for picture, (h, w) in zip(pictures, CROPS, strict=True)]


def sample_images(paths: Sequence[Path], channels: int) -> list[Tensor]:
    """The images (1, c, h, w) in the files. InputError if one can't be read, or is too small for a test."""
    images = [torch.from_numpy(read_picture(path, channels).colour).movedim(-1, 0)[None] for path in paths]
    for path, image in zip(paths, images, strict=True):
        if min(image.shape[2:]) < LEAST_SIDE:
            raise InputError(f"{path} is too small to try a network on; name one of at least {LEAST_SIDE} pixels")
    return images


@torch.no_grad()
def round_to_half(network: nn.Module) -> None:
    """Round the weights to 16-bit values."""
    for parameter in network.parameters():
        parameter.copy_(parameter.half().float())


@torch.no_grad()
def largest_difference(network: nn.Module, found: Callable[[Tensor], Tensor], images: Sequence[Tensor]) -> float:
    """The largest difference over all pixels of all images; NaN counts as one."""
    return max(float((network(image) - found(image)).abs().nan_to_num(float("inf")).max()) for image in images)
