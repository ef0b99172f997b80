"""Predicts the intent of a message, with a calibrated probability that the prediction is right.

A logistic head on the vectors of an encoder gives a distribution over the intents. A second, binary one estimates
whether the first intent is right, also for messages of no intent at all: it sees the probability, its margin and the
similarity with the examples of the intent (see `intent_training`). Shapes: N texts, D dimensions, C intents.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from turnwise.chat.service_path.logistic_head import Floats, LogisticHead

NO_INTENT = ""


@dataclass(frozen=True, slots=True)
class IntentScore:
    """An intent and its probability."""

    intent: str
    probability: float


@dataclass(frozen=True, slots=True)
class IntentPrediction:
    """Intents with probabilities, likeliest first. They sum up to less than 1: the rest stands for no intent."""

    scores: tuple[IntentScore, ...] = ()

    @property
    def best(self) -> IntentScore:
        """The likeliest intent; one without a name and with probability 0 if there are none."""
        return self.scores[0] if self.scores else IntentScore(NO_INTENT, 0.0)


class IntentPredictor(Protocol):
    """Predicts the intents of messages."""

    async def predict(self, message: str) -> IntentPrediction:
        """The intents of a message."""


class TextEncoder(Protocol):
    """Turns texts into vectors of length 1."""

    @property
    def id(self) -> str:
        """Changes with the vectors."""

    @property
    def fitted_D(self) -> Floats | None:
        """What `fit` has computed; None before."""

    def with_fitted(self, fitted_D: Floats) -> "TextEncoder":
        """The encoder with the result of an earlier `fit`."""

    async def fit(self, texts: Sequence[str]) -> "TextEncoder":
        """The encoder, adapted to the example messages of a scenario."""

    async def encode(self, texts: Sequence[str]) -> Floats:
        """Vectors of shape (N, D)."""


@dataclass(frozen=True, slots=True)
class IntentHead:
    """The fitted part of a classifier.

    Attributes:
        intents: names of the classes.
        head: logits of the intents.
        temperature: divides the logits.
        certainty_4: weights of the binary head: three features and the bias (see `certainty_features`).
        examples_ND: vectors of the example messages.
        classes_N: class of each example.
    """

    intents: tuple[str, ...]
    head: LogisticHead
    temperature: float
    certainty_4: Floats
    examples_ND: Floats
    classes_N: NDArray[np.int64]

    def predict(self, vectors_ND: Floats) -> list[IntentPrediction]:
        """A prediction for each vector."""
        probabilities_NC = softmax(self.head.logits(vectors_ND) / self.temperature, axis=1)
        features_N3 = certainty_features(probabilities_NC, vectors_ND, self.examples_ND, self.classes_N)
        certainty_N = expit(features_N3 @ self.certainty_4[:-1] + self.certainty_4[-1])
        return [self._prediction(row, certainty) for row, certainty in zip(probabilities_NC, certainty_N, strict=True)]

    def _prediction(self, probabilities_C: Floats, certainty: float) -> IntentPrediction:
        """The distribution, scaled so that the first intent has the calibrated probability, and all at most 1."""
        order = np.argsort(-probabilities_C, kind="stable")
        first = float(probabilities_C[order[0]])
        # A message of no intent has a small certainty: the other intents must not become likelier by that.
        scale = min(certainty / first, (1.0 - certainty) / max(1.0 - first, 1e-9))
        scores = [IntentScore(self.intents[order[0]], float(certainty))]
        scores += [IntentScore(self.intents[index], float(probabilities_C[index] * scale)) for index in order[1:]]
        return IntentPrediction(tuple(scores))


class IntentClassifier:
    """An encoder and a fitted head."""

    def __init__(
        self, encoder: TextEncoder, head: IntentHead | None, clean: Callable[[str], str] = lambda text: text
    ) -> None:
        """Combine them; without a head there are no intents. `clean` prepares a message as it did the examples."""
        self._encoder, self._head, self._clean = encoder, head, clean

    async def predict(self, message: str) -> IntentPrediction:
        """The intents of a message."""
        if self._head is None or not message.strip():
            return IntentPrediction()
        return self._head.predict(await self._encoder.encode([self._clean(message)]))[0]


def certainty_features(
    probabilities_NC: Floats, vectors_ND: Floats, examples_ND: Floats, classes_N: NDArray[np.int64]
) -> Floats:
    """Features of shape (N, 3): log-odds of the first intent, log-ratio to the second, similarity with its examples."""
    top_N = probabilities_NC.argmax(axis=1)
    rows = np.arange(len(top_N))
    first_N = probabilities_NC[rows, top_N].clip(1e-6, 1 - 1e-6)
    others_NC = probabilities_NC.copy()
    others_NC[rows, top_N] = 0.0
    second_N = others_NC.max(axis=1).clip(1e-6, 1.0)
    similarities_NE = vectors_ND @ examples_ND.T
    same_NE = classes_N[None, :] == top_N[:, None]
    similarity_N = np.where(same_NE, similarities_NE, -1.0).max(axis=1)
    return np.stack([np.log(first_N / (1 - first_N)), np.log(first_N / second_N), 5.0 * similarity_N], axis=1)
