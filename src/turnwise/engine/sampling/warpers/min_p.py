"""Min-p (Nguyen et al. 2024): a token stays if it is at least p times as likely as the likeliest. 0 switches it off."""

import torch
from torch import Tensor

ORDER = 40


def apply(logits_BV: Tensor, value_B: Tensor) -> Tensor:
    """Mask what is below each row's share of its largest probability, pᵢ / max p = exp(zᵢ − max z)."""
    least_B1 = logits_BV.amax(dim=1, keepdim=True) + value_B.to(logits_BV).log().unsqueeze(1)  # log 0 keeps everything
    return logits_BV.masked_fill(logits_BV < least_B1, -torch.inf)
