"""Teachers of the super-resolution world (ESRGAN, SPAN, SwinIR, ...), by the package spandrel."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from evo_c2f.errors import InputError
from supernet.metrics.vision import make_torchvision_importable
from supernet.teachers.found import Found


def read(weights: Mapping[str, Any], origin: str) -> Found:
    """The network that spandrel builds from weights. InputError if it knows none, or if its images are not RGB."""
    make_torchvision_importable()  # which spandrel imports
    try:
        import spandrel
    except ImportError:
        raise InputError(f"{origin} needs the package spandrel; run 'pip install spandrel'") from None
    try:
        found = spandrel.ModelLoader().load_from_state_dict(spandrel.canonicalize_state_dict(dict(weights)))
    except spandrel.UnsupportedModelError:
        raise InputError(
            f"{origin} is of an architecture that spandrel {spandrel.__version__} does not know, and none of "
            "pytorch-CycleGAN-and-pix2pix; export it to ONNX, or name it by a --plugin"
        ) from None
    except Exception as error:  # whatever its detection stumbles over
        raise InputError(f"{origin} can't be read by spandrel: {type(error).__name__}: {error}") from None
    name = found.architecture.name
    if not isinstance(found, spandrel.ImageModelDescriptor):
        raise InputError(f"{origin} holds {name}, which needs a mask beside the image; a teacher takes images alone")
    if (found.input_channels, found.output_channels) != (3, 3):
        raise InputError(
            f"{origin} holds {name} of {found.input_channels} channels in and {found.output_channels} out; a teacher "
            "takes and gives 3"
        )
    found.eval().model.requires_grad_(False)

    def run(x: Tensor) -> Tensor:
        output: Tensor = found.to(x.device)(x)
        return output

    return Found(run, f"{name}, x{found.scale}", "0..1")
