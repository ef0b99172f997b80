"""ε-sampling (Hewitt et al. 2022): keeps tokens with probability of at least ε. 0 switches it off.

The most likely token and its equals are always kept.
"""

import torch
from torch import Tensor

ORDER = 60
REASON = "It is less likely than {value:g}."


def apply(logits_BV: Tensor, value_B: Tensor) -> Tensor:
    """Mask tokens with pᵢ < ε."""
    masked_BV = logits_BV.softmax(dim=1) < value_B.to(logits_BV).unsqueeze(1)
    masked_BV &= logits_BV < logits_BV.amax(dim=1, keepdim=True)
    return logits_BV.masked_fill(masked_BV, -torch.inf)
