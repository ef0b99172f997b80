"""Turns collected answers into training examples.

| feedback | corrections (SFT) | preferences (DPO) | ratings (KTO) |
| --- | --- | --- | --- |
| correction, edit | the better answer | better over given | |
| regeneration, comparison | | better over given | |
| thumb up, down | | | the answer |

A correction is worth more than a thumb, and an edit is a correction. A thumb on an answer that was also corrected adds
nothing. Of several corrections of an answer, the last one counts.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from turnwise.core.collected_answers import CollectedAnswer, PreferredAnswer
from turnwise.core.messages import Conversation, Message

ExampleKind = Literal["correction", "preference", "rating"]
WRITTEN_ORIGINS = ("correction", "edit")  # a person wrote the better answer


@dataclass(frozen=True, slots=True)
class TrainingExample:
    """One row of training or evaluation data.

    Attributes:
        id: id of the collected answer.
        kind: the objective that it is for.
        contributors: ids of the people whose words or opinions it holds.
        dialogue: for "correction", the dialogue with the better answer, and the given one in `rejected`; for
            "preference" likewise; for "rating" the given answer with its `rating`.
        conversation: what identifies the conversation of the answer, so that its answers are resampled together; empty
            if it is not known.
        created: Unix time of the answer, in seconds; 0 if it is not known.
    """

    id: str
    kind: ExampleKind
    contributors: tuple[str, ...]
    dialogue: Conversation
    conversation: str = ""
    created: float = 0.0


def training_examples(answers: Iterable[CollectedAnswer]) -> list[TrainingExample]:
    """One example per answer; none for answers whose ratings cancel out."""
    return [example for answer in answers if (example := _example(answer)) is not None]


def _example(answer: CollectedAnswer) -> TrainingExample | None:
    contributors = tuple(sorted(answer.contributors))
    written = [entry for entry in answer.preferred if entry.origin in WRITTEN_ORIGINS]
    chosen = _last_different(written, answer.answer) or _last_different(answer.preferred, answer.answer)
    if chosen is not None:
        kind: ExampleKind = "correction" if chosen.origin in WRITTEN_ORIGINS else "preference"
        dialogue = Conversation(
            (*_context(answer.history), chosen.answer), rejected=(*_context(answer.history), answer.answer)
        )
        return TrainingExample(answer.id, kind, contributors, dialogue, answer.conversation, answer.created)
    vote = sum({rating.contributor: rating.value for rating in answer.ratings}.values())  # the last one of each person
    if vote == 0 or not answer.answer.full_text:
        return None
    dialogue = Conversation((*_context(answer.history), answer.answer), rating=vote > 0)
    return TrainingExample(answer.id, "rating", contributors, dialogue, answer.conversation, answer.created)


def _last_different(entries: Sequence[PreferredAnswer], original: Message) -> PreferredAnswer | None:
    different = [entry for entry in entries if entry.answer.full_text not in ("", original.full_text)]
    return different[-1] if different else None


def _context(history: Sequence[Message]) -> list[Message]:
    """The messages before; earlier answers of the model are no examples."""
    return [
        Message(m.role, m.content, m.name, m.tool_calls, m.tool_call_id, weight=0.0 if m.role == "assistant" else 1.0)
        for m in history
    ]
