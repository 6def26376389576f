"""Work that threads do before its results are needed, such as reading pictures."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import count, islice
from typing import TypeVar

import torch
from torch import Tensor

from supernet.batches.patches import Patches, as_floats

Item = TypeVar("Item")
Result = TypeVar("Result")
CPU = torch.device("cpu")
READERS = 2  # threads beside a training on the CPU, which needs the cores itself


def in_order(work: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Generator[Result, None, None]:
    """The result of the work on each item, in the order of the items, which may be endless.

    Threads do the work in advance, on at most twice as many items as there are threads. An error of the work is raised
    in place of its result, and ends the generator. When it ends or is closed, no more work begins.
    """
    pool = ThreadPoolExecutor(threads, "ahead", torch.set_num_threads, (1,))
    try:
        coming = iter(items)
        begun = deque(pool.submit(work, item) for item in islice(coming, 2 * threads))
        while begun:
            result = begun.popleft().result()
            begun.extend(pool.submit(work, item) for item in islice(coming, 1))
            yield result
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


class Ahead:
    """Batches on the training's device. Threads read and cut them in advance, in the order of their indices.

    Any index may be asked for, as after a resume or a setback: then the threads begin anew there. Once all pictures are
    in memory, no threads are needed. Close it when the training ends.
    """

    def __init__(self, patches: Patches, device: torch.device):
        self.patches, self.device = patches, device
        self.threads = READERS if device.type == "cpu" else max(READERS, torch.get_num_threads())
        self.coming: Generator[tuple[Tensor, Tensor], None, None] | None = None
        self.next = 0

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        at_hand = self.patches.pairs.at_hand
        if at_hand or index != self.next:
            self.close()
        source, target = self.patches.cut(index) if at_hand else self.from_threads(index)
        return as_floats(sent(source, self.device)), as_floats(sent(target, self.device))

    def from_threads(self, index: int) -> tuple[Tensor, Tensor]:
        coming = self.coming or in_order(self.patches.cut, count(index), self.threads)
        self.coming = None  # after an error there is nothing to go on with
        batch = next(coming)
        self.coming, self.next = coming, index + 1
        return batch

    def close(self) -> None:
        """Begin no more batches; those in work are finished in the background."""
        if self.coming is not None:
            self.coming.close()
            self.coming = None


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on the device. From pinned memory, so that a GPU isn't waited for."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
