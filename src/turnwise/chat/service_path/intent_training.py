"""Fits the intent classifier of a scenario by cross-validation on its example messages.

Held-out messages show how often the first intent is right. Messages of no intent are not part of a scenario, so
intents are held out as a whole too: their messages are then messages of no intent, and every prediction for them is
wrong (leave-class-out).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from turnwise.chat.service_path.intent_classifier import IntentHead, certainty_features
from turnwise.chat.service_path.logistic_head import (
    Floats,
    LogisticHead,
    expected_calibration_error,
    fit_logistic_head,
    fit_temperature,
)
from turnwise.core.steps import Steps

NUM_FOLDS = 10  # of messages; few examples are left out at a time, because intents have few
NUM_INTENT_GROUPS = 5
NO_INTENT_SHARE = (
    0.1  # weight of messages of no intent; less than their usual share, because held-out intents are harder to tell
)
SEED = 0


@dataclass(frozen=True, slots=True)
class HeldOutScores:
    """Held-out predictions, one entry per message: the examples once, then once more as messages of no intent.

    Attributes:
        certainty_N: calibrated probability that the first intent is right.
        correct_N: whether it is.
        weights_N: messages of no intent weigh `NO_INTENT_SHARE` together.
        num_examples: number of entries that have an intent; they come first.
    """

    certainty_N: Floats
    correct_N: NDArray[np.bool_]
    weights_N: Floats
    num_examples: int

    @property
    def calibration_error(self) -> float:
        """Expected calibration error on messages that have an intent and on those without, as often as assumed."""
        rng = np.random.default_rng(SEED)
        sample = rng.choice(len(self.weights_N), size=4000, p=self.weights_N / self.weights_N.sum())
        return expected_calibration_error(self.certainty_N[sample], self.correct_N[sample])


def fit_intent_head(
    vectors_ND: Floats, labels: Sequence[str], intents: Sequence[str]
) -> Steps[tuple[IntentHead, HeldOutScores]]:
    """Fit the classifier, and return its held-out predictions. A step fits one head.

    Args:
        vectors_ND: vectors of the example messages, of length 1.
        labels: intent of each message.
        intents: all intents; at least two.
    """
    positions = {intent: index for index, intent in enumerate(intents)}
    classes_N = np.array([positions[label] for label in labels], dtype=np.int64)
    folds_N = _stratified_folds(classes_N, NUM_FOLDS)
    logits_NC = np.zeros((len(classes_N), len(intents)))
    features: list[Floats] = []
    fold_heads: list[tuple[NDArray[np.bool_], LogisticHead]] = []
    for fold in range(NUM_FOLDS):
        is_held_out_N = folds_N == fold
        if is_held_out_N.any() and not is_held_out_N.all():
            head = fit_logistic_head(vectors_ND[~is_held_out_N], classes_N[~is_held_out_N], len(intents))
            logits_NC[is_held_out_N] = head.logits(vectors_ND[is_held_out_N])
            fold_heads.append((is_held_out_N, head))
            yield
    temperature = fit_temperature(logits_NC, classes_N)
    correct: list[NDArray[np.bool_]] = []
    for is_held_out_N, head in fold_heads:
        probabilities = softmax(head.logits(vectors_ND[is_held_out_N]) / temperature, axis=1)
        features.append(
            certainty_features(
                probabilities, vectors_ND[is_held_out_N], vectors_ND[~is_held_out_N], classes_N[~is_held_out_N]
            )
        )
        correct.append(probabilities.argmax(axis=1) == classes_N[is_held_out_N])
    num_known = sum(map(len, correct))
    groups_C = np.arange(len(intents)) % NUM_INTENT_GROUPS
    for group in range(min(NUM_INTENT_GROUPS, len(intents))):
        is_absent_N = groups_C[classes_N] == group
        if not is_absent_N.any() or len(set(classes_N[~is_absent_N].tolist())) < 2:
            continue
        head = fit_logistic_head(vectors_ND[~is_absent_N], classes_N[~is_absent_N], len(intents))
        probabilities = softmax(head.logits(vectors_ND[is_absent_N]) / temperature, axis=1)
        features.append(
            certainty_features(
                probabilities, vectors_ND[is_absent_N], vectors_ND[~is_absent_N], classes_N[~is_absent_N]
            )
        )
        correct.append(np.zeros(int(is_absent_N.sum()), dtype=np.bool_))
        yield
    features_M3, correct_M = np.concatenate(features), np.concatenate(correct)
    weights_M = np.full(len(correct_M), 1.0 / max(1, num_known))
    num_absent = len(correct_M) - num_known
    if num_absent:
        weights_M[num_known:] = NO_INTENT_SHARE / (1 - NO_INTENT_SHARE) / num_absent
    certainty_4 = _fit_certainty(features_M3, correct_M, weights_M)
    certainty_M = 1 / (1 + np.exp(-(features_M3 @ certainty_4[:-1] + certainty_4[-1])))
    head = fit_logistic_head(vectors_ND, classes_N, len(intents))
    fitted = IntentHead(tuple(intents), head, temperature, certainty_4, vectors_ND, classes_N)
    return fitted, HeldOutScores(certainty_M, correct_M, weights_M, num_known)


def _fit_certainty(features_M3: Floats, correct_M: NDArray[np.bool_], weights_M: Floats) -> Floats:
    """Weights of the binary head, as the difference of the two classes of a multinomial one."""
    head = fit_logistic_head(features_M3, correct_M.astype(np.int64), 2, weights_N=weights_M, l2=1e-3)
    return np.asarray(head.weights_DC[:, 1] - head.weights_DC[:, 0])


def _stratified_folds(classes_N: NDArray[np.int64], num_folds: int) -> NDArray[np.int64]:
    """The fold of each message: those of every class are spread over the folds, in random order."""
    rng = np.random.default_rng(SEED)
    folds_N = np.zeros(len(classes_N), dtype=np.int64)
    for index in range(int(classes_N.max()) + 1):
        members = rng.permutation(np.flatnonzero(classes_N == index))
        folds_N[members] = (np.arange(len(members)) + index) % num_folds
    return folds_N
