"""Selects the answers to learn from: reads them, drops bad ones, masks personal data, and builds examples."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from turnwise.core.collected_answers import CollectedAnswer, CollectedAnswerReader
from turnwise.core.messages import Conversation
from turnwise.improve.training_examples import TrainingExample, training_examples

Screen = Callable[[Sequence[CollectedAnswer]], "Screened"]
Mask = Callable[[Conversation], tuple[Conversation, Counter[str]]]


@dataclass(frozen=True, slots=True)
class Screened:
    """Answers that passed the checks.

    Attributes:
        answers: the answers.
        dropped: number of dropped answers by reason.
        excluded: ids of people whose feedback is not used, with the reason.
    """

    answers: Sequence[CollectedAnswer]
    dropped: dict[str, int]
    excluded: dict[str, str]


@dataclass(frozen=True, slots=True)
class Selection:
    """What a cycle learns from.

    Attributes:
        examples: the examples.
        num_answers: answers with feedback, before the checks.
        num_new: of these, answers with feedback since the last cycle.
        dropped, excluded: see `Screened`.
        masked: number of masked values by kind.
    """

    examples: Sequence[TrainingExample]
    num_answers: int
    num_new: int
    dropped: dict[str, int]
    excluded: dict[str, str]
    masked: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for the journal, without any text of a person."""
        return {
            "num_answers": self.num_answers,
            "num_new": self.num_new,
            "num_examples": len(self.examples),
            "examples_by_kind": dict(Counter(example.kind for example in self.examples)),
            "num_contributors": len({person for example in self.examples for person in example.contributors}),
            "dropped": self.dropped,
            "excluded": len(self.excluded),
            "masked": self.masked,
        }


def select_answers(
    reader: CollectedAnswerReader, model: str, *, since: float, screen: Screen, mask: Mask | None
) -> Selection:
    """Select from all answers of a model.

    Args:
        reader: the answers.
        model: served model name.
        since: Unix time of the last cycle, in seconds.
        screen: drops answers that would teach something wrong.
        mask: replaces personal data in a dialogue; None: nothing is masked.
    """
    answers = list(reader.answers(model))
    num_new = reader.count(model, since=since)
    screened = screen(answers)
    masked: Counter[str] = Counter()
    examples = training_examples(screened.answers)
    if mask is not None:
        examples = [_masked(example, mask, masked) for example in examples]
    return Selection(examples, len(answers), num_new, screened.dropped, screened.excluded, dict(masked))


def _masked(example: TrainingExample, mask: Mask, counts: Counter[str]) -> TrainingExample:
    """The example with placeholders. Both answers of a pair are masked together, so that they have the same ones."""
    dialogue = example.dialogue
    shared = len(dialogue.messages)
    everything = replace(dialogue, messages=(*dialogue.messages, *dialogue.rejected), rejected=())
    result, kinds = mask(everything)
    counts.update(kinds)
    pair = replace(dialogue, messages=result.messages[:shared], rejected=result.messages[shared:])
    return replace(example, dialogue=pair)
