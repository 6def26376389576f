"""The hardware and processes of a command. Doesn't import torch, since options are parsed before torch is loaded."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Machine:
    """The device, the CPU threads (None: all cores), and the processes that measure or train.

    workers: number of processes that measure candidates; None: a Ray cluster measures them. ray_address: of that
    cluster; None: start one here. devices: number of processes that train together; None: only this one.
    tensorboard: write TensorBoard files into the run.
    """

    device: str = "auto"
    threads: int | None = None
    workers: int | None = 1
    ray_address: str | None = None
    gpus_per_worker: float = 0.0
    devices: int | None = None
    tensorboard: bool = False
