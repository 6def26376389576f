"""One subnet to its raw metrics: the callable that the search engine is given."""

import time
from collections.abc import Sequence
from statistics import fmean, median

import torch
from torch import Tensor

from evo_c2f.space import Architecture
from supernet.cost import costs
from supernet.generator import Supernet
from supernet.tasks import SuperResolution

Pairs = Sequence[tuple[Tensor, Tensor]]

LATENCY_REPEATS = 7
LATENCY_WARM_UPS = 2


class Measure:
    """Scores architectures with the supernet's weights, always on the same validation batches."""

    def __init__(
        self,
        supernet: Supernet,
        task: SuperResolution,
        batches: Pairs,
        names: Sequence[str],
        output_size: tuple[int, int],
        suffix: str = "",
    ):
        """names: the metrics to give; qualities get the suffix. output_size: (height, width) for the costs."""
        self.device = next(supernet.parameters()).device
        self.supernet, self.task, self.output_size, self.suffix = supernet.eval(), task, output_size, suffix
        # Kept on the device and in the layout that the convolutions want.
        self.batches = [(self._placed(low), high.to(self.device)) for low, high in batches]
        self.qualities = [name for name in names if name in task.metrics]
        self.others = [name for name in names if name not in task.metrics]

    def _placed(self, images: Tensor) -> Tensor:
        return images.to(self.device, memory_format=torch.channels_last)

    @property
    def names(self) -> list[str]:
        """The metrics of each row."""
        return [name + self.suffix for name in self.qualities] + self.others

    def __call__(self, architectures: Sequence[Architecture]) -> list[dict[str, float]]:
        """One row of metrics for each architecture; NaN where the output was not finite."""
        return [self._one(architecture) for architecture in architectures]

    @torch.inference_mode()
    def _one(self, architecture: Architecture) -> dict[str, float]:
        row = self._qualities([self.supernet(low, architecture) for low, _ in self.batches])
        if self.others:
            known = costs(architecture, self.supernet.frame, self.output_size)
            if "latency_ms" in self.others:
                known["latency_ms"] = latency_ms(self.supernet, architecture, self.output_size)
            row |= {name: known[name] for name in self.others}
        return row

    @torch.inference_mode()
    def baseline(self) -> dict[str, float]:
        """The qualities had for nothing, by the same protocol."""
        return self._qualities([self.task.baseline(low) for low, _ in self.batches])

    def _qualities(self, outputs: Sequence[Tensor]) -> dict[str, float]:
        row = {}
        for name in self.qualities:
            metric = self.task.metrics[name]
            values = [metric(output, high) for output, (_, high) in zip(outputs, self.batches, strict=True)]
            row[name + self.suffix] = fmean(torch.cat(values).tolist())
        return row


@torch.inference_mode()
def latency_ms(supernet: Supernet, architecture: Architecture, output_size: tuple[int, int]) -> float:
    """Median time of the extracted subnet on one image, after warm-up, on the supernet's device."""
    subnet = supernet.extract(architecture).eval()
    device = next(subnet.parameters()).device
    scale = 2**supernet.frame.input_level
    image = torch.rand(1, 3, *(side // scale for side in output_size), device=device)
    image = image.to(memory_format=torch.channels_last)
    times = []
    for _ in range(LATENCY_WARM_UPS + LATENCY_REPEATS):
        start = time.perf_counter()
        subnet(image)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(1000 * (time.perf_counter() - start))
    return median(times[LATENCY_WARM_UPS:])
