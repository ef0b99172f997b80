"""Data-parallel training: every process trains on a part of each step's rows, and gradients are summed.

`torchrun` or `accelerate launch` start the processes on one machine, or on several that share a file system. All
processes have the same weights after every step. Only the main worker writes files and reports progress.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import nn

TIMEOUT = timedelta(hours=3)  # of collective operations


@dataclass(frozen=True)
class WorkerGroup:
    """The processes that train together, seen from this one.

    Attributes:
        rank: number of this process, from 0.
        world_size: number of processes.
    """

    rank: int = 0
    world_size: int = 1

    @classmethod
    def from_environment(cls) -> "WorkerGroup":
        """Read the environment variables of `torchrun`; without them there is a single process."""
        count = int(os.environ.get("WORLD_SIZE", "1"))
        if count == 1:
            return SINGLE_PROCESS
        if not dist.is_initialized():
            # The others wait while the main worker reads data and generates replay: longer than the default timeout.
            dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo", timeout=TIMEOUT)
        return cls(dist.get_rank(), dist.get_world_size())

    @property
    def is_main(self) -> bool:
        """True on the worker that writes files and reports progress."""
        return self.rank == 0

    @property
    def device(self) -> torch.device | None:
        """GPU of this process; None without GPUs or with a single process."""
        if self.world_size == 1 or not torch.cuda.is_available():
            return None
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))

    def all_reduce_sum(self, values: Sequence[float]) -> list[float]:
        """Sum each value over all workers."""
        if self.world_size == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device or "cpu")
        dist.all_reduce(tensor)
        sums: list[float] = tensor.tolist()
        return sums

    def all_reduce_max(self, count: int) -> int:
        """Return the largest count of all workers."""
        if self.world_size == 1:
            return count
        tensor = torch.tensor(count, device=self.device or "cpu")
        dist.all_reduce(tensor, dist.ReduceOp.MAX)
        return int(tensor)

    def any(self, flag: bool) -> bool:
        """Return True if the flag is set on any worker."""
        return self.all_reduce_sum([float(flag)])[0] > 0

    def all_reduce_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Sum the gradients over all workers, in place."""
        if self.world_size == 1:
            return
        trainable = list(parameters)
        for parameter in trainable:
            if parameter.grad is None:  # unused by this worker's rows
                parameter.grad = torch.zeros_like(parameter)
        flat = torch.cat([parameter.grad.flatten() for parameter in trainable if parameter.grad is not None])
        dist.all_reduce(flat)
        offset = 0
        for parameter in trainable:
            assert parameter.grad is not None, "set above"
            parameter.grad.copy_(flat[offset : offset + parameter.numel()].view_as(parameter))
            offset += parameter.numel()

    def barrier(self) -> None:
        """Wait until all workers have called it."""
        if self.world_size > 1:
            dist.barrier()


SINGLE_PROCESS = WorkerGroup()
