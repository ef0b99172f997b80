"""Files of a repository on the Hugging Face hub: which of them are pulled, and where they are stored."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from turnwise.core.errors import InvalidParameter, UserError
from turnwise.models.gguf.shard_names import is_later_shard, shard_names

SAFE_FILE = re.compile(r"(?:\d_[A-Za-z]+/)?\w[\w.-]*\.(?:json|jinja|model|txt|md|safetensors)|LICENSE")
GGUF_FILE = re.compile(r"(?:\w[\w.-]*/)*\w[\w.-]*\.gguf")  # a hub cannot name a path outside the model's folder


@dataclass(frozen=True)
class HubFile:
    """A file of a repository. `sha256` is None for small files, which the hub stores in git."""

    path: str
    bytes: int
    sha256: str | None


def is_gguf_path(path: str) -> bool:
    """True for the path of a GGUF file that stays in the model's folder."""
    return GGUF_FILE.fullmatch(path) is not None


def stored_path(path: str) -> str:
    """The path in the model's folder of a file with this path in the repository."""
    return PurePosixPath(path).name if is_gguf_path(path) else path


def select_files(repository: str, files: Sequence[HubFile], gguf: str | None) -> list[HubFile]:
    """The files to pull: all files of one GGUF model, or safetensors with their tokenizer and configs.

    Raises:
        InvalidParameter: `gguf` does not exist or is a later file of a split model, or there are several GGUF models
            and no safetensors.
        UserError: there are neither safetensors nor GGUF files.
    """
    ggufs = [file for file in files if is_gguf_path(file.path)]
    if gguf is not None:
        return _with_shards(repository, gguf, ggufs)
    safe = [file for file in files if SAFE_FILE.fullmatch(file.path) and not file.path.startswith("consolidated")]
    if any(file.path.endswith(".safetensors") for file in safe):
        return safe
    models = [file for file in ggufs if not is_later_shard(file.path)]
    if len(models) == 1:
        return _with_shards(repository, models[0].path, ggufs)
    if models:
        raise InvalidParameter(
            "model", f"{repository} has {len(models)} GGUF models; name one: {_names(models, repository)}."
        )
    raise UserError(f"{repository} has no safetensors and no GGUF file. Pickled weights are not pulled.")


def _with_shards(repository: str, path: str, ggufs: Sequence[HubFile]) -> list[HubFile]:
    """The file `path`, or all files of the split model whose first file it is."""
    try:
        names = shard_names(PurePosixPath(path).name)
    except UserError as error:
        raise InvalidParameter("model", str(error)) from error
    files = {file.path: file for file in ggufs}
    paths = [str(PurePosixPath(path).with_name(name)) for name in names]
    if missing := [name for name in paths if name not in files]:
        raise InvalidParameter("model", f"{repository} has no file {missing[0]}. GGUF files: {_names(ggufs)}.")
    return [files[name] for name in paths]


def _names(files: Sequence[HubFile], repository: str = "") -> str:
    prefix = f"hf:{repository}/" if repository else ""
    names = [f"{prefix}{file.path}" for file in files]
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "") or "none"
