"""Nucleus sampling (Holtzman et al. 2020): keeps the smallest set of most likely tokens with total probability ≥ p.

The token that crosses p is included; of equally likely tokens the first are taken. 1 switches it off.

Only tokens with probability of at least (1 − p) / V are sorted (V: vocabulary size): all others together have less than
1 − p, so the nucleus is complete before the first of them. Sorting everything would take longer than the forward pass
of a small model.

Shapes: B rows, V vocabulary, K candidates of one row.
"""

import numpy as np
import torch
from torch import Tensor

ORDER = 30
REASON = "The tokens that are more likely already have a total probability of {value:g}."


def apply(logits_BV: Tensor, value_B: Tensor) -> Tensor:
    """Mask tokens outside each row's nucleus."""
    vocab = logits_BV.shape[1]
    max_B1 = logits_BV.amax(dim=1, keepdim=True)
    # In float64, so that the sum does not depend on how torch splits it among threads, hence not on the batch size.
    total_B = (logits_BV - max_B1).exp_().double().sum(dim=1)
    p_B = value_B.double().to(total_B.device)
    bound_B1 = max_B1 + ((1 - p_B) * total_B / vocab).log().unsqueeze(1).to(logits_BV)
    candidates_BV = logits_BV >= torch.minimum(bound_B1, max_B1)
    outside_BV = torch.zeros_like(candidates_BV)
    for row in (value_B < 1).nonzero().squeeze(1).tolist():
        outside_BV[row] = _outside_nucleus(logits_BV[row], candidates_BV[row], p_B[row] * total_B[row])
    return logits_BV.masked_fill(outside_BV, -torch.inf)


def _outside_nucleus(logits_V: Tensor, candidates_V: Tensor, mass: Tensor) -> Tensor:
    """Mask of the tokens outside a row's nucleus, `(V,)`.

    `mass` is the total weight of the nucleus, where the most likely token has weight 1.
    """
    sorted_K = _sort_descending(logits_V[candidates_V])
    cumulative_K = (sorted_K - sorted_K[0]).exp().double().cumsum(dim=0)
    last = min(int(torch.searchsorted(cumulative_K, mass)), len(sorted_K) - 1)  # rounding may leave the sum below mass
    min_logit = sorted_K[last]
    outside_V = logits_V < min_logit
    num_excess = int((sorted_K >= min_logit).sum()) - (last + 1)
    if num_excess:  # of tokens equal to the last one, drop those with the highest ids
        equal = (logits_V == min_logit).nonzero().squeeze(1)
        outside_V[equal[len(equal) - num_excess :]] = True
    return outside_V


def _sort_descending(logits_K: Tensor) -> Tensor:
    """Sorted logits; by numpy on CPUs, which sorts plain arrays several times faster than torch."""
    if logits_K.device.type == "cpu":
        return torch.from_numpy(np.sort(logits_K.numpy())).flip(0)
    return logits_K.sort(descending=True).values
