"""A network as an ONNX file."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

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


def onnx_model(network: nn.Module, how: How = AS_IT_IS) -> Any:
    """The network as onnx's ModelProto. InputError if torch can't write that opset, or if onnx is not installed."""
    require_onnx()

    example, dynamic_shapes = example_of(how)
    with warnings.catch_warnings():
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
