"""Nucleus sampling (Holtzman et al. 2020): the smallest set of tokens whose probability reaches p stays.

Exactly that set: tokens are taken from the likeliest down, of equals the first, until their sum is at least p; the one
that crosses belongs to it. 1 switches it off.

Only tokens of at least (1 − p) / V are put in order, V being the vocabulary: all the others together have less than
1 − p, so the nucleus is reached before the first of them. Ordering everything would take longer than a small model's
pass.
"""

import numpy as np
import torch
from torch import Tensor

ORDER = 30


def apply(logits_BV: Tensor, value_B: Tensor) -> Tensor:
    """Mask what is outside each row's nucleus."""
    vocab = logits_BV.shape[1]
    most_B1 = logits_BV.amax(dim=1, keepdim=True)
    # In double: a sum in parts, as of a long row on several threads, comes out the same.
    total_B = (logits_BV - most_B1).exp_().double().sum(dim=1)
    p_B = value_B.double().to(total_B.device)
    bound_B1 = most_B1 + ((1 - p_B) * total_B / vocab).log().unsqueeze(1).to(logits_BV)
    candidates_BV = logits_BV >= torch.minimum(bound_B1, most_B1)
    outside_BV = torch.zeros_like(candidates_BV)
    for row in (value_B < 1).nonzero().squeeze(1).tolist():
        outside_BV[row] = _outside(logits_BV[row], candidates_BV[row], p_B[row] * total_B[row])
    return logits_BV.masked_fill(outside_BV, -torch.inf)


def _outside(logits_V: Tensor, candidates_V: Tensor, wanted: Tensor) -> Tensor:
    """What a row's nucleus does not hold; `wanted` is its weight, where the likeliest token has 1."""
    sorted_K = _descending(logits_V[candidates_V])
    sums_K = (sorted_K - sorted_K[0]).exp().double().cumsum(dim=0)
    last = min(int(torch.searchsorted(sums_K, wanted)), len(sorted_K) - 1)  # rounding may leave the sum short
    least = sorted_K[last]
    outside_V = logits_V < least
    too_many = int((sorted_K >= least).sum()) - (last + 1)
    if too_many:  # equals of the least: the last of them go
        equal = (logits_V == least).nonzero().squeeze(1)
        outside_V[equal[len(equal) - too_many :]] = True
    return outside_V


def _descending(logits_K: Tensor) -> Tensor:
    """In order; on a processor by numpy, which sorts bare numbers several times quicker."""
    if logits_K.device.type == "cpu":
        return torch.from_numpy(np.sort(logits_K.numpy())).flip(0)
    return logits_K.sort(descending=True).values
