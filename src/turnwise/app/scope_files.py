"""The scope of a model folder: which questions the model answers, and which model answers all others.

`scope.json` belongs to the weights: the digest of a folder covers it. Programs that write one model cannot keep it.
If the other model is an adapter, which is small, the folder has a copy: an update may replace the original.
"""

import shutil
from pathlib import Path

from turnwise.app.model_names import named_model_folder
from turnwise.core.errors import UserError
from turnwise.core.files import atomic_directory, atomic_write
from turnwise.core.json_file import read_json_object
from turnwise.core.strict_model import StrictModel, parse_strict_model
from turnwise.models.adapter_config import is_adapter
from turnwise.models.model_folders import SCOPE_FILE, weights_digest
from turnwise.text.question_scope import ScopeData

OUTSIDE_FOLDER = "outside"  # copy of the adapter that answers questions outside the scope


class ScopeFile(StrictModel):
    """The content of `scope.json`.

    Attributes:
        base: model that answers questions outside the scope, as `named_model_folder` accepts it.
        base_sha256: digest of its weights.
        scope: questions inside.
    """

    base: str
    base_sha256: str
    scope: ScopeData


def write_scope(folder: Path, scope: ScopeFile) -> None:
    """Write the scope of a model folder, after the copy of an adapter that answers outside of it.

    Args:
        folder: the folder.
        scope: the content of its file.

    Raises:
        ModelNotFound: the model that answers outside the scope does not exist.
        SaveFailed: the disk is full or not writable.
    """
    base = named_model_folder(scope.base)
    if is_adapter(base):
        with atomic_directory(folder / OUTSIDE_FOLDER) as copy:
            for path in filter(Path.is_file, base.iterdir()):  # not the training data of a version
                shutil.copyfile(path, copy / path.name)
    atomic_write(folder / SCOPE_FILE, scope.model_dump_json(indent=1) + "\n")


def read_scope(folder: Path) -> ScopeFile | None:
    """The scope of a model folder; None if it answers all questions.

    Raises:
        UserError: the file is damaged, or a key is missing, unknown or invalid.
    """
    path = folder / SCOPE_FILE
    if not path.is_file():
        return None
    return parse_strict_model(ScopeFile, read_json_object(path), origin=str(path))


def scope_base_folder(folder: Path, scope: ScopeFile) -> Path:
    """The folder of the model that answers questions outside the scope.

    Args:
        folder: the folder with the scope.
        scope: its content.

    Raises:
        ModelNotFound: it does not exist.
        UserError: its weights have changed, or it has a scope itself.
    """
    copy = folder / OUTSIDE_FOLDER
    base = copy if copy.is_dir() else named_model_folder(scope.base)
    if weights_digest(base) != scope.base_sha256:
        raise UserError(
            f"{folder} answers some questions only, and {scope.base} the others, but the weights in {base} have "
            "changed since."
        )
    if (base / SCOPE_FILE).is_file():
        raise UserError(f"{folder}: {scope.base}, which answers the questions outside its scope, has a scope itself.")
    return base


def reject_scope(folder: Path, action: str) -> None:
    """Raise `UserError` if a model has a scope. `action` completes "it cannot be …"."""
    if (scope := read_scope(folder)) is not None:
        raise UserError(
            f"{folder} answers only questions near those that it was trained on, and {scope.base} all others "
            f"({SCOPE_FILE}). One model cannot do this, so it cannot be {action}."
        )
