"""Top-nσ (Tang et al. 2024): a token stays if its logit is at least max z − n · σ. 0 switches it off.

σ is the standard deviation of the row's logits. Most logits are noise around a mean, and the few that mean something
stand out from it by many σ; the bound cuts between the two. It comes before temperature, which divides maximum and σ
alike: so the same tokens stay at every temperature, exactly, and no other rule has thinned out what σ is taken of.

What a constraint or a processor has masked (−∞) is none of the distribution: σ is taken of the finite logits.
"""

import torch
from torch import Tensor

ORDER = 5


def apply(logits_BV: Tensor, value_B: Tensor) -> Tensor:
    """Mask what is more than n standard deviations below each row's largest logit."""
    finite_BV = logits_BV.isfinite()
    count_B1 = finite_BV.sum(dim=1, keepdim=True)
    # In double: a lone row's sum is parted among threads, and must still be the one it has in company.
    kept_BV = logits_BV.double().where(finite_BV, 0.0)
    mean_B1 = kept_BV.sum(dim=1, keepdim=True) / count_B1
    variance_B1 = ((kept_BV - mean_B1) ** 2).where(finite_BV, 0.0).sum(dim=1, keepdim=True) / count_B1
    reach_B1 = value_B.double().unsqueeze(1) * variance_B1.sqrt()
    least_B1 = (logits_BV.amax(dim=1, keepdim=True).double() - reach_B1).to(logits_BV)
    return logits_BV.masked_fill((logits_BV < least_B1) & (value_B > 0).unsqueeze(1), -torch.inf)
