"""Batches whose targets have the pictures of other batches beside them."""

import torch
from torch import Tensor

from supernet.batches.ahead import Ahead
from supernet.batches.on_device import OnDevice


class Beside:
    """(source, target) by the number of the round; the channels after the target's are the others' sources."""

    def __init__(self, batches: Ahead | OnDevice, others: Ahead | OnDevice):
        self.batches, self.others = batches, others

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        source, target = self.batches[index]
        return source, torch.cat([target, self.others[index][0]], dim=1)

    def close(self) -> None:
        self.batches.close()
        self.others.close()
