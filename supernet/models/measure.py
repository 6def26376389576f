"""Measures a subnet's raw metrics: the callable that the search engine gets."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

import supernet.device  # noqa: F401  (float32 is to be float32 in workers too, which import this)
from evo_c2f.space import Architecture
from supernet.batches.fixed import Batch, Fixed, Side
from supernet.metrics import qualities
from supernet.metrics.tasks import Task
from supernet.models.tiling import is_large, run
from supernet.network.cost import OTHERS, costs
from supernet.network.generator import Supernet

Pairs = Sequence[Batch]


class Score:
    """The qualities of any network on fixed images."""

    def __init__(
        self,
        task: Task,
        batches: Pairs,
        names: Sequence[str],
        device: torch.device,
        suffix: str = "",
        reals: Sequence[Tensor] = (),
    ):
        """names: of qualities. InputError if one can't be measured on these batches.

        suffix is appended to every metric name; set it when the images differ from the search's own.
        reals: batches of pictures that Frechet distances are against, if not the targets.
        """
        self.device, self.task = device, task
        read_anew = isinstance(batches, Fixed) and not batches.fits(device)
        self.batches: Pairs = batches if read_anew else [self.on_device(*batch) for batch in batches]
        targets = Side(self.batches, 1)
        n_images = qualities.count(targets, reals)
        made = {name: qualities.for_count(name, n_images) if suffix else name for name in names}
        self.qualities = {name + suffix: qualities.make(made[name], task, targets, device, reals) for name in names}

    def on_device(self, source: Tensor, target: Tensor) -> Batch:
        """On the device, in the layout that the convolutions want."""
        return source.to(self.device, memory_format=torch.channels_last), target.to(self.device)

    @torch.inference_mode()
    def of(self, network: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """Each quality of the network's outputs; NaN if they were not finite."""
        for quality in self.qualities.values():
            quality.reset()  # a network before this one may have run out of memory or time half-way
        for batch in self.batches:
            source, target = self.on_device(*batch)
            output = run(network, source)
            for quality in self.qualities.values():
                quality.add(output, target)
        return {name: quality.value() for name, quality in self.qualities.items()}

    def baseline(self) -> dict[str, float]:
        """The qualities of the task's baseline."""
        return self.of(self.task.baseline)


class Measure(Score):
    """Scores architectures with the supernet's weights, always on the same validation batches."""

    def __init__(
        self,
        supernet: Supernet,
        task: Task,
        batches: Pairs,
        names: Sequence[str],
        output_size: tuple[int, int],
        suffix: str = "",
        reals: Sequence[Tensor] = (),
        timers: Mapping[str, Callable[[Architecture], float]] | None = None,
    ):
        """names: the metrics to return; qualities get the suffix. output_size: (height, width) for the costs.

        timers: the functions of latencies, by the names of their metrics.
        """
        wanted = [name for name in names if qualities.is_quality(name, task)]
        super().__init__(task, batches, wanted, next(supernet.parameters()).device, suffix, reals)
        self.supernet, self.output_size = supernet.eval(), output_size
        self.in_tiles = any(map(is_large, Side(self.batches, 0).shapes))
        self.others = [name for name in names if name not in wanted]
        # Of plugins, which another process imports as it unpickles them.
        self.prices = {name: OTHERS[name] for name in self.others if name in OTHERS}
        self.timers = {name: timer for name, timer in (timers or {}).items() if name in self.others}

    @property
    def names(self) -> list[str]:
        """The metrics of each row."""
        return [*self.qualities, *self.others]

    def __call__(self, architectures: Sequence[Architecture]) -> list[dict[str, float]]:
        """One row of metrics for each architecture."""
        return [self._one(architecture) for architecture in architectures]

    def _one(self, architecture: Architecture) -> dict[str, float]:
        shared = partial(self.supernet, architecture=architecture)
        row = self.of(self.supernet.extract(architecture).eval() if self.in_tiles else shared)
        if self.others:
            known = costs(architecture, self.supernet.frame, self.output_size)
            for name, timer in self.timers.items():
                known[name] = timer(architecture)
            for name, price in self.prices.items():
                known[name] = price(architecture, self.supernet.frame, self.output_size)
            row |= {name: known[name] for name in self.others}
        return row
