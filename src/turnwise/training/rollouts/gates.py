"""What can be verified about a reply without a model: it ends, has a fitting length, no loop, and names the values.

These gates are a part of the reward of adversarial tuning, because a discriminator alone is exploited: replies grow, or
repeat what it likes.
"""

import re
from dataclasses import dataclass

from turnwise.text.word_tokens import count_ngrams, split_words

MIN_LENGTH, MAX_LENGTH = 0.5, 2.0  # in words, relative to the human reply
SLACK = 3  # words by which a short reply may be longer or shorter
LOOP_ORDER = 4  # words of the n-gram that must not repeat
WORDS_PER_REPEAT = 50  # human replies of Bitext, of 112 words, repeat a 4-gram in 29 of 100 cases
VALUE = re.compile(
    r"\{\{[^{}\n]{1,60}\}\}"  # a slot, such as {{Order Number}}
    r"|[\w.+-]+@[\w-]+(?:\.[\w-]+)+"  # an e-mail address
    r"|https?://\S*[^\s.,;:!?)\]]"  # a web address
    r"|\d+(?:[.,:/-]\d+)*"  # a number, a time, a date, a telephone number
    r'|"[^"\n]{2,60}"|“[^”\n]{2,60}”'  # a quoted name
)
NAME = re.compile(r"(?<=[\w,;] )[A-Z][\w'’-]+\w")  # a capitalized word within a sentence


@dataclass(frozen=True, slots=True)
class GateReport:
    """The outcome of each gate.

    Attributes:
        is_complete: it ended before the token limit and is not empty.
        fits_length: its length is near that of the human reply.
        has_no_loop: no n-gram occurs twice; long replies may repeat one for every `WORDS_PER_REPEAT` words.
        has_values: it names every value of the human reply that the context gives.
    """

    is_complete: bool
    fits_length: bool
    has_no_loop: bool
    has_values: bool

    @property
    def is_passed(self) -> bool:
        """True if it passes all gates."""
        return self.share == 1

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
    return GateReport(
        is_complete=is_complete and bool(words),
        fits_length=shortest <= len(words) <= longest,
        has_no_loop=not has_loop(reply),
        has_values=required_values(human_reply, context) <= extract_values(reply)
        and all(mentions(reply, name) for name in required_names(human_reply, context)),
    )


def has_loop(reply: str) -> bool:
    """Whether a 4-gram occurs more than once, or more than one more time for every `WORDS_PER_REPEAT` words."""
    words = split_words(reply)
    return max(count_ngrams(words, LOOP_ORDER).values(), default=0) > 1 + len(words) // WORDS_PER_REPEAT


def required_values(human_reply: str, context: str) -> set[str]:
    """Values of the human reply that the context mentions, so that a model can know them."""
    return extract_values(human_reply) & extract_values(context)


def extract_values(text: str) -> set[str]:
    """Slots, addresses, times, numbers and quoted names in lower case, without quotation marks and spaces.

    A time is its hour and minutes, because a reply may add or leave out "pm" and ":00".
    """
    return {re.sub(r"\s+|[\"“”]|:00\b", "", match.lower()) for match in VALUE.findall(text)}


def required_names(human_reply: str, context: str) -> set[str]:
    """Capitalized words within sentences of the human reply, outside of values, that the context mentions."""
    values = [match.span() for match in VALUE.finditer(human_reply)]
    names = {
        match[0]
        for match in NAME.finditer(human_reply)
        if not any(start <= match.start() < end for start, end in values)
    }
    return {name for name in names if mentions(context, name)}


def mentions(text: str, name: str) -> bool:
    """Whether a text has a name as a word, in upper or lower case."""
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.IGNORECASE) is not None
