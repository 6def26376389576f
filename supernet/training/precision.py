"""The precision that networks train in. Weights, moments and files stay float32."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Literal

import torch

Precision = Literal["auto", "float32", "tf32", "bf16"]


def casting(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """A context, of this thread, in which convolutions run in the precision; 'auto' is bf16 on a GPU that has it, else
    float32.
    """
    precision = in_use(device, precision)
    if precision == "bf16":
        # Without its cache of weights, which a recorded round would read after they have changed.
        return torch.autocast(device.type, torch.bfloat16, cache_enabled=False)
    return tf32() if precision == "tf32" else nullcontext()


def in_use(device: torch.device, precision: Precision) -> Precision:
    """The precision that 'auto' stands for on the device; any other is itself."""
    if precision == "auto":
        return "bf16" if has_bf16(device) else "float32"
    return precision


def backward(precision: Precision) -> AbstractContextManager[object]:
    """A context for gradients: cuDNN asks at each call whether TF32 is allowed; bf16 follows from the forward pass."""
    return tf32() if precision == "tf32" else nullcontext()


def has_bf16(device: torch.device) -> bool:
    """Whether the device is a GPU that computes in bfloat16, rather than emulating it."""
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


@contextmanager
def tf32() -> Iterator[None]:
    """TensorFloat-32 on GPUs that have it; elsewhere float32."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32
    try:
        cudnn.allow_tf32 = matmul.allow_tf32 = True
        yield
    finally:
        cudnn.allow_tf32, matmul.allow_tf32 = before
