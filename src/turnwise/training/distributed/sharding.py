"""Sharding of parameters, gradients and optimizer state across workers (FSDP2).

FSDP gathers the weights of a layer before its forward and backward pass and frees them afterwards. These collectives
require that all workers run the same number of passes (`padding_steps`). Checkpoints contain full tensors, so a run can
continue with another number of workers. For an unsharded model, all functions here work on the full tensors.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor

from turnwise.training.distributed.worker_group import WorkerGroup


def shard_model(module: nn.Module, workers: WorkerGroup, device: torch.device) -> None:
    """Shard a model over all workers, layer by layer, so that no device holds the full model.

    Gradients are summed over workers, as without sharding.
    """
    if device.type == "cuda":
        torch.cuda.set_device(device)
    mesh = init_device_mesh(device.type, (workers.world_size,))
    for submodule in [*transformer_layers(module), module]:
        sharded = fully_shard(submodule, mesh=mesh)
        sharded.set_gradient_divide_factor(1.0)
        sharded.set_force_sum_reduction_for_comms(True)  # gloo supports only sums


def transformer_layers(module: nn.Module) -> list[nn.Module]:
    """Return the layers of all outermost `nn.ModuleList`s, in order."""
    stacks = {name: child for name, child in module.named_modules() if isinstance(child, nn.ModuleList)}
    outer = [stack for name, stack in stacks.items() if not any(name.startswith(f"{parent}.") for parent in stacks)]
    return [layer for stack in outer for layer in stack]


def is_sharded(module: nn.Module) -> bool:
    """True if the model is sharded."""
    return isinstance(module, FSDPModule)


def reshard(module: nn.Module) -> None:
    """Free gathered weights after a forward pass without a backward pass, where FSDP keeps the outermost ones."""
    if isinstance(module, FSDPModule):
        module.reshard()


def padding_steps(module: nn.Module, count: int, workers: WorkerGroup) -> int:
    """Return how many extra batches this worker must run to match the worker with the most; 0 if unsharded."""
    return workers.all_reduce_max(count) - count if is_sharded(module) else 0


@torch.no_grad()
def local_shard(tensor: Tensor) -> Tensor:
    """Return this worker's shard of a tensor, in the same storage."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor.detach()


def slice_for_rank(tensor: Tensor, like: Tensor) -> Tensor:
    """Return the rows of a full tensor that this worker holds of `like`."""
    if not isinstance(like, DTensor):
        return tensor
    mesh = like.device_mesh
    rows = tensor.chunk(mesh.size())
    rank = mesh.get_local_rank()
    return rows[rank].clone() if rank < len(rows) else tensor[:0].clone()


def as_sharded(shard: Tensor, like: Tensor) -> Tensor:
    """Return the distributed tensor with this local shard and the layout of `like`."""
    if not isinstance(like, DTensor):
        return shard
    return DTensor.from_local(
        shard.to(like.device), like.device_mesh, like.placements, shape=like.shape, stride=like.stride()
    )


@torch.no_grad()
def full_tensor(tensor: Tensor) -> Tensor:
    """Gather the full tensor on every worker. A collective operation."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor.detach()


def gather_full(tensors: Mapping[str, Tensor], *, keep: bool) -> dict[str, Tensor]:
    """Gather full tensors on the CPU of workers with `keep` set, one at a time. A collective operation."""
    gathered = {}
    for name, tensor in tensors.items():
        full = full_tensor(tensor)
        if keep:
            gathered[name] = full.cpu().contiguous()
    return gathered
