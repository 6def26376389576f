"""Networks as ONNX Runtime runs them: what a user of the exported file waits for."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from evo_c2f.errors import InputError
from supernet.formats.onnx_file import require_onnx
from supernet.models.onnx_runtime import onnx_runtime
from supernet.timing import timed, timed_in_turn

Action = Callable[[], object]

REPEATS = 7
CLOCK = torch.device("cpu")  # ONNX Runtime waits for a GPU itself


def provider(device: torch.device) -> str:
    """ONNX Runtime's name for the device. InputError if it was installed for CPUs alone, and the device is a GPU."""
    if device.type != "cuda":
        return "CPUExecutionProvider"
    if "CUDAExecutionProvider" not in onnx_runtime().get_available_providers():
        raise InputError(
            "latencies of a GPU need ONNX Runtime for GPUs; install onnxruntime-gpu in place of onnxruntime, or use "
            "--device cpu"
        )
    return "CUDAExecutionProvider"


def runtime(device: torch.device) -> str:
    """What a latency was taken with, in words. InputError if ONNX Runtime is not installed, or not for the device."""
    return f"ONNX Runtime {onnx_runtime().__version__}, {provider(device)}"


def milliseconds(run: Action) -> float:
    return timed(run, CLOCK, REPEATS)


def milliseconds_in_turn(runs: Sequence[Action]) -> list[float]:
    """Of each; they take turns, so that a machine that gets slower is slower for all."""
    return timed_in_turn(runs, CLOCK, REPEATS)


def action(model: bytes, x: Tensor, device: torch.device) -> Action:
    """Runs the ONNX model on x, which lies on the device already."""
    ort = onnx_runtime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors: of the files that torch has not optimised it warns node by node
    where = provider(device)
    session = ort.InferenceSession(model, options, providers=[where])
    kind = "cuda" if where.startswith("CUDA") else "cpu"
    binding = session.io_binding()
    binding.bind_ortvalue_input(session.get_inputs()[0].name, ort.OrtValue.ortvalue_from_numpy(x.cpu().numpy(), kind))
    binding.bind_output(session.get_outputs()[0].name, kind)
    return lambda: session.run_with_iobinding(binding)


class _SideBySide(nn.Module):
    """Several modules, each with an input and an output of its own."""

    def __init__(self, modules: Sequence[nn.Module]):
        super().__init__()
        self.each = nn.ModuleList(modules)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(module(x) for module, x in zip(self.each, inputs, strict=True))


def actions(modules: Sequence[nn.Module], inputs: Sequence[Tensor], device: torch.device) -> Iterator[Action]:
    """Each module on its input, by ONNX Runtime. All are exported together: alone, torch takes seconds for each.

    InputError if onnx or ONNX Runtime is not installed.
    """
    require_onnx()
    from onnx.utils import Extractor

    names = [(f"x{i}", f"y{i}") for i in range(len(modules))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch about torch
        program: Any = torch.onnx.export(
            _SideBySide(modules).eval(),
            tuple(x.view_as(x) for x in inputs),  # one tensor twice would become one input
            dynamo=True,
            optimize=False,  # slow for so many; ONNX Runtime does the same as it opens a file
            input_names=[x for x, _ in names],
            output_names=[y for _, y in names],
            verbose=False,
        )
    whole = Extractor(program.model_proto)
    models = (whole.extract_model([x], [y]).SerializeToString() for x, y in names)
    return (action(model, x, device) for model, x in zip(models, inputs, strict=True))
