"""The rated answers of a store as data of a training, for `app.runs`: without the checks and the masking of a cycle."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from turnwise.app.runs.rated_answers import RATED_ANSWERS_FILE, RatedAnswers
from turnwise.app.runs.run_folder import RunFolder
from turnwise.core.errors import InvalidData
from turnwise.core.messages import Conversation
from turnwise.core.runs import RunObjective
from turnwise.core.stored_conversations import ConversationStore
from turnwise.data.jsonl_writer import write_jsonl
from turnwise.improve.training_examples import TrainingExample, training_examples

NEEDS: dict[RunObjective, str] = {
    "sft": "answers with a thumb up or a correction",
    "dpo": "answers with a better answer",
    "kto": "answers with a thumb up or down",
}


def rated_answers(store: ConversationStore) -> RatedAnswers:
    """The rated answers of a store."""
    return RatedAnswers(store.collected_answers.count, lambda folder, objective: write(store, folder, objective))


def write(store: ConversationStore, folder: Path, objective: RunObjective) -> None:
    """Write what an objective learns from, and the people whose words or opinions it is.

    Raises:
        InvalidData: there is nothing.
    """
    rows: list[tuple[TrainingExample, Conversation]] = []
    for example in training_examples(store.collected_answers.answers()):
        dialogue = _SELECT[objective](example)
        if dialogue is not None:
            rows.append((example, dialogue))
    if not rows:
        raise InvalidData(f"There is nothing to learn from: '{objective}' needs {NEEDS[objective]}.")
    RunFolder(folder).add_contributors({person for example, _ in rows for person in example.contributors})
    write_jsonl(folder / RATED_ANSWERS_FILE, (dialogue for _, dialogue in rows))


def _good_answer(example: TrainingExample) -> Conversation | None:
    if example.kind == "rating" and not example.dialogue.rating:
        return None
    return replace(example.dialogue, rejected=(), rating=None)


def _pair(example: TrainingExample) -> Conversation | None:
    return example.dialogue if example.dialogue.rejected else None


def _rating(example: TrainingExample) -> Conversation | None:
    return example.dialogue if example.kind == "rating" else None


_SELECT: dict[RunObjective, Callable[[TrainingExample], Conversation | None]] = {
    "sft": _good_answer, "dpo": _pair, "kto": _rating
}  # fmt: skip
