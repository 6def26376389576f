"""What computes. No torch: options are read before it is loaded."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Machine:
    """What computes: the device, CPU threads (None: all cores), and the processes that measure or train.

    workers: processes that measure candidates; None for those of a Ray cluster, which is found at ray_address (None:
    started here). devices: processes that train together (None: this one). tensorboard: draw trainings in the run.
    """

    device: str = "auto"
    threads: int | None = None
    workers: int | None = 1
    ray_address: str | None = None
    gpus_per_worker: float = 0.0
    devices: int | None = None
    tensorboard: bool = False
