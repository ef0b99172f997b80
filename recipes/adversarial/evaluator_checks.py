"""Checks that the evaluators measure what they should, on human replies alone.

- human against human: nothing can be learned, so the accuracy is about 50 %;
- human against human replies of random other contexts: the replies look alike, so length and ending tell nothing, and
  an evaluator that reads the context is well above 50 %;
- human against as many random words: about 100 % for one that reads words, about 50 % by the length.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fresh_evaluator import ReplyPairs, evaluator_credits
from reply_features import ContextReply

CONTEXT_AWARE = ("ngrams", "encoder")
CHANCE_MARGIN = 3.0  # standard errors that an accuracy of 50 % may be off
MIN_CONTEXT_ACCURACY, MIN_RANDOM_WORDS_ACCURACY = 0.6, 0.97


@dataclass(frozen=True, slots=True)
class EvaluatorCheck:
    """One check of one evaluator.

    Attributes:
        task: what is compared.
        evaluator: its name.
        accuracy: share of test pairs that it gets right.
        low, high: bounds of the accuracy that is expected.
    """

    task: str
    evaluator: str
    accuracy: float
    low: float
    high: float

    @property
    def passes(self) -> bool:
        """Whether the accuracy is as expected."""
        return self.low <= self.accuracy <= self.high


HumanReplies = Mapping[str, Sequence[ContextReply]]
"""Human replies of the files evaluator_train, evaluator_valid and test."""


def check_evaluators(kinds: Mapping[str, Callable[[], Any]], human: HumanReplies) -> list[EvaluatorCheck]:
    """Train every kind of evaluator for every check.

    Args:
        kinds: makers of features by the name of the evaluator.
        human: human replies by file.
    """
    checks = []
    margin = CHANCE_MARGIN * 0.5 / len(human["test"]) ** 0.5
    for task, make_pairs in CHECKS.items():
        train, valid, test = (make_pairs(human[name]) for name in ("evaluator_train", "evaluator_valid", "test"))
        for name, make_features in kinds.items():
            accuracy = float(evaluator_credits(make_features, train, valid, test).mean())
            low, high = _expected(task, name, margin)
            checks.append(EvaluatorCheck(task, name, accuracy, low, high))
    return checks


def human_against_human(items: Sequence[ContextReply]) -> ReplyPairs:
    """Each reply against the one of another context, both in their own context."""
    return ReplyPairs(items, _strangers(items))


def human_against_context(items: Sequence[ContextReply]) -> ReplyPairs:
    """Each reply against the one of another context, both in the context of the first."""
    pairs = zip(items, _strangers(items), strict=True)
    return ReplyPairs(items, [ContextReply(item.context, stranger.reply) for item, stranger in pairs])


def human_against_words(items: Sequence[ContextReply]) -> ReplyPairs:
    """Each reply against as many words, drawn from all replies."""
    rng = random.Random(0)
    words = [word for item in items for word in item.reply.split()]
    return ReplyPairs(
        items, [ContextReply(item.context, " ".join(rng.choices(words, k=len(item.reply.split())))) for item in items]
    )


CHECKS = {
    "human against human": human_against_human,
    "human against another context's reply": human_against_context,
    "human against random words": human_against_words,
}


def _strangers(items: Sequence[ContextReply]) -> list[ContextReply]:
    """Another item for each one. With a permutation the classes would be equal, and nothing could go wrong."""
    rng = random.Random(0)
    return [items[(index + rng.randrange(1, len(items))) % len(items)] for index in range(len(items))]


def _expected(task: str, evaluator: str, margin: float) -> tuple[float, float]:
    if evaluator in CONTEXT_AWARE:
        if task == "human against another context's reply":
            return MIN_CONTEXT_ACCURACY, 1.0
        if task == "human against random words":
            return MIN_RANDOM_WORDS_ACCURACY, 1.0
    elif task == "human against random words":
        return 0.0, 1.0  # random words may end otherwise, and have other letters
    return 0.5 - margin, 0.5 + margin
