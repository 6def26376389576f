"""TF32 is used where it was asked for, and nowhere else. On a CPU the switches can be read all the same."""

import subprocess
import sys

import pytest
import torch

from supernet.training.precision import backward, casting


def test_gradients_are_taken_in_tf32_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    seen = list[bool]()

    class Watched(torch.autograd.Function):
        @staticmethod
        def forward(context: object, x: torch.Tensor) -> torch.Tensor:
            seen.append(torch.backends.cudnn.allow_tf32)
            return x.clone()

        @staticmethod
        def backward(context: object, gradient: torch.Tensor) -> torch.Tensor:
            seen.append(torch.backends.cudnn.allow_tf32)
            return gradient

    x = torch.ones(2, requires_grad=True)
    with backward("tf32"):
        with casting(torch.device("cpu"), "tf32"):
            y = Watched.apply(x).sum()
        y.backward()
    assert seen == [True, True] and not torch.backends.cudnn.allow_tf32


def test_workers_do_not_measure_in_tf32() -> None:
    code = "import torch, supernet.models.measure; print(torch.backends.cudnn.allow_tf32)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
