"""Adds the folder of a version to the registry: a complete folder first, then its record."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from turnwise.app.model_versions.version_library import VersionLibrary
from turnwise.core.files import atomic_directory, remove_remains
from turnwise.core.model_versions import Actor, ModelVersion, NewVersion
from turnwise.models.model_folders import weights_digest

WriteFolder = Callable[[Path], "partial[NewVersion]"]
"""Writes the files of a version into a folder, and returns its record without `source` and `weights_sha256`."""


def add_version_folder(
    library: VersionLibrary,
    model: str,
    write: WriteFolder,
    *,
    reason: str,
    actor: Actor,
    replaces_unrecorded: bool = False,
) -> ModelVersion:
    """Write the folder of the next version and add its record. Call it with the lock of the model.

    A process that is killed leaves the version complete, or a folder without a record.

    Args:
        library: the versions.
        model: served model name.
        write: writes the files.
        reason: why the version was trained, as a sentence.
        actor: who adds it.
        replaces_unrecorded: delete a folder without a record that has the name of the new one. Default: leave it, and
            use another name.

    Raises:
        SaveFailed: the disk is full or not writable; nothing was added.
    """
    target = _target(library, model, replaces_unrecorded=replaces_unrecorded)
    with atomic_directory(target) as folder:
        record = write(folder)
        folder.chmod(0o700)  # training data may be personal
    try:
        content = record(source=target.relative_to(library.root).as_posix(), weights_sha256=weights_digest(target))
        return library.registry.add(content, reason=reason, actor=actor)
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)  # its content is still where `write` has read it
        raise


def _target(library: VersionLibrary, model: str, *, replaces_unrecorded: bool) -> Path:
    parent = library.model_folder(model)
    number = len(library.registry.list(model)) + 1
    target = parent / str(number)
    remove_remains(target)
    if replaces_unrecorded:
        shutil.rmtree(target, ignore_errors=True)
        return target
    attempt = 1
    while target.exists():
        attempt += 1
        target = parent / f"{number}-{attempt}"
    return target
