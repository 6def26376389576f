"""A generator's earlier outputs, from which its discriminator learns too (arXiv 1703.10593, sec. 4)."""

import numpy as np
import torch
from torch import Tensor

SIZE = 50


class Pool:
    """At most SIZE images. Once they are so many, half of the outputs are exchanged for them."""

    def __init__(self) -> None:
        self.images: list[Tensor] = []  # (3, h, w) each

    def exchange(self, outputs: Tensor, rng: np.random.Generator) -> Tensor:
        """(b, 3, h, w) -> the same number of images: each is the output, or an older one whose place it takes."""
        given = []
        for output in outputs.unbind():
            if len(self.images) < SIZE:
                self.images.append(output.clone())
            elif rng.random() < 0.5:
                place = int(rng.integers(SIZE))
                older, self.images[place] = self.images[place], output.clone()
                output = older
            given.append(output)
        # However its images lie in memory, after a resume too: convolutions round by it.
        return torch.stack(given).contiguous(memory_format=torch.channels_last)

    def state(self) -> dict[str, Tensor]:
        return {"images": torch.stack(self.images)} if self.images else {}

    def restore(self, state: dict[str, Tensor], device: torch.device) -> None:
        self.images = [*state["images"].to(device).unbind()] if state else []
