"""Erases what was made from the words or opinions of a person: files of cycles, training data and versions.

Weights cannot forget one person, so every version that was trained on their data is deleted; the version before it
serves again. The next cycle trains from all feedback that is left, and so without that person.

The module implements `core.data_subjects.Eraser`.
"""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from turnwise.app.model_versions.base_versions import ensure_base
from turnwise.app.model_versions.prune import delete_unrecorded, models_with_folders
from turnwise.app.model_versions.version_library import VersionLibrary, open_version_library
from turnwise.app.model_versions.version_reference import not_serving_message
from turnwise.core.data_subjects import DataSubject
from turnwise.core.directory_lock import DirectoryLocked, lock_directory
from turnwise.core.errors import TurnwiseError, Unavailable
from turnwise.core.files import remove_remains_below
from turnwise.core.folder_names import decode_folder_name
from turnwise.core.model_versions import ModelVersion
from turnwise.core.stored_conversations import ConversationStore
from turnwise.improve.cycle_folder import EXAMPLES_FILE, CycleFolders, delete_cycle_files
from turnwise.improve.journal import ERASED, Journal

ORDER = 50
log = logging.getLogger("turnwise.versions")
REASON = "It was trained on data of a person that were erased."


def export(subject: DataSubject, store: ConversationStore) -> Any:  # noqa: ARG001
    """References of the versions that were trained on data of a subject. The data are exported with their answers."""
    with open_version_library() as library:
        return [version.reference for version in affected_versions(library, subject)]


def erase(subject: DataSubject, store: ConversationStore) -> Mapping[str, int]:  # noqa: ARG001
    """Delete the versions and the files of cycles that a person's data are part of.

    The version that served before a deleted one serves again, else the bundled or pulled model itself. If there is
    none, no version of the model serves any more. Folders of versions that have no record, of killed processes, are
    deleted too: whose data they hold is not recorded.

    Raises:
        Unavailable: a cycle is running; it would write the data again. Nothing was deleted.
        SaveFailed: a file could not be deleted.
    """
    with open_version_library() as library, _locked_cycles(library.registry.models()):
        versions = affected_versions(library, subject)
        # The serving version last: what serves then is none of the others.
        for version in sorted(versions, key=lambda version: version.state == "serving"):
            _erase_version(library, version)
        models = {version.content.model for version in versions}
        ended = [model for model in sorted(models) if library.registry.routing(model) is None]
        for model in ended:
            log.warning(not_serving_message(model))
        folders = [folder for model in models_with_folders(library) for folder in delete_unrecorded(library, model)]
        cycles = 0
        for cycle_folders in CycleFolders.all():
            remove_remains_below(cycle_folders.root)
            for journal in cycle_folders.journals():
                if any(subject.includes(person) for person in _contributors(journal)):
                    delete_cycle_files(journal, ERASED, "Its examples were erased before it was complete.")
                    cycles += 1
    return {
        "versions": len(versions), "cycles of training": cycles, "folders without a version": len(folders),
        "models without a version that serves": len(ended),
    }  # fmt: skip


def _erase_version(library: VersionLibrary, version: ModelVersion) -> None:
    successor = _base_beside(library, version) if version.state == "serving" else None
    library.erase(version, reason=REASON, may_end_service=True, successor=successor)
    library.registry.forget_contributors(version.content.model, version.number)  # last: they lead to the files


def _base_beside(library: VersionLibrary, version: ModelVersion) -> ModelVersion | None:
    """The base version, which may have been updated since; None if there is no other one than `version`."""
    try:
        base = ensure_base(library, version.content.model)
    except TurnwiseError:  # such as a pulled model that was removed
        return None
    return None if base.number == version.number else base


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
        for root in sorted({folders.root for folders in (*map(CycleFolders, models), *CycleFolders.all())}):
            root.mkdir(parents=True, exist_ok=True, mode=0o700)
            try:
                stack.enter_context(lock_directory(root))
            except DirectoryLocked as error:
                model = decode_folder_name(root.name)
                raise Unavailable(f"{model} is being improved: stop `turnwise improve`, then erase again.") from error
        yield


def _contributors(journal: Journal) -> set[str]:
    """Ids of the people behind the examples of a cycle."""
    path = journal.folder / EXAMPLES_FILE
    if not path.is_file():
        return set()
    with path.open(encoding="utf-8") as lines:
        return {person for line in lines for person in json.loads(line)["meta"]["contributors"]}
