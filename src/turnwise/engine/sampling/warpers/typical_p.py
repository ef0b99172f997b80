"""Locally typical sampling (Meister et al. 2023): the tokens whose surprise is nearest the expected one stay.

Tokens are ordered by |−log pᵢ − H|, H being the entropy, and taken until their probability reaches p; the one that
crosses belongs to them. 1 switches it off.
"""

import torch
from torch import Tensor

ORDER = 50


def apply(logits_BV: Tensor, value_B: Tensor) -> Tensor:
    """Mask what is outside each row's typical set."""
    logp_BV = logits_BV.log_softmax(dim=1)
    p_BV = logp_BV.exp()
    # In double: a lone row's sum is parted among threads, and must still be the one it has in company.
    entropy_B1 = -torch.where(p_BV > 0, p_BV * logp_BV, 0.0).sum(dim=1, keepdim=True, dtype=torch.float64)
    distance_BV = (-logp_BV - entropy_B1.to(logits_BV)).abs()  # infinite for what is masked already: it comes last
    order_BV = distance_BV.argsort(dim=1, stable=True)
    sorted_BV = p_BV.gather(1, order_BV)
    outside_BV = sorted_BV.cumsum(dim=1) - sorted_BV >= value_B.unsqueeze(1)
    outside_BV &= (value_B < 1).unsqueeze(1)
    outside_BV[:, 0] = False
    return logits_BV.masked_fill(torch.zeros_like(outside_BV).scatter(1, order_BV, outside_BV), -torch.inf)
