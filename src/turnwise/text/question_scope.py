"""The questions near a set of questions: which of two models answers a question.

Similarity is the cosine of sets of words and character n-grams, weighted by their idf among background questions. In
English, n-grams match inflections and typing errors; in Chinese, a word is a character and an n-gram is two of them.
The threshold is chosen so that hardly any background question is inside the scope.

A question is inside only with the instructions (system messages) of the questions that it is near to: the same words
may ask for something else in another context. The idf does not depend on the questions of the scope, so further
questions only add to it.
"""

import math
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from turnwise.core.messages import Question
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
        questions: the questions of the scope, by their instructions.
        threshold: a question is inside if its similarity to one of them is larger.
        num_background: number of background questions.
        background_counts: number of background questions with a feature; features of fewer than two are left out.
    """

    questions: Mapping[str, tuple[str, ...]]
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
        questions = [(i, text) for i, texts in data.questions.items() for text in texts]
        self._questions = frozenset((normalize_question(i), normalize_question(text)) for i, text in questions)
        texts_N = [text for _, text in sorted(self._questions)]
        instructions_N = np.array([instructions for instructions, _ in sorted(self._questions)], dtype=object)
        self._has_instructions = {i: instructions_N == i for i in set(instructions_N)}
        features_N = [question_features(text) for text in texts_N]
        self._weights_N = np.array([self._weight(features) for features in features_N])
        postings: dict[str, list[int]] = {}
        for index, features in enumerate(features_N):
            for feature in features:
                postings.setdefault(feature, []).append(index)
        self._postings = {feature: np.array(indices) for feature, indices in postings.items()}

    def contains(self, question: Question) -> bool:
        """True for the questions of the scope, and for those that are similar to one with the same instructions."""
        return self.is_training_question(question) or self.similarity(question) > self.data.threshold

    def is_training_question(self, question: Question) -> bool:
        """True for the questions of the scope."""
        return (normalize_question(question.instructions), normalize_question(question.text)) in self._questions

    def similarity(self, question: Question) -> float:
        """Similarity to the nearest question with the same instructions, from 0 to 1.

        It is 0 if no question has these instructions, and for a text of more than `MAX_CHARS` characters.
        """
        has_instructions_N = self._has_instructions.get(normalize_question(question.instructions))
        if has_instructions_N is None:
            return 0.0
        return float(np.max(self._similarities(question.text)[has_instructions_N]))

    def text_similarity(self, text: str) -> float:
        """Similarity of a text to the nearest question, whatever its instructions."""
        return float(np.max(self._similarities(text), initial=0.0))

    def _similarities(self, text: str) -> NDArray[np.float64]:
        shared_N: NDArray[np.float64] = np.zeros(len(self._weights_N))
        if len(text) > MAX_CHARS:
            return shared_N
        features = question_features(normalize_question(text))
        for feature in features:
            if (indices := self._postings.get(feature)) is not None:
                shared_N[indices] += self._feature_weight(feature)
        norms_N = np.sqrt(self._weights_N * self._weight(features))
        return np.minimum(1.0, np.divide(shared_N, norms_N, out=shared_N, where=shared_N > 0))

    def _weight(self, features: Iterable[str]) -> float:
        return sum(map(self._feature_weight, features))

    def _feature_weight(self, feature: str) -> float:
        """The square of the idf, as in the cosine of tf-idf vectors. A feature of one question counts as a new one."""
        count = self.data.background_counts.get(feature, 1)
        idf = math.log((2 + self.data.num_background) / (1 + count))
        return idf**2 * (NGRAM_WEIGHT if feature.startswith(" ") else 1.0)


def fit_scope(
    questions: Iterable[Question], background: Iterable[Question], *, max_share: float = MAX_BACKGROUND_SHARE
) -> QuestionScope:
    """The largest scope of questions with at most a share of the background inside.

    Args:
        questions: the questions of the scope. Equal ones count once, and their order does not matter.
        background: questions that should be outside. Those that are also questions of the scope do not count. They
            are compared without their instructions, which leaves further background outside.
        max_share: largest share of the background that may be inside.
    """
    by_instructions: dict[str, dict[str, str]] = {}
    for question in sorted(questions, key=lambda q: (q.instructions, q.text), reverse=True):
        of_instructions = by_instructions.setdefault(normalize_question(question.instructions), {})
        of_instructions[normalize_question(question.text)] = question.text
    inside = {text for texts in by_instructions.values() for text in texts}
    outside = sorted({normalize_question(question.text) for question in background} - inside)
    counts = Counter(feature for text in outside for feature in question_features(text))
    data = ScopeData(
        questions={key: tuple(sorted(texts.values())) for key, texts in sorted(by_instructions.items())},
        threshold=1.0,
        num_background=len(outside),
        background_counts={feature: count for feature, count in sorted(counts.items()) if count > 1},
    )
    scope = QuestionScope(data)
    similarities = sorted(map(scope.text_similarity, outside), reverse=True)
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
