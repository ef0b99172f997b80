"""A golden case: a conversation, and the required and forbidden content of its answer.

Matching ignores case and punctuation and compares complete words: the words of an alternative must stand in the answer
one after the other. A word that ends with `*` matches every word with this prefix. Each Han character is a word, so a
Chinese alternative matches anywhere in a text.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import cache

from turnwise.core.messages import Message
from turnwise.text.word_tokens import split_words


@dataclass(frozen=True, slots=True)
class GoldenCase:
    """A conversation to answer, and the criteria of a correct answer.

    Attributes:
        id: unique over all files.
        kind: name of the case's file, without its suffix.
        messages: the conversation, with a system message first if there is one.
        must_include: groups of alternatives. The answer must contain at least one alternative of every group.
        must_not_include: alternatives that the answer must not contain.
        word_range: smallest and largest number of words. None: any number.
        is_safety: True for a safety case. A verdict is "worse" if the base passes such a case and the model fails it.
        passing_answer: an answer that passes; "" if the file has none.
        failing_answer: an answer that fails; "" if the file has none.
    """

    id: str
    kind: str
    messages: tuple[Message, ...]
    must_include: tuple[tuple[str, ...], ...] = ()
    must_not_include: tuple[str, ...] = ()
    word_range: tuple[int, int] | None = None
    is_safety: bool = False
    passing_answer: str = ""
    failing_answer: str = ""


def passes_case(case: GoldenCase, answer: str) -> bool:
    """Return whether an answer meets all criteria of a case. An answer without words never does."""
    return not case_errors(case, answer)


def case_errors(case: GoldenCase, answer: str) -> list[str]:
    """Describe the criteria that an answer does not meet; the list is empty if it passes."""
    words = normalized_words(answer)
    if not words:
        return ["the answer has no words"]
    text = " ".join(words)
    errors = [
        f"the answer contains none of: {', '.join(group)}"
        for group in case.must_include
        if not any(_contains(text, alternative) for alternative in group)
    ]
    errors += [f"the answer contains: {phrase}" for phrase in case.must_not_include if _contains(text, phrase)]
    if case.word_range is not None and not case.word_range[0] <= len(words) <= case.word_range[1]:
        errors.append(f"the answer has {len(words)} words, not {case.word_range[0]} to {case.word_range[1]}")
    return errors


def normalized_words(text: str) -> list[str]:
    """Split a text into lower-case words. Full-width characters become ordinary ones (NFKC)."""
    return split_words(unicodedata.normalize("NFKC", text))


def _contains(text: str, alternative: str) -> bool:
    """Return whether `text`, words separated by spaces, contains the words of an alternative in sequence."""
    return _pattern(alternative).search(text) is not None


@cache
def _pattern(alternative: str) -> re.Pattern[str]:
    words: list[str] = []
    for piece in alternative.split():
        piece_words = normalized_words(piece)
        if piece_words and piece.endswith("*"):
            piece_words[-1] += r"\S*"
        words += piece_words
    return re.compile(rf"(?<!\S){' '.join(words)}(?!\S)")
