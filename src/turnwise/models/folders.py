"""Folders that hold models: where they are, what their config says, and how to tell them apart."""

import hashlib
import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from turnwise.core.errors import ModelNotFound, UserError

HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
HUB_FILES = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")  # no pickles


def find_folder(name: str) -> Path:
    """The folder of a model: a path, or the local copy of a model with this name on the Hugging Face hub.

    Raises:
        ModelNotFound: neither is there, or the hub cannot be reached.
    """
    folder = Path(name).expanduser()
    if folder.is_dir() or not HUB_NAME.fullmatch(name):
        return folder  # whoever opens it says that it is not there
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise ModelNotFound(
            f"There is no model folder {name}. To fetch a model of that name: pip install 'turnwise[transformers]'"
        ) from None
    try:
        return Path(snapshot_download(name, allow_patterns=list(HUB_FILES)))
    except Exception as error:  # the hub's library raises whatever its transport does
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise ModelNotFound(f"There is no model folder {name}, and no such model could be fetched: {reason}") from error


def read_config(folder: Path) -> dict[str, Any]:
    """The published config of a model folder.

    Raises:
        ModelNotFound: no such folder, or none that holds a model.
    """
    if not folder.is_dir():
        raise ModelNotFound(f"There is no model folder {folder}.")
    path = folder / "config.json"
    if not path.is_file():
        raise ModelNotFound(f"{folder} holds no model: config.json is missing.")
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not readable JSON: {error}.") from error
    if not isinstance(loaded, dict) or "model_type" not in loaded:
        raise UserError(f"{path} does not name a model_type.")
    return loaded


def weights_digest(folder: Path) -> str:
    """Changes when the weights or the config of a model do; whether it holds a whole model or an adapter.

    All of the files is read: a run may change one layer in the middle of gigabytes.
    """
    digest = hashlib.sha256()
    for path in [*sorted(folder.glob("*.safetensors")), *sorted(folder.glob("*config.json"))]:
        if path.name not in ("generation_config.json", "tokenizer_config.json"):
            found = path.stat()
            digest.update(f"{path.name} {_digest(path, found.st_size, found.st_mtime_ns, found.st_ino)}".encode())
    return digest.hexdigest()


@lru_cache(maxsize=64)
def _digest(path: Path, *_: int) -> str:
    """Of a file's bytes; asked again about the same file it remembers."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
