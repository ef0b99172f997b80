"""Several processes that train one model: each takes its part of every step's rows, and gradients are added up.

They are started by `torchrun` or `accelerate launch`, which tell each who it is, on one machine or on several
that share a file system. Weights are the same everywhere after every step; the first worker alone writes.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import nn

PATIENCE = timedelta(hours=3)


@dataclass(frozen=True)
class WorkerGroup:
    """This process among the others.

    Attributes:
        rank: its number, from 0.
        count: how many there are.
    """

    rank: int = 0
    world_size: int = 1

    @classmethod
    def from_environment(cls) -> "WorkerGroup":
        """As `torchrun` started us; alone where nobody did."""
        count = int(os.environ.get("WORLD_SIZE", "1"))
        if count == 1:
            return SINGLE_PROCESS
        if not dist.is_initialized():
            # The others wait while the first one reads, and perhaps asks the model: longer than the usual minutes.
            dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo", timeout=PATIENCE)
        return cls(dist.get_rank(), dist.get_world_size())

    @property
    def is_main(self) -> bool:
        """Whether it is the one that writes and tells."""
        return self.rank == 0

    @property
    def device(self) -> torch.device | None:
        """The GPU that is its own; None leaves the choice."""
        if self.world_size == 1 or not torch.cuda.is_available():
            return None
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))

    def all_reduce_sum(self, values: Sequence[float]) -> list[float]:
        """Each value added up over all workers."""
        if self.world_size == 1:
            return list(values)
        kept = torch.tensor(values, dtype=torch.float64, device=self.device or "cpu")
        dist.all_reduce(kept)
        found: list[float] = kept.tolist()
        return found

    def all_reduce_max(self, count: int) -> int:
        """The largest of everybody's counts."""
        if self.world_size == 1:
            return count
        kept = torch.tensor(count, device=self.device or "cpu")
        dist.all_reduce(kept, dist.ReduceOp.MAX)
        return int(kept)

    def any(self, flag: bool) -> bool:
        """Whether it is so for one of them."""
        return self.all_reduce_sum([float(flag)])[0] > 0

    def all_reduce_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Everybody gets the sum of all gradients."""
        if self.world_size == 1:
            return
        learning = list(parameters)
        for parameter in learning:
            if parameter.grad is None:  # nothing of its rows touched it
                parameter.grad = torch.zeros_like(parameter)
        flat = torch.cat([parameter.grad.flatten() for parameter in learning if parameter.grad is not None])
        dist.all_reduce(flat)
        at = 0
        for parameter in learning:
            assert parameter.grad is not None, "made above"
            parameter.grad.copy_(flat[at : at + parameter.numel()].view_as(parameter))
            at += parameter.numel()

    def barrier(self) -> None:
        """Until all are here."""
        if self.world_size > 1:
            dist.barrier()


SINGLE_PROCESS = WorkerGroup()
