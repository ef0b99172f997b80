"""Top-nσ (Tang et al. 2024): keeps tokens with a logit of at least max z − n · σ. 0 switches it off.

σ is the standard deviation of the row's logits. Most logits are noise around a mean, and informative ones are several σ
above it. The warper runs before temperature, which scales maximum and σ alike: the same tokens are kept at every
temperature, and no other warper has changed σ.

σ is computed from finite logits only, because constraints and processors mask tokens with −∞.
"""

import torch
from torch import Tensor

ORDER = 5
REASON = "Its logit is more than {value:g} standard deviations below the largest one."


def apply(logits_BV: Tensor, value_B: Tensor) -> Tensor:
    """Mask logits more than n standard deviations below each row's maximum."""
    finite_BV = logits_BV.isfinite()
    count_B1 = finite_BV.sum(dim=1, keepdim=True)
    # In float64, so that the sum does not depend on how torch splits it among threads, hence not on the batch size.
    values_BV = logits_BV.double().where(finite_BV, 0.0)
    mean_B1 = values_BV.sum(dim=1, keepdim=True) / count_B1
    variance_B1 = ((values_BV - mean_B1) ** 2).where(finite_BV, 0.0).sum(dim=1, keepdim=True) / count_B1
    range_B1 = value_B.double().unsqueeze(1) * variance_B1.sqrt()
    min_B1 = (logits_BV.amax(dim=1, keepdim=True).double() - range_B1).to(logits_BV)
    return logits_BV.masked_fill((logits_BV < min_B1) & (value_B > 0).unsqueeze(1), -torch.inf)
