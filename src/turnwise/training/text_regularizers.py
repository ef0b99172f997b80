"""Losses that are added to the cross-entropy of texts with one label each.

Shapes: P texts, C hidden size, K labels.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

CONTRASTIVE_TEMPERATURE = 0.1
MASKED = -1e4  # similarity without weight; finite: −inf gives NaN gradients for a single text


def contrastive_loss(texts_PC: Tensor, labels_P: Tensor, none_class: int | None = None) -> Tensor:
    """Supervised contrastive loss of every text, `(P)` (Khosla et al. 2020, equation 2; Gunel et al. 2021).

    −1/|S| Σ_{j ∈ S} log exp(z_i · z_j / τ) / Σ_{a ≠ i} exp(z_i · z_a / τ), where S are the other texts of the batch
    with the label of text i, and z the vectors with length 1. 0 for a text without another one of its label, and for
    texts of `none_class`, which have nothing in common; others are kept away from them.
    """
    normalized_PC = F.normalize(texts_PC.float(), dim=1)
    is_self_PP = torch.eye(len(labels_P), dtype=torch.bool, device=labels_P.device)
    similarity_PP = (normalized_PC @ normalized_PC.T / CONTRASTIVE_TEMPERATURE).masked_fill(is_self_PP, MASKED)
    log_probability_PP = similarity_PP.log_softmax(dim=1)
    is_positive_PP = (labels_P[:, None] == labels_P) & ~is_self_PP
    if none_class is not None:
        is_positive_PP &= labels_P != none_class
    sums_P = log_probability_PP.masked_fill(~is_positive_PP, 0.0).sum(dim=1)
    return -sums_P / is_positive_PP.sum(dim=1).clamp(min=1)


def consistency_loss(first_PK: Tensor, second_PK: Tensor) -> Tensor:
    """Disagreement of two forward passes with different dropout, `(P)` (R-Drop, Liang et al. 2021, equation 2).

    ½ (KL(p ‖ q) + KL(q ‖ p)) of the distributions that the logits give.
    """
    log_p_PK, log_q_PK = first_PK.float().log_softmax(dim=1), second_PK.float().log_softmax(dim=1)
    return 0.5 * ((log_p_PK.exp() - log_q_PK.exp()) * (log_p_PK - log_q_PK)).sum(dim=1)
