"""Min-p (Nguyen et al. 2024): keeps tokens at least p times as likely as the most likely one. 0 switches it off."""

import torch
from torch import Tensor

ORDER = 40
REASON = "It is less than {value:g} times as likely as the most likely token."


def apply(logits_BV: Tensor, value_B: Tensor) -> Tensor:
    """Mask tokens with pᵢ / max p = exp(zᵢ − max z) below the row's value."""
    min_B1 = logits_BV.amax(dim=1, keepdim=True) + value_B.to(logits_BV).log().unsqueeze(1)  # log 0 = −∞ keeps all
    return logits_BV.masked_fill(logits_BV < min_B1, -torch.inf)
