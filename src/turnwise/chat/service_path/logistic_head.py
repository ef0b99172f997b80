"""Multinomial logistic regression on vectors, with L2 regularization and a temperature. Shapes: N texts, D dimensions,
C classes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, logsumexp
from threadpoolctl import threadpool_limits

Floats = NDArray[np.float64]
L2 = 0.001
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
    # On a busy machine, threads of BLAS that wait for each other make a fit of a second take a minute.
    with threadpool_limits(limits=1, user_api="blas"):
        return _fit(vectors_ND, classes_N, num_classes, weights_N, l2)


def _fit(
    vectors_ND: Floats, classes_N: NDArray[np.int64], num_classes: int, weights_N: Floats | None, l2: float
) -> LogisticHead:
    # The weights are a combination of the texts, so with more dimensions than texts the fit is done in the basis of the
    # texts, which gives the same weights.
    basis_DB = np.linalg.qr(vectors_ND.T)[0] if vectors_ND.shape[0] < vectors_ND.shape[1] else None
    projected_NB = vectors_ND if basis_DB is None else vectors_ND @ basis_DB
    num_texts, dimension = projected_NB.shape
    inputs_NB = np.hstack([projected_NB, np.ones((num_texts, 1))])
    weights_N = np.ones(num_texts) if weights_N is None else weights_N
    weights_N = weights_N / weights_N.sum()
    targets_NC = np.eye(num_classes)[classes_N]

    def objective(flat: Floats) -> tuple[float, Floats]:
        head_BC = flat.reshape(dimension + 1, num_classes)
        logits_NC = inputs_NB @ head_BC
        log_probabilities_NC = logits_NC - logsumexp(logits_NC, axis=1, keepdims=True)
        penalized_BC = head_BC.copy()
        penalized_BC[-1] = 0.0
        loss = -(weights_N @ (log_probabilities_NC * targets_NC).sum(axis=1)) + 0.5 * l2 * (penalized_BC**2).sum()
        gradient_BC = inputs_NB.T @ (weights_N[:, None] * (np.exp(log_probabilities_NC) - targets_NC))
        return float(loss), (gradient_BC + l2 * penalized_BC).ravel()

    start = np.zeros((dimension + 1) * num_classes)
    result = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 100, "gtol": 1e-4})
    weights_BC = np.asarray(result.x).reshape(dimension + 1, num_classes)
    if basis_DB is None:
        return LogisticHead(weights_BC)
    return LogisticHead(np.vstack([basis_DB @ weights_BC[:-1], weights_BC[-1:]]))


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
