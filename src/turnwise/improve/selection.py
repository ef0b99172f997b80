"""Selects the answers to learn from: reads them, drops bad feedback, masks personal data, and builds examples."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from turnwise.core.collected_answers import CollectedAnswerReader
from turnwise.improve.masking import Mask
from turnwise.improve.screening.screen import screen_answers
from turnwise.improve.screening.screened import ScreeningReport
from turnwise.improve.training_examples import TrainingExample, training_examples


@dataclass(frozen=True, slots=True)
class Selection:
    """What a cycle learns from.

    Attributes:
        examples: the examples.
        num_answers: answers with feedback, before the checks.
        num_new: of these, answers with feedback since the last cycle.
        screening: what the checks dropped.
        masked: number of masked values by kind.
    """

    examples: Sequence[TrainingExample]
    num_answers: int
    num_new: int
    screening: ScreeningReport
    masked: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for the journal, without any text of a person."""
        return {
            "num_answers": self.num_answers,
            "num_new": self.num_new,
            "num_examples": len(self.examples),
            "examples_by_kind": dict(Counter(example.kind for example in self.examples)),
            "num_contributors": len({person for example in self.examples for person in example.contributors}),
            "dropped": dict(self.screening.by_reason),
            "masked": self.masked,
        }


def select_answers(reader: CollectedAnswerReader, model: str, *, since: float, mask: Mask | None) -> Selection:
    """Select from all answers of a model.

    Args:
        reader: the answers.
        model: served model name.
        since: Unix time of the last cycle, in seconds.
        mask: replaces personal data; None: nothing is masked.
    """
    answers = list(reader.answers(model))
    accepted, screening = screen_answers(answers)
    examples = training_examples(accepted)
    masked: Counter[str] = Counter()
    if mask is not None:
        examples = [_mask_example(example, mask, masked) for example in examples]
    return Selection(examples, len(answers), reader.count(model, since=since), screening, dict(masked))


def _mask_example(example: TrainingExample, mask: Mask, counts: Counter[str]) -> TrainingExample:
    dialogue, kinds = mask(example.dialogue)
    counts.update(kinds)
    return replace(example, dialogue=dialogue)
