"""Counts of right and wrong predictions in a batch, from which validation computes F1.

Shapes: N cases (tokens or texts), K labels.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

RIGHT, WRONG, MISSED = "right", "wrong", "missed"
COUNTS = (RIGHT, WRONG, MISSED)


def count_labels(predictions_N: Tensor, targets_N: Tensor, outside: int | None) -> dict[str, float]:
    """Counts of single labels. Cases of the label `outside`, such as "O", count only where it was confused."""
    is_right_N = predictions_N == targets_N
    is_predicted_N, is_true_N = torch.ones_like(is_right_N), torch.ones_like(is_right_N)
    if outside is not None:
        is_predicted_N, is_true_N = predictions_N != outside, targets_N != outside
    return {
        RIGHT: float((is_right_N & is_true_N).sum()),
        WRONG: float((~is_right_N & is_predicted_N).sum()),
        MISSED: float((~is_right_N & is_true_N).sum()),
    }


def count_multi_labels(logits_NK: Tensor, targets_NK: Tensor) -> dict[str, float]:
    """Counts of texts with any number of labels; a label is predicted from a probability of one half on."""
    is_predicted_NK, is_true_NK = logits_NK > 0, targets_NK > 0
    return {
        RIGHT: float((is_predicted_NK & is_true_NK).sum()),
        WRONG: float((is_predicted_NK & ~is_true_NK).sum()),
        MISSED: float((~is_predicted_NK & is_true_NK).sum()),
    }


def f1(counts: Mapping[str, float]) -> float:
    """Micro-averaged F1 from sums of `COUNTS`, or from sums divided by the same number; 0 without any case."""
    total = 2 * counts[RIGHT] + counts[WRONG] + counts[MISSED]
    return 2 * counts[RIGHT] / total if total else 0.0
