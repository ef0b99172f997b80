"""Top-k (Fan et al. 2018): only the k likeliest tokens stay. Ties with the k-th stay too. 0 switches it off."""

import torch
from torch import Tensor

ORDER = 20


def apply(logits_BV: Tensor, value_B: Tensor) -> Tensor:
    """Mask what is below each row's k-th largest logit."""
    vocab = logits_BV.shape[1]
    k_B = torch.where(value_B > 0, value_B, vocab).long().clamp(max=vocab)
    largest = int(k_B.where(k_B < vocab, 1).max())
    if bool((k_B == vocab).all()):
        return logits_BV
    top_BK = logits_BV.topk(largest, dim=1).values
    least_B1 = top_BK.gather(1, (k_B.clamp(max=largest) - 1).unsqueeze(1))
    least_B1 = torch.where((k_B < vocab).unsqueeze(1), least_B1, -torch.inf)
    return logits_BV.masked_fill(logits_BV < least_B1, -torch.inf)
