"""Predicts intents by the most similar example message. It needs no fitting, so it answers until the classifier is
fitted.

Its probabilities are not calibrated. `THRESHOLD` answers a message only if an example has nearly the same words: of the
examples of `customer_service`, held out one at a time, it answers 1.5 % wrongly.
"""

from collections.abc import Callable, Sequence

import numpy as np

from turnwise.chat.service_path.intent_classifier import IntentPrediction, IntentScore
from turnwise.chat.service_path.logistic_head import Floats
from turnwise.chat.service_path.text_encoders import LexicalEncoder

THRESHOLD = 0.4
SHARPNESS = 10.0  # of the softmax over the similarities of the intents


class ExampleMatcher:
    """Compares a message with all examples by words and character n-grams (implements `IntentPredictor`)."""

    def __init__(
        self, encoder: LexicalEncoder, vectors_ND: Floats, labels: Sequence[str], clean: Callable[[str], str]
    ) -> None:
        """Use encoded examples. `clean` prepares a message as it did the examples."""
        self._encoder, self._vectors_ND, self._clean = encoder, vectors_ND, clean
        self._intents = sorted(set(labels))
        self._masks_CN = np.array([[label == intent for label in labels] for intent in self._intents])

    @classmethod
    async def create(cls, texts: Sequence[str], labels: Sequence[str], clean: Callable[[str], str]) -> "ExampleMatcher":
        """Encode the example messages."""
        encoder = await LexicalEncoder().fit(texts)
        return cls(encoder, await encoder.encode(texts), labels, clean)

    async def predict(self, message: str) -> IntentPrediction:
        """The intents of a message. The first one's probability is at most the similarity with its best example."""
        if len(self._intents) < 2 or not message.strip():
            return IntentPrediction()
        similarities_N = self._vectors_ND @ (await self._encoder.encode([self._clean(message)]))[0]
        best_C = np.where(self._masks_CN, similarities_N, 0.0).max(axis=1)
        weights_C = np.exp(SHARPNESS * (best_C - best_C.max()))
        probabilities_C = best_C.max() * weights_C / weights_C.sum()
        order = np.argsort(-probabilities_C, kind="stable")
        return IntentPrediction(
            tuple(IntentScore(self._intents[index], float(probabilities_C[index])) for index in order)
        )
