"""Erases what was made from the words or opinions of a person: files of cycles, training data and versions.

Weights cannot forget one person, so every version that was trained on their data is deleted; the version before it
serves again. The next cycle trains from all feedback that is left, and so without that person.

The module implements `core.data_subjects.Eraser`.
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from turnwise.app.model_versions.version_library import VersionLibrary, open_version_library
from turnwise.core.data_subjects import DataSubject
from turnwise.core.directory_lock import DirectoryLocked, lock_directory
from turnwise.core.errors import Unavailable
from turnwise.core.model_versions import ModelVersion
from turnwise.core.stored_conversations import ConversationStore
from turnwise.improve.cycle_folder import EXAMPLES_FILE, CycleFolders
from turnwise.improve.journal import ERASED, JOURNAL_FILE, Journal

ORDER = 50
REASON = "It was trained on data of a person that were erased."


def export(subject: DataSubject, store: ConversationStore) -> Any:  # noqa: ARG001
    """References of the versions that were trained on data of a subject. The data are exported with their answers."""
    with open_version_library() as library:
        return [version.reference for version in affected_versions(library, subject)]


def erase(subject: DataSubject, store: ConversationStore) -> Mapping[str, int]:  # noqa: ARG001
    """Delete the versions and the files of cycles that a person's data are part of.

    Raises:
        Unavailable: a cycle is running; it would write the data again. Nothing was deleted.
        SaveFailed: a file could not be deleted.
        VersionConflict: a model has no version left that was trained without the data.
    """
    with open_version_library() as library, _locked_cycles(library.registry.models()):
        versions = affected_versions(library, subject)
        for version in reversed(versions):  # from the newest on: a roll-back then ends at a version that stays
            library.erase(version, reason=REASON)
            library.registry.forget_contributors(version.content.model, version.number)  # last: they lead to the files
        cycles = 0
        for model in library.registry.models():
            for journal in CycleFolders(model).journals():
                if any(subject.includes(person) for person in _contributors(journal)):
                    _delete_files(journal)
                    cycles += 1
    return {"versions": len(versions), "cycles of training": cycles}


def affected_versions(library: VersionLibrary, subject: DataSubject) -> list[ModelVersion]:
    """Versions that were trained on data of a subject and whose files are not deleted yet, oldest first."""
    return [
        version
        for model in library.registry.models()
        for version in library.registry.list(model)
        if any(subject.includes(person) for person in version.content.contributors)
        and (not version.is_erased or library.has_deletable_folder(version))
    ]


@contextmanager
def _locked_cycles(models: Sequence[str]) -> Iterator[None]:
    """Let no cycle run in the block. Raises `Unavailable` if one does."""
    with ExitStack() as stack:
        for model in models:
            folders = CycleFolders(model)
            folders.create_root()
            try:
                stack.enter_context(lock_directory(folders.root))
            except DirectoryLocked as error:
                raise Unavailable(f"{model} is being improved: stop `turnwise improve`, then erase again.") from error
        yield


def _contributors(journal: Journal) -> set[str]:
    """Ids of the people behind the examples of a cycle."""
    path = journal.folder / EXAMPLES_FILE
    if not path.is_file():
        return set()
    with path.open(encoding="utf-8") as lines:
        return {person for line in lines for person in json.loads(line)["meta"]["contributors"]}


def _delete_files(journal: Journal) -> None:
    """Delete all files of a cycle but the journal; the examples last, because they say whose data the cycle has."""
    entries = sorted(journal.folder.iterdir(), key=lambda path: path.name == EXAMPLES_FILE)
    for path in entries:
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != JOURNAL_FILE:
            path.unlink()
    if not journal.is_complete:
        journal.complete(ERASED, "Its examples were erased before it was complete.")
