"""Deletes what cycles have copied of answers that a retention has deleted from the store.

The examples of a cycle say which questions its version was trained on, so those of answers that still exist stay. The
report, which can quote answers, is deleted with the first of them. Versions keep their training data: without it they
cannot be trained again, and only an erasure deletes them.
"""

import logging
import shutil
from collections.abc import Mapping

from turnwise.core.directory_lock import DirectoryLocked, lock_directory
from turnwise.core.errors import NotFound, SaveFailed
from turnwise.core.feedback import AnswerReference
from turnwise.core.stored_conversations import ConversationStore
from turnwise.improve.cycle_folder import EXAMPLES_FILE, REPORT, CycleFolders, delete_cycle_files
from turnwise.improve.example_file import read_examples, write_examples
from turnwise.improve.journal import ABANDONED, Journal
from turnwise.improve.training_examples import TrainingExample

log = logging.getLogger("turnwise.improve")


def delete_old_examples(store: ConversationStore, time: float) -> Mapping[str, int]:
    """Delete examples of answers from before a Unix time that are not in the store any more.

    Returns the number of cycles that had some. Cycles of a model that is being improved are left to the next call.

    Raises:
        SaveFailed: a file could not be deleted or written.
    """
    cycles = 0
    for folders in CycleFolders.all():
        try:
            with lock_directory(folders.root):
                cycles += sum(_delete_from_cycle(journal, store, time) for journal in folders.journals())
        except DirectoryLocked:
            log.warning("A cycle is running in %s: its old examples are deleted next time.", folders.root)
        except OSError as error:
            raise SaveFailed(f"{folders.root}: old examples were not deleted: {error.strerror or error}.") from error
    return {"cycles of training": cycles}


def _delete_from_cycle(journal: Journal, store: ConversationStore, time: float) -> bool:
    """Delete the old examples of a cycle. Returns False if it had none.

    A cycle that was interrupted is given up: it could not be continued to the same result.
    """
    path = journal.folder / EXAMPLES_FILE
    examples = read_examples(path) if path.is_file() else []
    remaining = [example for example in examples if not _is_gone(example, journal, store, time)]
    if len(remaining) == len(examples):
        return False
    if not journal.is_complete:
        reason = "Answers that it learned from were deleted after their time of retention."
        delete_cycle_files(journal, ABANDONED, reason)
        return True
    if (report := journal.folder / REPORT).is_dir():
        shutil.rmtree(report)
    write_examples(path, remaining)
    return True


def _is_gone(example: TrainingExample, journal: Journal, store: ConversationStore, time: float) -> bool:
    if (example.created or journal["started"]) >= time:
        return False
    try:
        store.feedback.of_answer(AnswerReference.parse(example.id))
    except NotFound:
        return True
    return False
