"""Dropout that is fast on a CPU.

On most processors torch draws a random number per value on one thread, which takes longer than the rest of dropout
together. Here four values share 64 random bits.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NUM_LEVELS = 2**16  # of 16 random bits
MIN_INT64, MIN_INT16 = -(2**63), -(2**15)


def dropout(x: Tensor, probability: float) -> Tensor:
    """Set values to 0 at random, and scale the others so that the expected values stay the same (within rounding).

    Args:
        x: values of any shape.
        probability: of dropping a value, below 1; on a CPU rounded to a multiple of 2⁻¹⁶.
    """
    if x.device.type != "cpu":
        return F.dropout(x, probability)
    num_dropped = min(round(probability * NUM_LEVELS), NUM_LEVELS - 1)
    if num_dropped == 0:
        return x
    bits = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(MIN_INT64, None)
    levels = bits.view(torch.int16)[: x.numel()].view(x.shape)
    scale = (levels >= MIN_INT16 + num_dropped).to(x.dtype).mul_(NUM_LEVELS / (NUM_LEVELS - num_dropped))
    return x * scale


class Dropout(nn.Dropout):
    """`nn.Dropout` with the faster `dropout` on a CPU."""

    def forward(self, input: Tensor) -> Tensor:
        """The values; in training some are dropped."""
        return dropout(input, self.p) if self.training else input
