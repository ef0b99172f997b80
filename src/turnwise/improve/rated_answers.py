"""The rated answers of a store as data of a training, for `app.runs`: masked as in a cycle, but without its checks."""

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
from turnwise.improve.masking import open_mask
from turnwise.improve.settings import ImproveSettings, load_settings
from turnwise.improve.training_examples import TrainingExample, training_examples

NEEDS: dict[RunObjective, str] = {
    "sft": "answers with a thumb up or a correction",
    "dpo": "answers with a better answer",
    "kto": "answers with a thumb up or down",
}


def rated_answers(store: ConversationStore, settings_file: Path) -> RatedAnswers:
    """The rated answers of a store.

    Args:
        store: the store.
        settings_file: settings of the loop, for the masking; the defaults if it does not exist. It is read for every
            training.
    """

    def write_answers(folder: Path, objective: RunObjective) -> None:
        write(store, folder, objective, load_settings(settings_file if settings_file.is_file() else None))

    return RatedAnswers(store.collected_answers.count, write_answers)


def write(store: ConversationStore, folder: Path, objective: RunObjective, settings: ImproveSettings) -> None:
    """Write what an objective learns from, and the people whose words or opinions it is.

    Raises:
        InvalidData: there is nothing.
        UserError: personal data are to be masked, and a library for it is missing.
    """
    rows: list[tuple[TrainingExample, Conversation]] = []
    for example in training_examples(store.collected_answers.answers()):
        dialogue = _SELECT[objective](example)
        if dialogue is not None:
            rows.append((example, dialogue))
    if not rows:
        raise InvalidData(f"There is nothing to learn from: '{objective}' needs {NEEDS[objective]}.")
    mask = open_mask(settings)
    RunFolder(folder).add_contributors({person for example, _ in rows for person in example.contributors})
    write_jsonl(folder / RATED_ANSWERS_FILE, (dialogue if mask is None else mask(dialogue)[0] for _, dialogue in rows))


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
