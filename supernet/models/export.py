"""A network as a file that runs without this project: ONNX, or torch's own exported program."""

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.export import Dim

from evo_c2f.errors import FailedError, InputError
from evo_c2f.files import replacing
from evo_c2f.json_text import to_json
from supernet.models.model import Model
from supernet.models.onnx_runtime import OnnxNetwork
from supernet.models.pictures import read_picture
from supernet.models.seal import seal

Format = Literal["onnx", "pt2"]
TOLERANCE = 1e-4
# Not a multiple of anything: no branch is taken for good because its size happens to fit.
EXAMPLE = (2, 3, 101, 90)
LEAST_SIDE = 16
PROBES = ((1, 3, 64, 64), (2, 3, 47, 33), (1, 3, 24, 40))


def export(
    network: nn.Module, path: Path, form: Format, metadata: Mapping[str, Any], samples: Sequence[Tensor], half: bool
) -> float:
    """Write the file, for images (b, 3, h, w) in 0..1 with dynamic b, h and w; the largest difference found.

    samples: real inputs to test the file on, beside random ones. half: stores the weights in 16 bits and computes in 32
    (ONNX alone). FailedError, with nothing written, if an output differs by more than 1e-4.
    """
    if half and form != "onnx":
        raise InputError(f"16-bit weights are for ONNX; leave --half out for {form}")
    network = network.cpu().float().eval()
    if half:
        round_to_half(network)
    with replacing(path) as partial:
        if form == "onnx":
            write_onnx(network, partial, metadata, half)
            found: Callable[[Tensor], Tensor] = OnnxNetwork(partial, warn=lambda sentence: None)
        else:
            write_pt2(network, partial, metadata)
            found = load_pt2(partial)
        worst = largest_difference(network, found, [*map(random_image, PROBES), *samples])
        if not worst <= TOLERANCE:
            raise FailedError(f"the {form} file differs by {worst:.2g} from the network, more than {TOLERANCE:g}")
    return worst


def metadata_of(model: Model) -> dict[str, Any]:
    """A file's description of itself: the task, its inputs and outputs, the network, and its training."""
    return {
        "task": model.task.name,
        "scale": model.scale,
        "input": "image: float32 (b, 3, h, w), RGB in 0..1",
        "output": f"output: float32 (b, 3, {model.scale} h, {model.scale} w), RGB in 0..1, to be clamped",
        **model.metadata,
    }


def sample_images(paths: Sequence[Path]) -> list[Tensor]:
    """The images (1, 3, h, w) in the files. InputError if one can't be read, or is too small for a test."""
    images = [torch.from_numpy(read_picture(path).colour).movedim(-1, 0)[None] for path in paths]
    for path, image in zip(paths, images, strict=True):
        if min(image.shape[2:]) < LEAST_SIDE:
            raise InputError(f"{path} is too small to try a network on; name one of at least {LEAST_SIDE} pixels")
    return images


def random_image(shape: tuple[int, ...]) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(sum(shape)))


@torch.no_grad()
def round_to_half(network: nn.Module) -> None:
    """Round the weights to 16-bit values."""
    for parameter in network.parameters():
        parameter.copy_(parameter.half().float())


@torch.no_grad()
def largest_difference(network: nn.Module, found: Callable[[Tensor], Tensor], images: Sequence[Tensor]) -> float:
    """The largest difference over all pixels of all images; NaN counts as one."""
    return max(float((network(image) - found(image)).abs().nan_to_num(float("inf")).max()) for image in images)


def dynamic_shapes() -> tuple[dict[int, Any]]:
    return ({0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC},)


def write_onnx(network: nn.Module, path: Path, metadata: Mapping[str, Any], half: bool) -> None:
    """By torch.onnx, with the metadata under the key `evo_c2f`. InputError if onnx is not installed."""
    onnx = require_onnx()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch about torch
        program = torch.onnx.export(
            network,
            (random_image(EXAMPLE),),
            dynamo=True,
            dynamic_shapes=dynamic_shapes(),
            input_names=["image"],
            output_names=["output"],
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    forget_sources(model)
    if half:
        store_in_half(model)
    onnx.helper.set_model_props(model, {"evo_c2f": to_json(metadata)})
    onnx.checker.check_model(model)
    onnx.save(model, path)
    seal(path)


def require_onnx() -> Any:
    """The package onnx. InputError if it is not installed, or what torch.onnx writes with."""
    try:
        import onnx
        import onnxscript  # noqa: F401
    except ImportError:
        raise InputError("writing ONNX files needs onnx; run 'pip install .[onnx]'") from None
    return onnx


def forget_sources(model: Any) -> None:
    """Remove the stack traces that torch writes to each node: paths of this machine, and a third of the file."""
    graph = model.graph
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""


def store_in_half(model: Any) -> None:
    """Store each weight as 16 bits and a cast to 32."""
    import onnx
    from onnx import numpy_helper

    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        name, values = tensor.name, numpy_helper.to_array(tensor)
        tensor.CopyFrom(numpy_helper.from_array(values.astype("float16"), f"{name}_half"))
        casts.append(onnx.helper.make_node("Cast", [f"{name}_half"], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def load_pt2(path: Path) -> nn.Module:
    """The module in an exported program, for images of any size.

    Torch's guards would refuse sizes with another memory layout than the example's; `export` tests that the program
    handles these too.
    """
    program = torch.export.load(path)
    if "check_guards" in inspect.signature(program.module).parameters:  # an older torch has no guards
        return program.module(check_guards=False)
    return program.module()


def write_pt2(network: nn.Module, path: Path, metadata: Mapping[str, Any]) -> None:
    """By torch.export, with the metadata in the extra file `evo_c2f.json`."""
    program = torch.export.export(network, (random_image(EXAMPLE),), dynamic_shapes=dynamic_shapes())
    torch.export.save(program, path, extra_files={"evo_c2f.json": to_json(metadata)})
