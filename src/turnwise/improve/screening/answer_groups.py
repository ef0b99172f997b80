"""Groups answers that are the same or nearly the same answer to nearly the same question."""

import math
from collections.abc import Iterable, Sequence

from turnwise.core.collected_answers import CollectedAnswer
from turnwise.data.fingerprint import normalize_text
from turnwise.monitor.near_copies import NearCopies
from turnwise.monitor.text_similarity import normalize


def last_question(answer: CollectedAnswer) -> str:
    """Text of the last user message before the answer; empty if there is none."""
    return next((message.content for message in reversed(answer.history) if message.role == "user"), "")


def group_answers(answers: Sequence[CollectedAnswer]) -> list[int]:
    """A group number for every answer; those of near copies are equal."""
    return group_texts((last_question(answer), answer.answer.content) for answer in answers)


def group_texts(pairs: Iterable[tuple[str, str]]) -> list[int]:
    """A group number for every pair of a question and an answer.

    Pairs of a group differ in case, punctuation and misspelled words. A word more or less makes another answer: "You
    can not return it".
    """
    copies = NearCopies(max_age_hours=math.inf, max_texts=1_000_000)
    num_words: list[int] = []
    by_text: dict[str, int] = {}
    groups: list[int] = []
    for number, (question, answer) in enumerate(pairs):
        text = f"{question}\n{answer}"
        num_words.append(len(normalize(text).split()))
        root = copies.add(text, 0.0)  # counts all calls, so its ids are the numbers of the pairs
        group = number if root is None or num_words[root] != num_words[number] else groups[root]
        groups.append(by_text.setdefault(normalize_text(text), group))
    return groups
