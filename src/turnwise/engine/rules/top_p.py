"""Nucleus sampling (Holtzman et al. 2020): the smallest set of tokens whose probability reaches p stays.

Exactly that set: tokens are taken from the likeliest down until their sum is at least p; the one that crosses belongs
to it. 1 switches it off.
"""

import torch
from torch import Tensor

ORDER = 30


def apply(logits_BV: Tensor, value_B: Tensor) -> Tensor:
    """Mask what is outside each row's nucleus."""
    sorted_BV, order_BV = logits_BV.sort(dim=1, descending=True, stable=True)
    probabilities_BV = sorted_BV.softmax(dim=1)
    before_BV = probabilities_BV.cumsum(dim=1) - probabilities_BV
    outside_BV = before_BV >= value_B.unsqueeze(1)
    # Rounding may push the sum to 1 early; a row that is off keeps everything.
    outside_BV &= (value_B < 1).unsqueeze(1)
    outside_BV[:, 0] = False
    return logits_BV.masked_fill(torch.zeros_like(outside_BV).scatter(1, order_BV, outside_BV), -torch.inf)
