"""Top-k (Fan et al. 2018): keeps the k most likely tokens, and ties with the k-th. 0 switches it off."""

import torch
from torch import Tensor

ORDER = 20
REASON = "It is not among the {value} most likely tokens."


def apply(logits_BV: Tensor, value_B: Tensor) -> Tensor:
    """Mask logits below each row's k-th largest."""
    vocab = logits_BV.shape[1]
    k_B = torch.where(value_B > 0, value_B, vocab).long().clamp(max=vocab)
    max_k = int(k_B.where(k_B < vocab, 1).max())
    if bool((k_B == vocab).all()):
        return logits_BV
    top_BK = logits_BV.topk(max_k, dim=1).values
    min_B1 = top_BK.gather(1, (k_B.clamp(max=max_k) - 1).unsqueeze(1))
    min_B1 = torch.where((k_B < vocab).unsqueeze(1), min_B1, -torch.inf)
    return logits_BV.masked_fill(logits_BV < min_B1, -torch.inf)
