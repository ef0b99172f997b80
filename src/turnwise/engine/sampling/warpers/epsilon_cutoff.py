"""ε-sampling (Hewitt et al. 2022): a token stays if its probability is at least ε. 0 switches it off.

The likeliest token always stays, as do its equals, also where none reaches ε.
"""

import torch
from torch import Tensor

ORDER = 60


def apply(logits_BV: Tensor, value_B: Tensor) -> Tensor:
    """Mask what is less likely than each row's ε, pᵢ < ε."""
    too_rare_BV = logits_BV.softmax(dim=1) < value_B.to(logits_BV).unsqueeze(1)
    too_rare_BV &= logits_BV < logits_BV.amax(dim=1, keepdim=True)
    return logits_BV.masked_fill(too_rare_BV, -torch.inf)
