"""Erases what was made from the words or opinions of a person: files of cycles, training data and versions.

Weights cannot forget one person, so every version that was trained on their data is deleted; the version before it
serves again. The next cycle trains from all feedback that is left, and so without that person.
"""

import json
import shutil
from dataclasses import dataclass

from turnwise.app.model_versions.version_library import VersionLibrary
from turnwise.core.model_versions import ModelVersion
from turnwise.improve.cycle_folder import EXAMPLES_FILE, CycleFolders
from turnwise.improve.journal import JOURNAL_FILE, Journal

ERASED = "Trained on data of a person that were erased."


@dataclass(frozen=True, slots=True)
class ErasedVersions:
    """What was erased.

    Attributes:
        versions: versions that were deleted.
        serving: versions that serve now instead, by model.
        cycles: number of cycles whose files were deleted.
    """

    versions: tuple[ModelVersion, ...]
    serving: tuple[ModelVersion, ...]
    cycles: int


def erase_contributor(library: VersionLibrary, contributor: str) -> ErasedVersions:
    """Delete the versions and the files of cycles that a person's data are part of. May be repeated after a crash.

    Args:
        library: versions of models.
        contributor: id of the person (`core.collected_answers.contributor_id`).

    Raises:
        SaveFailed: a file could not be deleted.
        VersionConflict: the only version of a model was trained on the data.
    """
    erased, serving, cycles = [], [], 0
    for model in library.registry.models():
        # From the newest on, so that a version that is rolled back to is not erased in the next turn.
        affected = [v for v in reversed(library.registry.list(model)) if contributor in v.content.contributors]
        for version in affected:
            was_serving = version.state == "serving" and not version.is_erased
            if not version.is_erased or library.has_deletable_folder(version):
                erased.append(library.erase(version, reason=ERASED))
            routing = library.registry.routing(model)
            if was_serving and routing is not None:
                serving.append(routing.serving)
        for journal in CycleFolders(model).journals():
            if contributor in _contributors(journal):
                _delete_files(journal)
                cycles += 1
    return ErasedVersions(tuple(erased), tuple(serving), cycles)


def _contributors(journal: Journal) -> set[str]:
    """Ids of the people behind the examples of a cycle."""
    path = journal.folder / EXAMPLES_FILE
    if not path.is_file():
        return set()
    with path.open(encoding="utf-8") as lines:
        return {person for line in lines for person in json.loads(line)["meta"]["contributors"]}


def _delete_files(journal: Journal) -> None:
    """Delete all files of a cycle but the journal, the examples last: they say whose data the cycle holds."""
    entries = sorted(journal.folder.iterdir(), key=lambda path: path.name == EXAMPLES_FILE)
    for path in entries:
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != JOURNAL_FILE:
            path.unlink()
    if not journal.is_complete:
        journal.complete("erased", "Its examples were erased before it was complete.")
