"""Whole rounds of one network as CUDA graphs: the GPU does not wait for Python between hundreds of small kernels."""

import logging
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from supernet.rounds.students import Alone
from supernet.training.learning import Learning

log = logging.getLogger(__name__)

WARM_UPS = 3  # rounds of each kind that run as usual first: what they allocate once must not be recorded
Round = Callable[[Tensor, Tensor], tuple[float, str | None]]
Body = Callable[[Learning, Tensor, Tensor, Tensor], Tensor]  # learning, source, target, weight of the EMA -> loss
Recorder = Callable[[Callable[[], Tensor]], tuple[Callable[[], object], Tensor]]  # work -> (replay, its result)


def cuda_graph(work: Callable[[], Tensor]) -> tuple[Callable[[], object], Tensor]:
    """Record the work's kernels. Returns a function that runs them again, and the tensor that then holds the result."""
    graph = torch.cuda.CUDAGraph()
    # thread_local: other threads may meanwhile copy the next batches.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        result = work()
    return graph.replay, result


def can_be_recorded(learning: Learning) -> bool:
    """Whether each round runs the same kernels: one network on one GPU, without a discriminator."""
    alone, on_gpu = isinstance(learning.students, Alone), learning.parameters[0].is_cuda
    return alone and on_gpu and learning.ranks.count == 1 and learning.criterion.adversary is None


@dataclass(frozen=True)
class Recording:
    """A recorded round, and the tensors that it reads and writes."""

    source: Tensor
    target: Tensor
    loss: Tensor
    replay: Callable[[], object]


class Captured:
    """Rounds that are recorded once for each shape of batch and each part of the loss's schedule, and then replayed."""

    def __init__(self, learning: Learning, usual: Round, body: Body, record: Recorder | None = None):
        """usual: runs a round without a recording. body: a round that doesn't look at its loss."""
        self.learning, self.usual, self.body, self.record = learning, usual, body, record or cuda_graph
        self.weight = torch.zeros((), device=learning.parameters[0].device)
        self.seen: Counter[Any] = Counter()
        self.recordings: dict[Any, Recording] = {}
        self.works = True

    def __call__(self, source: Tensor, target: Tensor) -> tuple[float, str | None]:
        """One update of the network; returns (loss, the problem, if any, in words)."""
        loss, trouble = self._round(source, target)
        if trouble:  # the loop goes back to a snapshot, which replaces the tensors that were recorded
            self.recordings.clear()
            self.seen.clear()
        return loss, trouble

    def _round(self, source: Tensor, target: Tensor) -> tuple[float, str | None]:
        learning = self.learning
        kind = source.shape, target.shape, learning.criterion.part(learning.index)
        self.seen[kind] += 1
        if not self.works or self.seen[kind] <= WARM_UPS:
            return self.usual(source, target)
        if kind not in self.recordings and not self._recorded(kind, source, target):
            return self.usual(source, target)
        recording = self.recordings[kind]
        recording.source.copy_(source, non_blocking=True)
        recording.target.copy_(target, non_blocking=True)
        learning.set_rate()
        self.weight.fill_(learning.average_weight())
        recording.replay()
        loss = recording.loss.item()  # the GPU is waited for here alone
        return loss, None if math.isfinite(loss) else "the loss is not finite"

    def _recorded(self, kind: Any, source: Tensor, target: Tensor) -> bool:
        """Record a round of this kind, without running it. False if the GPU or its driver refuses."""
        source, target = source.clone(), target.clone()
        try:
            replay, loss = self.record(lambda: self.body(self.learning, source, target, self.weight))
        except RuntimeError as error:
            log.warning(f"rounds can't be recorded on this GPU ({error}); they run one kernel at a time")
            self.works = False
            for parameter in self.learning.parameters:
                parameter.grad = None  # what the recording began
            return False
        self.recordings[kind] = Recording(source, target, loss, replay)
        return True
