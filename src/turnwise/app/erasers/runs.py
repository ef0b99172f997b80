"""Trainings of the page `/runs` on rated answers of a person: data and weights, since weights cannot forget."""

import json
import shutil
from collections.abc import Iterator, Mapping
from typing import Any

from turnwise.app.runs.run_folder import CONTRIBUTORS, RUN, RunFolder
from turnwise.core.data_subjects import DataSubject
from turnwise.core.errors import SaveFailed, Unavailable
from turnwise.core.settings import Settings
from turnwise.core.stored_conversations import ConversationStore

ORDER = 40


def export(subject: DataSubject, store: ConversationStore) -> Any:  # noqa: ARG001
    """Ids of the trainings. The data are exported with their answers."""
    return [folder.id for folder in _runs(subject)]


def erase(subject: DataSubject, store: ConversationStore) -> Mapping[str, int]:  # noqa: ARG001
    """Delete the trainings.

    Raises:
        Unavailable: one of them is running; it would write the data again. Nothing was deleted.
        SaveFailed: a file could not be deleted.
    """
    folders = list(_runs(subject))
    for folder in folders:
        if folder.state() == "running":
            raise Unavailable(f"The training {folder.id} has data of this person and is running. Stop it first.")
    try:
        for folder in folders:
            shutil.rmtree(folder.path)
    except OSError as error:
        raise SaveFailed(f"A training was not deleted: {error.strerror or error}.") from error
    return {"trainings": len(folders)}


def _runs(subject: DataSubject) -> Iterator[RunFolder]:
    for path in sorted(Settings.from_environment().runs.glob(f"[0-9]*/{RUN}")):
        people = path.with_name(CONTRIBUTORS)
        if people.is_file() and any(subject.includes(person) for person in json.loads(people.read_text("utf-8"))):
            yield RunFolder(path.parent)
