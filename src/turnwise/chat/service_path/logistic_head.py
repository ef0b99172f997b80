"""Multinomial logistic regression on vectors, with L2 regularization and a temperature. Shapes: N texts, D dimensions,
C classes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, logsumexp

Floats = NDArray[np.float64]
L2 = 0.02
_TEMPERATURES = np.geomspace(0.05, 5.0, 60)


@dataclass(frozen=True, slots=True)
class LogisticHead:
    """Weights of shape (D + 1, C); the last row is the bias."""

    weights_DC: Floats

    def logits(self, vectors_ND: Floats) -> Floats:
        """Logits of shape (N, C)."""
        return np.asarray(vectors_ND @ self.weights_DC[:-1] + self.weights_DC[-1])


def fit_logistic_head(
    vectors_ND: Floats, classes_N: NDArray[np.int64], num_classes: int, *, weights_N: Floats | None = None,
    l2: float = L2,
) -> LogisticHead:  # fmt: skip
    """Fit a head with L-BFGS. The bias is not regularized.

    Args:
        vectors_ND: the texts.
        classes_N: class of each text.
        num_classes: C.
        weights_N: weight of each text; default: equal.
        l2: strength of the regularization, per text.
    """
    num_texts, dimension = vectors_ND.shape
    inputs_ND = np.hstack([vectors_ND, np.ones((num_texts, 1))])
    weights_N = np.ones(num_texts) if weights_N is None else weights_N
    weights_N = weights_N / weights_N.sum()
    targets_NC = np.eye(num_classes)[classes_N]

    def objective(flat: Floats) -> tuple[float, Floats]:
        head_DC = flat.reshape(dimension + 1, num_classes)
        logits_NC = inputs_ND @ head_DC
        log_probabilities_NC = logits_NC - logsumexp(logits_NC, axis=1, keepdims=True)
        penalized_DC = head_DC.copy()
        penalized_DC[-1] = 0.0
        loss = -(weights_N @ (log_probabilities_NC * targets_NC).sum(axis=1)) + 0.5 * l2 * (penalized_DC**2).sum()
        gradient_DC = inputs_ND.T @ (weights_N[:, None] * (np.exp(log_probabilities_NC) - targets_NC))
        return float(loss), (gradient_DC + l2 * penalized_DC).ravel()

    start = np.zeros((dimension + 1) * num_classes)
    result = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 200})
    return LogisticHead(np.asarray(result.x).reshape(dimension + 1, num_classes))


def fit_temperature(logits_NC: Floats, classes_N: NDArray[np.int64]) -> float:
    """The temperature with the smallest negative log-likelihood on held-out logits (Guo et al. 2017)."""
    rows = np.arange(len(classes_N))
    losses = [-log_softmax(logits_NC / temperature, axis=1)[rows, classes_N].mean() for temperature in _TEMPERATURES]
    return float(_TEMPERATURES[int(np.argmin(losses))])


def expected_calibration_error(probabilities_N: Floats, correct_N: NDArray[np.bool_], num_bins: int = 10) -> float:
    """Mean gap of probability and accuracy over bins of equal width (Guo et al. 2017)."""
    bins_N = np.minimum((probabilities_N * num_bins).astype(int), num_bins - 1)
    gaps = [
        abs(probabilities_N[bins_N == number].mean() - correct_N[bins_N == number].mean()) * (bins_N == number).mean()
        for number in range(num_bins)
        if (bins_N == number).any()
    ]
    return float(sum(gaps))
