"""The questions near a set of questions: which of two models answers a question.

Similarity is the cosine of sets of words and character n-grams, weighted by their idf among background questions. In
English, n-grams match inflections and typing errors; in Chinese, a word is a character and an n-gram is two of them.
The threshold is chosen so that hardly any background question is inside the scope.

The idf does not depend on the questions of the scope, so further questions only add to it.
"""

import math
import unicodedata
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from turnwise.core.strict_model import StrictModel
from turnwise.text.word_tokens import is_cjk, split_words

NGRAM_SIZE = 4  # characters of an n-gram, with the space before and after a word
NGRAM_WEIGHT = 0.3  # of a character n-gram, relative to a word
MAX_BACKGROUND_SHARE = 0.005
MIN_THRESHOLD = 0.3  # the background has few languages, and says little about texts in another one
MAX_CHARS = 2_000  # longer texts are not compared: they are inside only if they are a question of the scope


class ScopeData(StrictModel):
    """The content of a scope, as it is stored.

    Attributes:
        questions: the questions of the scope.
        threshold: a text is inside if its similarity to a question is larger.
        num_background: number of background questions.
        background_counts: number of background questions with a feature; features of fewer than two are left out.
    """

    questions: tuple[str, ...]
    threshold: float = Field(ge=0, le=1)
    num_background: int = Field(ge=0)
    background_counts: dict[str, Annotated[int, Field(ge=1)]]


class QuestionScope:
    """Decides whether a text is near a set of questions. Shapes: N questions.

    Attributes:
        data: its content.
    """

    def __init__(self, data: ScopeData) -> None:
        self.data = data
        self._texts = frozenset(map(normalize_question, data.questions))
        features_N = [question_features(text) for text in sorted(self._texts)]
        self._weights_N = np.array([self._weight(features) for features in features_N])
        postings: dict[str, list[int]] = {}
        for index, features in enumerate(features_N):
            for feature in features:
                postings.setdefault(feature, []).append(index)
        self._postings = {feature: np.array(indices) for feature, indices in postings.items()}

    def contains(self, text: str) -> bool:
        """True for the questions of the scope, and for texts that are similar to one of them."""
        return normalize_question(text) in self._texts or self.similarity(text) > self.data.threshold

    def similarity(self, text: str) -> float:
        """Similarity to the nearest question, from 0 to 1; 0 for a text of more than `MAX_CHARS` characters."""
        if len(text) > MAX_CHARS or not self._texts:
            return 0.0
        features = question_features(normalize_question(text))
        shared_N: NDArray[np.float64] = np.zeros(len(self._weights_N))
        for feature in features:
            if (indices := self._postings.get(feature)) is not None:
                shared_N[indices] += self._feature_weight(feature)
        norms_N = np.sqrt(self._weights_N * self._weight(features))
        return min(1.0, float(np.max(np.divide(shared_N, norms_N, out=shared_N, where=shared_N > 0))))

    def _weight(self, features: Iterable[str]) -> float:
        return sum(map(self._feature_weight, features))

    def _feature_weight(self, feature: str) -> float:
        """The square of the idf, as in the cosine of tf-idf vectors. A feature of one question counts as a new one."""
        count = self.data.background_counts.get(feature, 1)
        idf = math.log((2 + self.data.num_background) / (1 + count))
        return idf**2 * (NGRAM_WEIGHT if feature.startswith(" ") else 1.0)


def fit_scope(
    questions: Iterable[str], background: Iterable[str], *, max_share: float = MAX_BACKGROUND_SHARE
) -> QuestionScope:
    """The largest scope of questions with at most a share of the background inside.

    Args:
        questions: the questions of the scope. Equal ones count once, and their order does not matter.
        background: questions that should be outside. Those that are also questions of the scope do not count.
        max_share: largest share of the background that may be inside.
    """
    texts = {normalize_question(text): text for text in sorted(questions, reverse=True)}
    outside = sorted({normalize_question(text) for text in background} - texts.keys())
    counts = Counter(feature for text in outside for feature in question_features(text))
    data = ScopeData(
        questions=tuple(sorted(texts.values())),
        threshold=1.0,
        num_background=len(outside),
        background_counts={feature: count for feature, count in sorted(counts.items()) if count > 1},
    )
    scope = QuestionScope(data)
    similarities = sorted(map(scope.similarity, outside), reverse=True)
    threshold = max([MIN_THRESHOLD, *similarities[int(max_share * len(outside)) :][:1]])  # the first one outside
    return QuestionScope(data.model_copy(update={"threshold": threshold}))


def normalize_question(text: str) -> str:
    """The text without differences in case, width and white space."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def question_features(text: str) -> list[str]:
    """The distinct words of a normalized text, and its n-grams, which start with a space."""
    words = split_words(text)
    features = dict.fromkeys(words)
    for word in words:
        padded = f" {word} "
        for start in range(len(padded) - NGRAM_SIZE + 1):
            features[" " + padded[start : start + NGRAM_SIZE]] = None
    features |= {f" {first}{second}": None for first, second in pairwise(words) if is_cjk((first, second))}
    return sorted(features)
