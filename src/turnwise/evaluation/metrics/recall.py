"""Recall of early facts late in a dialogue, on bundled probes.

A turn is a message. The user states three facts in turns 1, 3 and 5, talks about other topics, and asks for one of the
facts in turn 39; the reply is turn 40. Long-dialogue benchmarks have up to 300 turns (Maharana et al. 2024). This one
fits a context of 1,024 tokens, so it measures recall and not truncation.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from turnwise.core.messages import Conversation, Message
from turnwise.evaluation.metric import FloatArray, Metric, statistics_array
from turnwise.evaluation.probes import fill_dialogue, read_probes
from turnwise.evaluation.samples import GenerationQuery, Sample, SampleResult
from turnwise.text.word_tokens import count_ngrams, split_words

TURNS = 40
NUM_DIALOGUES = 20  # enough for a significant difference between two models
NUM_FACTS = 3  # per dialogue


class RecallMetric(Metric):
    """Share of facts that are recalled."""

    SORT_ORDER = 70
    LABEL = f"facts recalled at turn {TURNS}"
    DESCRIPTION = (
        f"Share of dialogues in which the greedy reply at turn {TURNS} names a fact that the user stated in the first "
        "five turns. Bundled dialogues with seeded values, after LoCoMo (Maharana et al. 2024)."
    )
    BETTER = "higher"
    RANGE = (0.0, 1.0)
    COUNTS_FOR_VERDICT = True
    VALUE_FORMAT = ".1%"
    IS_BINARY = True
    IS_PROBE = True

    def samples(self, dialogues: Sequence[Conversation], seed: int) -> list[Sample]:
        """Dialogues that ask for the first, the second and the third fact in turn."""
        del dialogues
        return [_sample(number, random.Random(f"{seed} {number}")) for number in range(NUM_DIALOGUES)]

    def statistics(self, samples: Sequence[Sample], results: Sequence[SampleResult]) -> FloatArray:
        """1 if the reply names the fact, and 1."""
        return statistics_array(
            [
                (float(_contains(result.outputs[0].text, sample.metadata["fact"])), 1.0)
                for sample, result in zip(samples, results, strict=True)
            ]
        )


@dataclass(frozen=True, slots=True)
class _Fact:
    statement: str
    answer: str
    question: str
    values: list[str]


@cache
def _probes() -> tuple[list[_Fact], list[Mapping[str, str]]]:
    probes = read_probes("recall")
    return [_Fact(**fact) for fact in probes["facts"]], probes["small_talk"]


def _sample(number: int, rng: random.Random) -> Sample:
    facts, small_talk = _probes()
    stated = [(fact, rng.choice(fact.values)) for fact in rng.sample(facts, NUM_FACTS)]
    history: list[Message] = []
    for fact, value in stated:
        history.extend(fill_dialogue([{"user": fact.statement, "assistant": fact.answer}], value=value))
    history.extend(fill_dialogue(rng.sample(small_talk, (TURNS - 2 - len(history)) // 2)))
    fact, value = stated[number % NUM_FACTS]
    query = GenerationQuery((*history, Message("user", fact.question)), greedy=True)
    return Sample(f"talk {number}", (query,), reference=value, metadata={"fact": value})


def _contains(text: str, value: str) -> bool:
    """Return whether the value's words stand in the text one after the other."""
    words = tuple(split_words(value))
    return words in count_ngrams(split_words(text), len(words))
