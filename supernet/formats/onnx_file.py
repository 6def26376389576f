"""A network as an ONNX file."""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from evo_c2f.errors import InputError
from evo_c2f.json_text import to_json
from supernet.formats.shapes import AS_IT_IS, How, example_of
from supernet.models.seal import seal


def write_onnx(network: nn.Module, path: Path, metadata: Mapping[str, Any], how: How = AS_IT_IS) -> None:
    """By torch.onnx, with the metadata under the key `evo_c2f`. InputError if onnx is not installed."""
    model = onnx_model(network, how)
    if how.half:
        store_in_half(model)
    save_onnx(model, path, metadata)


def onnx_model(network: Any, how: How = AS_IT_IS) -> Any:
    """The network as onnx's ModelProto. InputError if torch can't write that opset, or if onnx is not installed."""
    require_onnx()

    example, dynamic_shapes = example_of(how, network.input_channels)
    shuffling = ShufflesByConvolution(network, example) if how.transposed else nullcontext()
    with warnings.catch_warnings(), shuffling, silent("torch.onnx", "onnxscript") if how.opset else nullcontext():
        warnings.simplefilter("ignore", FutureWarning)  # of torch about torch
        program = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            dynamic_shapes=dynamic_shapes,
            opset_version=how.opset,
            input_names=["image"],
            output_names=["output"],
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    (found,) = (each.version for each in model.opset_import if each.domain == "")
    if how.opset not in (None, found):
        raise InputError(f"torch can't write this network in opset {how.opset}; it wrote opset {found}")
    forget_sources(model)
    return model


@contextmanager
def silent(*names: str) -> Iterator[None]:
    """Without the loggers of these packages: of an opset that torch can't write they print a traceback, and go on."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


class ShufflesByConvolution(TorchFunctionMode):
    """Within it, pixels are shuffled by a transposed convolution and unshuffled by a strided one, with fixed weights.

    The figures are the same, and no tensor has six axes, which LiteRT's converters refuse in ONNX files.
    """

    def __init__(self, network: nn.Module, example: Tensor):
        """The weights are made here, on a first run: those that are made in a trace would be part of the program."""
        super().__init__()
        self.weights = dict[tuple[int, int], Tensor]()
        with self, torch.no_grad():
            network(example)

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is F.pixel_shuffle:
            x, step = args
            return F.conv_transpose2d(x, self.weight(x.shape[1], step), stride=step)
        if function is F.pixel_unshuffle:
            x, step = args
            return F.conv2d(x, self.weight(x.shape[1] * step**2, step), stride=step)
        return function(*args, **(kwargs or {}))

    def weight(self, n: int, step: int) -> Tensor:
        """(n, n / step^2, step, step): each of the n channels of a position goes to its place, or comes from it."""
        if (n, step) not in self.weights:
            self.weights[n, step] = torch.eye(n).view(n, n // step**2, step, step)
        return self.weights[n, step]


def save_onnx(model: Any, path: Path, metadata: Mapping[str, Any]) -> None:
    """Check the model, and write it with its metadata and a checksum."""
    onnx = require_onnx()
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
