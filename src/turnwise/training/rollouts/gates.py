"""What can be verified about a reply without a model: it ends, has a fitting length, no loop, and names the values.

These gates are a part of the reward of adversarial tuning, because a discriminator alone is exploited: replies grow, or
repeat what it likes.
"""

import re
from dataclasses import dataclass

from turnwise.text.word_tokens import count_ngrams, split_words

MIN_LENGTH, MAX_LENGTH = 0.5, 2.0  # in words, relative to the human reply
SLACK = 3  # words by which a short reply may be longer or shorter
LOOP_ORDER, MAX_REPEATS = 4, 2  # n-gram length in words, and how often an n-gram may occur
# Slots such as {{Order Number}}, e-mail and web addresses, and numbers with times and prices.
VALUE = re.compile(r"\{\{[^{}\n]{1,60}\}\}|[\w.+-]+@[\w-]+\.[\w.]+|https?://\S+|\d[\d:.,/-]*\d|\d")
NAME = re.compile(r"(?<=[\w,;] )[A-Z][\w'’-]{2,}")  # a capitalized word within a sentence


@dataclass(frozen=True, slots=True)
class GateReport:
    """The outcome of each gate.

    Attributes:
        is_complete: it ended before the token limit and is not empty.
        fits_length: its length is near that of the human reply.
        has_no_loop: no n-gram occurs more often than `MAX_REPEATS` times.
        has_values: it names every value of the human reply that the context gives.
    """

    is_complete: bool
    fits_length: bool
    has_no_loop: bool
    has_values: bool

    @property
    def is_passed(self) -> bool:
        """True if it passes all gates."""
        return self.is_complete and self.fits_length and self.has_no_loop and self.has_values

    @property
    def share(self) -> float:
        """Share of the gates that it passes."""
        return (self.is_complete + self.fits_length + self.has_no_loop + self.has_values) / 4


def check_reply(reply: str, human_reply: str, context: str, *, is_complete: bool = True) -> GateReport:
    """Check a reply against the human reply to the same context.

    Args:
        reply: the reply.
        human_reply: what a person answered.
        context: the messages before it, as one text.
        is_complete: it ended before the token limit.
    """
    words, human_words = split_words(reply), split_words(human_reply)
    shortest = min(MIN_LENGTH * len(human_words), len(human_words) - SLACK)
    longest = max(MAX_LENGTH * len(human_words), len(human_words) + SLACK)
    repeats = max(count_ngrams(words, LOOP_ORDER).values(), default=0)
    lowered = reply.lower()
    return GateReport(
        is_complete=is_complete and bool(words),
        fits_length=shortest <= len(words) <= longest,
        has_no_loop=repeats <= MAX_REPEATS,
        has_values=all(value.lower() in lowered for value in required_values(human_reply, context)),
    )


def required_values(human_reply: str, context: str) -> set[str]:
    """Values of the human reply that the context gives: slots, addresses, numbers, and names within sentences."""
    values = {*VALUE.findall(human_reply), *NAME.findall(VALUE.sub(" ", human_reply))}
    lowered = context.lower()
    return {value for value in values if value.lower() in lowered}
