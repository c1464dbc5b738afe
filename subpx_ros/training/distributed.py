"""Several processes that train one network, as torchrun starts them; one process needs none of it."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from subpx_ros.device import select_device
from subpx_ros.errors import DeviceError

Result = TypeVar("Result")

_LONGEST_WAIT = timedelta(days=2)
"""The others wait while the first process extracts matches."""


@dataclass(frozen=True)
class Processes:
    """This process among those that train together."""

    rank: int
    count: int
    device: torch.device

    @property
    def main(self) -> bool:
        """Whether this is the one that extracts, validates, prints and writes."""
        return self.rank == 0

    def wait(self) -> None:
        """Until all processes have come here."""
        if self.count > 1:
            distributed.barrier()

    def mean(self, value: torch.Tensor) -> float:
        """The mean of a scalar over the processes, the same in each of them."""
        value = value.detach().to(torch.float64, copy=True)
        if self.count > 1:
            distributed.all_reduce(value)
        return float(value) / self.count

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module whose backward pass averages gradients over the processes."""
        if self.count == 1:
            return module
        devices = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(module, device_ids=devices)


def run_joined(device: str, work: Callable[[Processes], Result]) -> Result:
    """What `work` returns, done by the processes that torchrun's environment names, or by this one alone.

    That environment is RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT. The processes talk through NCCL on GPUs, one
    each, and through Gloo on CPUs. Modules that `Processes.wrap` gave must not outlive `work`: they hold Gloo's
    threads, which release tensors and abort a process that has begun to leave Python.

    Raises:
        DeviceError: the device is not there, or this machine has fewer GPUs than processes.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        return work(Processes(0, 1, select_device(device)))
    rank, local_rank = int(os.environ["RANK"]), int(os.environ.get("LOCAL_RANK", "0"))
    chosen = select_device(device)
    if chosen.type == "cuda":
        if local_rank >= torch.cuda.device_count():
            raise DeviceError(
                f"every process needs a GPU of its own: process {local_rank} of this machine has none, it has "
                f"{torch.cuda.device_count()}; start fewer processes or choose device: cpu"
            )
        chosen = torch.device("cuda", local_rank)
        torch.cuda.set_device(chosen)
    backend = "nccl" if chosen.type == "cuda" else "gloo"
    distributed.init_process_group(backend, init_method="env://", timeout=_LONGEST_WAIT)
    try:
        return work(Processes(rank, count, chosen))
    finally:
        # DistributedDataParallel lies in reference cycles.
        gc.collect()
        distributed.destroy_process_group()
