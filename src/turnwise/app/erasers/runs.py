"""Trainings of the page `/runs` on rated answers of a person, and those from their models: weights cannot forget."""

import shutil
from collections.abc import Iterator, Mapping
from typing import Any

from turnwise.app.runs.run_folder import RunFolder
from turnwise.app.runs.run_queue import DELETED, PARTIAL_SUFFIX, PLAN, lock_runs
from turnwise.core.data_subjects import DataSubject
from turnwise.core.errors import SaveFailed, Unavailable
from turnwise.core.settings import Settings
from turnwise.core.stored_conversations import ConversationStore

ORDER = 40
RUNS = "[0-9]*"  # pattern of their names


def export(subject: DataSubject, store: ConversationStore) -> Any:  # noqa: ARG001
    """Ids of the trainings. The data are exported with their answers."""
    return [folder.id for folder in _folders(subject, RUNS)]


def erase(subject: DataSubject, store: ConversationStore) -> Mapping[str, int]:  # noqa: ARG001
    """Delete the trainings, and what killed processes have left of plans and of trainings.

    Raises:
        Unavailable: one of them is running; it would write the data again. Nothing was deleted.
        SaveFailed: a file could not be deleted.
    """
    root = Settings.from_environment().runs
    if not root.is_dir():
        return {"trainings": 0}
    with lock_runs(root):  # none of them starts now
        folders = list(_folders(subject, RUNS))
        for folder in folders:
            if folder.state() == "running":
                raise Unavailable(f"The training {folder.id} has data of this person and is running. Stop it first.")
        try:
            for folder in [*folders, *_folders(subject, f"{PLAN}*")]:
                # A folder of which only some files were deleted would no longer tell whose data it has.
                folder.path.rename(root / f"{DELETED}{folder.id}")
            for path in [*root.glob(f"{DELETED}*"), *root.glob(f".*{PARTIAL_SUFFIX}")]:
                shutil.rmtree(path, ignore_errors=True)  # a server may be deleting it, too
                if path.exists():
                    shutil.rmtree(path)
        except OSError as error:
            raise SaveFailed(f"A training was not deleted: {error.strerror or error}.") from error
    return {"trainings": len(folders)}


def _folders(subject: DataSubject, pattern: str) -> Iterator[RunFolder]:
    for path in sorted(Settings.from_environment().runs.glob(pattern)):
        folder = RunFolder(path)
        if any(subject.includes(person) for person in folder.contributors()):
            yield folder
