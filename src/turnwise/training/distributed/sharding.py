"""A model in parts: every worker keeps its part of each weight, and of its gradient and moments (FSDP2, torch's own).

A layer's weights are whole only while it computes: gathered before, given back after. Every worker therefore has to
compute equally often (`spare`). In memory weights are parts, on disk they are whole, so a run may go on with another
number of workers, or on one that has everything. Where nothing is sharded a part is the whole.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor

from turnwise.training.distributed.worker_group import WorkerGroup


def shard_model(module: nn.Module, workers: WorkerGroup, device: torch.device) -> None:
    """Part a model among workers, each on its own device; layer by layer, so that no device ever holds all of it.

    Gradients become sums over workers, as they are where nothing is sharded.
    """
    if device.type == "cuda":
        torch.cuda.set_device(device)
    mesh = init_device_mesh(device.type, (workers.world_size,))
    for part in [*transformer_layers(module), module]:
        sharded = fully_shard(part, mesh=mesh)
        sharded.set_gradient_divide_factor(1.0)
        sharded.set_force_sum_reduction_for_comms(True)  # gloo knows no other


def transformer_layers(module: nn.Module) -> list[nn.Module]:
    """The layers of its stacks, from the first on; stacks within a layer belong to it."""
    stacks = {name: part for name, part in module.named_modules() if isinstance(part, nn.ModuleList)}
    outer = [part for name, part in stacks.items() if not any(name.startswith(f"{other}.") for other in stacks)]
    return [layer for stack in outer for layer in stack]


def is_sharded(module: nn.Module) -> bool:
    """Whether it is in parts."""
    return isinstance(module, FSDPModule)


def reshard(module: nn.Module) -> None:
    """Weights outside of layers stay whole after a pass forward, for the pass back: without one, give them back now."""
    if isinstance(module, FSDPModule):
        module.reshard()


def padding_steps(module: nn.Module, count: int, workers: WorkerGroup) -> int:
    """How many batches more than our `count` another worker computes, if we have to compute along with it."""
    return workers.all_reduce_max(count) - count if is_sharded(module) else 0


@torch.no_grad()
def local_shard(tensor: Tensor) -> Tensor:
    """What this worker has of it, in the same storage."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor.detach()


def slice_for_rank(whole_tensor: Tensor, like: Tensor) -> Tensor:
    """This worker's part of a whole tensor: the rows that it has of `like`."""
    if not isinstance(like, DTensor):
        return whole_tensor
    mesh = like.device_mesh
    rows = whole_tensor.chunk(mesh.size())
    rank = mesh.get_local_rank()
    return rows[rank].clone() if rank < len(rows) else whole_tensor[:0].clone()


def as_sharded(own_part: Tensor, like: Tensor) -> Tensor:
    """The tensor that this is our part of, as `like` is: the other workers have theirs."""
    if not isinstance(like, DTensor):
        return own_part
    return DTensor.from_local(
        own_part.to(like.device), like.device_mesh, like.placements, shape=like.shape, stride=like.stride()
    )


@torch.no_grad()
def full_tensor(tensor: Tensor) -> Tensor:
    """All of it, on every worker; all of them have to ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor.detach()


def gather_full(tensors: Mapping[str, Tensor], *, keep: bool) -> dict[str, Tensor]:
    """Whole tensors in ordinary memory for who wants to `keep` them, one after the other; all workers have to ask."""
    found = {}
    for name, tensor in tensors.items():
        complete = full_tensor(tensor)
        if keep:
            found[name] = complete.cpu().contiguous()
    return found
