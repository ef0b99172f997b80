"""The fresh evaluator: a logistic regression that tells which of two replies is the human one.

It is trained on contexts that neither the generator nor its discriminator has read (Bradley and Terry 1952: the
probability is the logistic function of the difference of two scores, which are linear in the features).

Shapes: N pairs, G test contexts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from reply_features import ContextReply, difference
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from turnwise.evaluation.metric import FloatArray

STRENGTHS = (0.1, 1.0, 10.0)  # inverse regularization; the best one on validation pairs is used


@dataclass(frozen=True, slots=True)
class ReplyPairs:
    """Pairs of replies; the first one of each pair is the right one."""

    right: Sequence[ContextReply]
    wrong: Sequence[ContextReply]


def evaluator_credits(
    make_features: Callable[[], Any], train: ReplyPairs, valid: ReplyPairs, test: ReplyPairs
) -> FloatArray:
    """Train an evaluator, and return for each test pair whether it chooses the right reply.

    Args:
        make_features: makes the features, untrained.
        train: pairs to train on.
        valid: pairs to choose the regularization on.
        test: pairs to choose from.

    Returns:
        1 for the right reply, 0 for the wrong one, 0.5 if both have the same score, `(G)`.
    """
    features = make_features()
    rows = features.fit_transform([*train.right, *train.wrong])
    inputs = difference(rows[: len(train.right)], rows[len(train.right) :])
    valid_inputs, test_inputs = (
        difference(features.transform(pairs.right), features.transform(pairs.wrong)) for pairs in (valid, test)
    )
    heads = [fit_pairwise(inputs, strength) for strength in STRENGTHS]
    best = max(heads, key=lambda head: float(credits_of(valid_inputs @ head).mean()))
    return credits_of(test_inputs @ best)


def fit_pairwise(inputs: Any, strength: float) -> FloatArray:
    """Weights for differences right − wrong, `(F)`.

    Each difference is used in both directions, so that there are two classes and no bias.
    """
    is_sparse = sparse.issparse(inputs)
    both = sparse.vstack([inputs, -inputs]).tocsr() if is_sparse else np.vstack([inputs, -inputs])
    classes = np.repeat([1, 0], inputs.shape[0])
    head = LogisticRegression(C=strength, fit_intercept=False, max_iter=1_000)
    weights_F: FloatArray = head.fit(both, classes).coef_[0]
    return weights_F


def credits_of(margins_N: FloatArray) -> FloatArray:
    """1 for a positive margin of the right reply, 0 for a negative one, 0.5 for none."""
    return np.where(np.abs(margins_N) < 1e-9, 0.5, margins_N > 0)
