"""Facts that a user states about themself, found by rules: names, numbers, dates, places, preferences, possessions.

Deterministic and without a model. A fact is a sentence of the user as it was written; a later sentence about the same
subject replaces it ("My name is Ann." … "My name is Anna.").
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from turnwise.core.messages import Message

MAX_FACT_CHARS = 200
MAX_SENTENCE_CHARS = 1_000  # searched of a sentence, since some rules take quadratic time
MAX_MESSAGE_CHARS = 20_000  # of a message; the rest of a pasted document is not searched
_SENTENCE_END = re.compile(r"(?<=[.!?;])\s+|(?<=[。！？；])|\n+")

_MONTHS = "january|february|march|april|may|june|july|august|september|october|november|december"
_DAYS = "monday|tuesday|wednesday|thursday|friday|saturday|sunday"
# Rules with a subject: a later fact with the same subject replaces the earlier one.
_SUBJECTS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"\b(my (?:[\w'-]+ ){0,3}?[\w-]+?)(?:'s| is| are| was| were| will be)\b(?! not sure)",
        r"\b((?:i|we) (?:live|stay|work|study|was born|were born|come))\b",
        r"\b(i(?:'m| am) (?:a|an|from|allergic|married|called|\d+))\b",
        r"\b(i(?:'m| am) (?:currently |now )?\w{3,}ing)\b",
        r"\b(call me)\b",
        r"(我的[\u4e00-\u9fff]{1,6}?)(?:是|叫)",
        r"(我(?:叫|姓|住|来自|今年|在))",
    )
)
# Rules without a subject: every sentence is a fact of its own.
_STATEMENTS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"\b(?:i|we)(?:'ve| have)? (?:\w+ly |also )?(?:like|love|prefer|enjoy|hate|dislike|avoid|need|want|have|own|"
        r"ordered|bought|booked|drive|play|speak|grow)\b",
        r"\b(?:remember|note|don't forget|do not forget)\b(?: that|:)",
        r"\d(?:[ .-]?\d){2,}|\b\d{1,2}:\d{2}\b|[\w.+-]+@[\w-]+\.\w+|[$€£¥]\s?\d|\d\s?[$€£¥%]",
        rf"\b(?:{_DAYS})s?\b|\b\d{{1,2}}\.? (?:of )?(?:{_MONTHS})\b|\b(?:{_MONTHS}) \d{{1,2}}\b",
        r"我(?:不?喜欢|想要|需要|有|讨厌|买了)|请记住|号码|\d+[月号日点元]",
    )
)


@dataclass(frozen=True, slots=True)
class UserFact:
    """A fact.

    Attributes:
        text: the sentence, on one line.
        index: index of the message that contains it.
    """

    text: str
    index: int


def extract_facts(messages: Sequence[Message]) -> list[UserFact]:
    """The facts in the user's messages, oldest first. Questions are no facts."""
    facts: dict[str, UserFact] = {}
    for index, message in enumerate(messages):
        if message.role != "user":
            continue
        for sentence in _split_sentences(message.content[:MAX_MESSAGE_CHARS]):
            key = _subject(sentence[:MAX_SENTENCE_CHARS])
            if key is not None and not sentence.endswith(("?", "？")):
                facts.pop(key, None)  # the later one takes the later position
                facts[key] = UserFact(sentence[:MAX_FACT_CHARS], index)
    return list(facts.values())


def _split_sentences(text: str) -> Iterator[str]:
    """The sentences of a text, each on one line."""
    return (sentence for piece in _SENTENCE_END.split(text) if (sentence := " ".join(piece.split())))


def _subject(sentence: str) -> str | None:
    """What a fact is about; None if the sentence states no fact."""
    for rule in _SUBJECTS:
        if match := rule.search(sentence):
            return match.group(1).lower()
    return sentence.lower() if any(rule.search(sentence) for rule in _STATEMENTS) else None
