"""Gates of a reply: it has no loop, about the length of the human reply, and the values that the reply needs."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from turnwise.core.messages import Conversation
from turnwise.evaluation.last_replies import last_reply_samples
from turnwise.evaluation.metric import FloatArray, Metric, statistics_array
from turnwise.evaluation.samples import Sample, SampleResult
from turnwise.text.word_tokens import count_ngrams, split_words

LOOP_ORDER = 4  # words of the n-gram that must not repeat
WORDS_PER_REPEAT = 50  # human replies of Bitext, of 112 words, repeat a 4-gram in 29 of 100 cases
MIN_LENGTH_RATIO, MAX_LENGTH_RATIO = 0.5, 2.0  # words of the reply divided by words of the human reply
VALUES = re.compile(
    r"\{\{[^{}]+\}\}"  # a slot
    r"|\d+(?:[.,:/-]\d+)*"  # a number, a time, a date, a telephone number
    r'|"[^"\n]{2,60}"|“[^”\n]{2,60}”'  # a quoted name
)


class Gates(NamedTuple):
    """Which gates a reply passes."""

    has_no_loop: bool
    has_length: bool
    has_values: bool


def check_gates(context: str, human_reply: str, reply: str) -> Gates:
    """Check a reply against the human one.

    Args:
        context: text of all messages before the reply.
        human_reply: the reply of the data.
        reply: the generated reply.
    """
    ratio = len(split_words(reply)) / max(1, len(split_words(human_reply)))
    return Gates(
        not has_loop(reply),
        MIN_LENGTH_RATIO <= ratio <= MAX_LENGTH_RATIO,
        required_values(context, human_reply) <= extract_values(reply),
    )


def has_loop(reply: str) -> bool:
    """Whether a 4-gram occurs more than once; long replies may repeat one more for every `WORDS_PER_REPEAT` words."""
    words = split_words(reply)
    return max(count_ngrams(words, LOOP_ORDER).values(), default=0) > 1 + len(words) // WORDS_PER_REPEAT


def required_values(context: str, human_reply: str) -> set[str]:
    """Values of the human reply that the context mentions, so that a model can know them."""
    return extract_values(human_reply) & extract_values(context)


def extract_values(text: str) -> set[str]:
    """Slots, times, numbers and quoted names in lower case, without quotation marks.

    A time is its hour and minutes, because a reply may add or leave out "pm" and ":00".
    """
    return {re.sub(r"\s+|[\"“”]|:00\b", "", match.lower()) for match in VALUES.findall(text)}


class GateMetric(Metric):
    """Share of replies that pass all gates."""

    NAME = "gate_pass"
    SORT_ORDER = 25
    LABEL = "gate pass rate"
    DESCRIPTION = (
        "Share of replies without a repeated 4-gram, with 0.5 to 2 times the words of the human reply, and with every "
        "number, time, quoted name and slot of the human reply that the context mentions."
    )
    BETTER = "higher"
    RANGE = (0.0, 1.0)
    VALUE_FORMAT = ".1%"
    IS_BINARY = True

    def samples(self, dialogues: Sequence[Conversation], seed: int) -> list[Sample]:
        """One sample per dialogue: its last reply."""
        del seed
        return last_reply_samples(dialogues)

    def statistics(self, samples: Sequence[Sample], results: Sequence[SampleResult]) -> FloatArray:
        """1 if all gates pass, 1, and 1 for each gate that passes."""
        rows = []
        for sample, result in zip(samples, results, strict=True):
            context = "\n".join(message.content for message in sample.generation_queries[0].history)
            gates = check_gates(context, sample.reference, result.outputs[0].text)
            rows.append((float(all(gates)), 1.0, *map(float, gates)))
        return statistics_array(rows, 2 + len(Gates._fields))
