"""The processes that train together: this one's rank, its part of a batch, and the mean over all of them."""

import atexit
import logging
import math
import os
import signal
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec
from typing import TypeVar

import torch
from torch import Tensor, nn

from evo_c2f.errors import DamagedFileError, FailedError, InputError

T = TypeVar("T")
ENDINGS = (InputError, DamagedFileError, FailedError, OSError, KeyboardInterrupt)  # of one process: all end by it
LOST = "a process that trains with this one has ended; run the same command again"  # gloo's own words: --debug
LONGEST_WAIT = timedelta(days=30)  # of the others, while the first searches


@dataclass(frozen=True)
class Ranks:
    """A process that trains alone; `Several` is one of a group.

    All processes draw the same networks, and each trains them on its part of the same batch. So the state is the same
    on all, and does not depend on their number. Only the first one writes and reports.
    """

    rank: int = 0
    count: int = 1
    here: int = 1  # of them, on this machine
    device: str | None = None  # which one is this process's; None leaves it to the options

    @property
    def first(self) -> bool:
        return self.rank == 0

    def part(self, batch: int) -> range:
        """Which images of a batch this process takes. InputError if the batch can't be divided evenly."""
        if batch % self.count:
            raise InputError(
                f"a batch of {batch} can't be dealt evenly to {self.count} processes; "
                f"set a batch of {math.ceil(batch / self.count) * self.count}, or use another number of processes"
            )
        each = batch // self.count
        return range(self.rank * each, (self.rank + 1) * each)

    def average(self, values: Tensor) -> Tensor:
        """The mean over all processes; may return the same tensor."""
        return values

    def average_gradients(self, parameters: Iterable[nn.Parameter], *numbers: float) -> list[float]:
        """Replace the gradients by their means over all processes; returns the means of the numbers."""
        return [*numbers]

    def together(self, work: Callable[[], T]) -> T:
        """The result of `work` on this process. If it fails on any process, its error is raised on all."""
        return work()

    def from_first(self, work: Callable[[], T]) -> T:
        """Run `work` on the first process only; all get its result or its error."""
        return work()


ALONE = Ranks()


@dataclass(frozen=True)
class Several(Ranks):
    """One process of a group that Fabric has made."""

    words: "torch.distributed.ProcessGroup | None" = None  # that objects go by, whatever the gradients go by

    def average(self, values: Tensor) -> Tensor:
        # Fabric's all_reduce waits at a barrier first: twice the latency.
        try:
            torch.distributed.all_reduce(values)
        except RuntimeError as error:
            raise FailedError(LOST) from error
        return values.div_(self.count)

    def average_gradients(self, parameters: Iterable[nn.Parameter], *numbers: float) -> list[float]:
        """In a single tensor, so that there is one network transfer."""
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        beside = torch.tensor(numbers, dtype=torch.float32, device=self.device)
        flat = self.average(torch.cat([*(gradient.flatten() for gradient in gradients), beside]))
        means: Sequence[Tensor] = flat.split([gradient.numel() for gradient in gradients] + [len(numbers)])
        for gradient, mean in zip(gradients, means, strict=False):
            gradient.copy_(mean.view_as(gradient))
        averages: list[float] = means[-1].tolist()
        return averages

    def together(self, work: Callable[[], T]) -> T:
        result = None
        error: BaseException | None = None
        try:
            result = work()
        except ENDINGS as ending:
            error = ending
        errors: list[BaseException | None] = [None] * self.count
        self._talk(torch.distributed.all_gather_object, errors, error)
        for error in errors:
            if error is not None:
                raise error
        return result  # type: ignore[return-value]

    def from_first(self, work: Callable[[], T]) -> T:
        result = [self.together(lambda: work() if self.first else None)]
        self._talk(torch.distributed.broadcast_object_list, result)
        return result[0]  # type: ignore[return-value]

    def _talk(self, how: Callable[..., object], *objects: object) -> None:
        try:
            how(*objects, group=self.words)
        except RuntimeError as error:
            raise FailedError(LOST) from error


def by_torchrun() -> bool:
    """Whether torchrun has started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def told_by_another(devices: int | None) -> bool:
    """Whether this process is not the first; known before it has joined the others."""
    name = "RANK" if by_torchrun() else "LOCAL_RANK"  # which Fabric gives to those that it starts
    return (by_torchrun() or (devices or 1) > 1) and int(os.environ.get(name, 0)) > 0


def join(devices: int | None, device: str) -> Ranks:
    """Join the processes that torchrun has started, or start as many as `devices` on this machine.

    device: as for `choose_device`; several processes take one GPU each, or share the CPU.
    InputError if they can't be started. Only the first process handles Ctrl-C.
    """
    here = int(os.environ["LOCAL_WORLD_SIZE"]) if by_torchrun() else devices or 1
    count = int(os.environ["WORLD_SIZE"]) if by_torchrun() else here
    if devices and devices != here:
        raise InputError(f"torchrun has started {here} processes on this machine; leave --devices {devices} out")
    if count == 1:
        return ALONE
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device not in ("cpu", "cuda"):
        raise InputError(f"--device {device} is no choice for {count} processes; it takes cpu or cuda")
    if device == "cuda" and torch.cuda.device_count() < here:
        there = torch.cuda.device_count()
        raise InputError(f"{here} processes need {here} GPUs, this machine has {there}; use fewer, or --device cpu")
    if find_spec("lightning_fabric") is None:
        raise InputError("several processes need lightning-fabric; run 'pip install lightning-fabric'")
    return _launch(here, count, device)


def _launch(here: int, count: int, device: str) -> Ranks:
    """Start the other processes, unless torchrun has, and meet them."""
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments import LightningEnvironment, TorchElasticEnvironment
    from lightning_fabric.strategies import DDPStrategy

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    environment = TorchElasticEnvironment() if by_torchrun() else LightningEnvironment()
    fabric = Fabric(
        accelerator=device, strategy=DDPStrategy(), devices=here, num_nodes=count // here, plugins=[environment]
    )
    fabric.launch()
    atexit.register(_leave)
    if fabric.global_rank:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    words = torch.distributed.new_group(backend="gloo", timeout=LONGEST_WAIT)
    # The first's is named as if it were alone: figures are kept under the name of the device.
    return Several(fabric.global_rank, count, here, str(fabric.device) if fabric.global_rank else device, words)


def _leave() -> None:
    """Before Python's end: gloo's threads, left to themselves, may abort a process that has done its work."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
