"""Adds a model folder or a GGUF model of this machine to the store, as links or as a copy."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from turnwise.app.model_store.folder_files import list_files
from turnwise.app.model_store.store import ModelStore
from turnwise.app.model_store.stored_model import StoredModel
from turnwise.core.errors import ModelNotFound, SaveFailed, UserError
from turnwise.models.gguf.shard_names import shard_names
from turnwise.models.model_folders import PICKLE_PATTERNS
from turnwise.models.stored_models import SOURCE_FILE


def check_path(path: Path) -> None:
    """Check that a path is a model.

    Raises:
        ModelNotFound: there is nothing at the path, or a file of a split GGUF model is missing beside it.
        UserError: it is neither a GGUF file nor a model folder, or it is a later file of a split model.
    """
    if not path.exists():
        raise ModelNotFound(f"There is no file or folder {path}.")
    if path.is_file() and path.suffix.lower() != ".gguf":
        raise UserError(f"{path} is not a GGUF file. Name a .gguf file, or a model's folder.")
    if path.is_file():
        for file in _gguf_files(path):
            if not file.is_file():
                raise ModelNotFound(f"{path} is a part of a split model, and {file.name} is missing beside it.")
    is_model = ("config.json", "adapter_config.json")
    if path.is_dir() and not any((path / name).is_file() for name in is_model) and not list(path.glob("*.gguf")):
        raise UserError(f"{path} holds no model: it has neither config.json, adapter_config.json nor a .gguf file.")


def pull_path(model: StoredModel, path: Path, store: ModelStore) -> Path:
    """Add a model to the store and return its folder.

    Args:
        model: what `source.json` states. Its `storage` decides between links and a copy.
        path: the model, see `check_path`.
        store: the store.

    Raises:
        UserError: the path is in the store.
        SaveFailed: a write failed, or the system cannot create links.
    """
    if path.resolve().is_relative_to(store.root.resolve()):
        raise UserError(f"{path} is in the model store {store.root}. Move it to a folder outside the store first.")
    with store.lock(model.name):
        staging = store.staging(model)
        shutil.rmtree(staging, ignore_errors=True)
        try:
            staging.mkdir()
            for source in _entries(path):
                target = staging / source.name
                if model.storage == "link":
                    target.symlink_to(source.resolve(), target_is_directory=source.is_dir())
                elif source.is_dir():
                    shutil.copytree(source, target)
                else:
                    shutil.copyfile(source, target)
            files = list_files(staging, hashed=model.storage == "copy")
            return store.publish(staging, model.model_copy(update={"files": files}))
        except OSError as error:
            hint = " Pass --copy to copy the files instead of linking them." if model.storage == "link" else ""
            raise SaveFailed(f"Could not add {path} to {store.root}: {error.strerror or error}.{hint}") from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def _entries(path: Path) -> Iterator[Path]:
    """All files of a GGUF model, or the entries of a folder without hidden ones and pickled weights."""
    if path.is_file():
        yield from _gguf_files(path)
        return
    for entry in sorted(path.iterdir()):
        is_pickle = any(entry.match(pattern) for pattern in PICKLE_PATTERNS)
        if not is_pickle and not entry.name.startswith(".") and entry.name != SOURCE_FILE:
            yield entry


def _gguf_files(path: Path) -> list[Path]:
    """The file itself, or all files of the split model whose first file it is. Raises `UserError` for a later one."""
    return [path.with_name(name) for name in shard_names(path.name)]
