"""Is what was said early still known late? recall, at the fortieth turn of talks of our own.

A turn is a message. The user tells three facts in turns 1, 3 and 5, talks about other things, and asks for one of them
in turn 39. The answer is turn 40. As long talks go this is short (Maharana et al. 2024 have three hundred turns), but
it fits a context of 1,024 tokens, so that it tells about memory and not about what was cut off.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from turnwise.core.messages import Conversation, Message
from turnwise.evaluation import metric
from turnwise.evaluation.metric import FloatArray, statistics_array
from turnwise.evaluation.probes import fill_dialogue, read_probes
from turnwise.evaluation.samples import GenerationQuery, Sample, SampleResult
from turnwise.evaluation.word_tokens import count_ngrams, split_words

TURNS = 40
TALKS = 20  # enough that a difference between two models can be sure
FACTS = 3  # told in each


class RecallMetric(metric.Metric):
    """Facts recalled by facts asked for."""

    SORT_ORDER = 70
    LABEL = f"facts recalled at turn {TURNS}"
    DESCRIPTION = (
        f"How often the likeliest answer at turn {TURNS} names what the user said in the first five, on written talks "
        "with seeded values; after LoCoMo's questions about long talks (Maharana et al. 2024)."
    )
    BETTER = "higher"
    RANGE = (0.0, 1.0)
    COUNTS_FOR_VERDICT = True
    VALUE_FORMAT = ".1%"
    IS_BINARY = True
    IS_PROBE = True

    def samples(self, dialogues: Sequence[Conversation], seed: int) -> list[Sample]:
        """The same for all data: some talks, which ask for the fact told first, second and last in turn."""
        del dialogues
        return [_talk(number, random.Random(f"{seed} {number}")) for number in range(TALKS)]

    def statistics(self, items: Sequence[Sample], found: Sequence[SampleResult]) -> FloatArray:
        """Recalled, asked."""
        return statistics_array(
            [
                (float(_names(each.outputs[0].text, item.metadata["fact"])), 1.0)
                for item, each in zip(items, found, strict=True)
            ]
        )


@dataclass(frozen=True, slots=True)
class _Fact:
    tells: str
    answer: str
    asks: str
    values: list[str]


@cache
def _probes() -> tuple[list[_Fact], list[Mapping[str, str]]]:
    found = read_probes("recall")
    return [_Fact(**fact) for fact in found["facts"]], found["talk"]


def _talk(number: int, rng: random.Random) -> Sample:
    facts, talk = _probes()
    told = [(fact, rng.choice(fact.values)) for fact in rng.sample(facts, FACTS)]
    history: list[Message] = []
    for fact, value in told:
        history.extend(fill_dialogue([{"user": fact.tells, "assistant": fact.answer}], value=value))
    history.extend(fill_dialogue(rng.sample(talk, (TURNS - 2 - len(history)) // 2)))
    fact, value = told[number % FACTS]
    ask = GenerationQuery((*history, Message("user", fact.asks)), greedy=True)
    return Sample(f"talk {number}", (ask,), reference=value, metadata={"fact": value})


def _names(text: str, value: str) -> bool:
    """Whether the value's words stand in the text, one after the other."""
    wanted = tuple(split_words(value))
    return wanted in count_ngrams(split_words(text), len(wanted))
