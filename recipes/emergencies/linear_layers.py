"""Logistic regression on sparse features and on vectors, with L2 regularization, fitted by L-BFGS.

Shapes: N messages, F features, K kinds.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import minimize
from scipy.special import expit, logsumexp

from turnwise.scenarios.message_features import NUM_BUCKETS, message_buckets

Floats = NDArray[np.float64]
Matrix = Floats | sparse.csr_matrix
MAX_ITERATIONS = 100


def bucket_matrix(texts: Sequence[str]) -> sparse.csr_matrix:
    """Features of shape (N, F): 1 / sqrt(number of features of the text) for each of its buckets."""
    rows = [message_buckets(text) for text in texts]
    offsets = np.cumsum([0, *map(len, rows)])
    values = np.concatenate([np.full(len(row), 1 / np.sqrt(max(1, len(row)))) for row in rows])
    return sparse.csr_matrix((values, np.concatenate(rows), offsets), shape=(len(texts), NUM_BUCKETS))


def fit_binary(features_NF: Matrix, targets_N: NDArray[np.bool_], weights_N: Floats, l2: float) -> Floats:
    """Weights and bias, of shape (F + 1). The bias is not regularized."""
    signs_N, weights_N = np.where(targets_N, 1.0, -1.0), weights_N / weights_N.sum()

    def objective(flat: Floats) -> tuple[float, Floats]:
        margins_N = signs_N * (features_NF @ flat[:-1] + flat[-1])
        loss = weights_N @ np.logaddexp(0, -margins_N) + 0.5 * l2 * (flat[:-1] @ flat[:-1])
        slopes_N = -signs_N * expit(-margins_N) * weights_N
        return float(loss), np.append(features_NF.T @ slopes_N + l2 * flat[:-1], slopes_N.sum())

    start = np.zeros(features_NF.shape[1] + 1)
    return np.asarray(minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": MAX_ITERATIONS}).x)


def fit_kinds(features_NF: Matrix, kinds_N: NDArray[np.int64], weights_N: Floats, num_kinds: int, l2: float) -> Floats:
    """Weights and biases of a softmax, of shape (F + 1, K). The biases are not regularized."""
    num_features = features_NF.shape[1]
    targets_NK, weights_N1 = np.eye(num_kinds)[kinds_N], (weights_N / weights_N.sum())[:, None]

    def objective(flat: Floats) -> tuple[float, Floats]:
        head_FK = flat.reshape(num_features + 1, num_kinds)
        logits_NK = features_NF @ head_FK[:-1] + head_FK[-1]
        log_probabilities_NK = logits_NK - logsumexp(logits_NK, axis=1, keepdims=True)
        loss = -(weights_N1 * log_probabilities_NK * targets_NK).sum() + 0.5 * l2 * (head_FK[:-1] ** 2).sum()
        slopes_NK = weights_N1 * (np.exp(log_probabilities_NK) - targets_NK)
        gradient_FK = np.vstack([features_NF.T @ slopes_NK + l2 * head_FK[:-1], slopes_NK.sum(axis=0)])
        return float(loss), gradient_FK.ravel()

    start = np.zeros((num_features + 1) * num_kinds)
    result = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": MAX_ITERATIONS})
    return np.asarray(result.x).reshape(num_features + 1, num_kinds)
