"""Locally typical sampling (Meister et al. 2023): keeps the tokens whose information content is closest to the entropy.

Tokens are ordered by |−log pᵢ − H|, H being the entropy, and taken until their probability reaches p; the token that
crosses p is included. 1 switches it off.
"""

import torch
from torch import Tensor

ORDER = 50
REASON = "Tokens closer to the expected surprise already have a total probability of {value:g}."


def apply(logits_BV: Tensor, value_B: Tensor) -> Tensor:
    """Mask tokens outside each row's typical set."""
    logp_BV = logits_BV.log_softmax(dim=1)
    p_BV = logp_BV.exp()
    # In float64, so that the sum does not depend on how torch splits it among threads, hence not on the batch size.
    entropy_B1 = -torch.where(p_BV > 0, p_BV * logp_BV, 0.0).sum(dim=1, keepdim=True, dtype=torch.float64)
    distance_BV = (-logp_BV - entropy_B1.to(logits_BV)).abs()  # infinite for masked tokens, which therefore come last
    order_BV = distance_BV.argsort(dim=1, stable=True)
    sorted_p_BV = p_BV.gather(1, order_BV)
    outside_BV = sorted_p_BV.cumsum(dim=1) - sorted_p_BV >= value_B.unsqueeze(1)
    outside_BV &= (value_B < 1).unsqueeze(1)
    outside_BV[:, 0] = False
    return logits_BV.masked_fill(torch.zeros_like(outside_BV).scatter(1, order_BV, outside_BV), -torch.inf)
