"""Muon (Jordan et al. 2024): momentum with orthogonalized updates, for the matrices of transformer blocks.

torch's Muon always iterates in bfloat16, which is many times slower than float32 on CPUs without bfloat16 arithmetic.
This one uses bfloat16 on GPUs and float32 on CPUs.

Shapes: M rows, N columns.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from turnwise.training.distributed.sharding import full_tensor, local_shard, slice_for_rank

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # quintic iteration; singular values end in about [0.7, 1.2]


def orthogonalize(matrix_MN: Tensor, *, steps: int = 5) -> Tensor:
    """Approximate the nearest semi-orthogonal matrix by Newton–Schulz iteration."""
    a, b, c = COEFFICIENTS
    fast_half = matrix_MN.device.type == "cuda"
    x: Tensor = matrix_MN.bfloat16() if fast_half else matrix_MN.float()
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    x = x.T if tall else x
    return x.to(matrix_MN.dtype)


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov momentum and decoupled weight decay, for matrices only.

    The update is scaled by 0.2 √max(rows, columns), which matches the RMS of AdamW updates (Liu et al. 2025), so
    AdamW's learning rate and weight decay apply unchanged.
    """

    def __init__(
        self, params: Iterable[Tensor], lr: float, *, weight_decay: float = 0.1, momentum: float = 0.95
    ) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update all matrices with a gradient."""
        assert closure is None, "Muon takes no closure"
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(parameter)
                momentum = state["momentum"]
                momentum.lerp_(parameter.grad, 1 - group["momentum"])
                # FSDP: every rank orthogonalizes the full matrix and applies its local rows.
                update = orthogonalize(full_tensor(parameter.grad.lerp(momentum, group["momentum"])))
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                local_shard(parameter).add_(
                    slice_for_rank(update, parameter), alpha=-group["lr"] * 0.2 * max(parameter.shape) ** 0.5
                )
