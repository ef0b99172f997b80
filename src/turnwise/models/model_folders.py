"""Model folders: finding them by path or hub name, reading their config, and listing and hashing their weight files."""

import hashlib
import os
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from turnwise.core.directory_swap import recover_directory
from turnwise.core.errors import ModelNotFound, UserError
from turnwise.core.json_file import preview, read_json, read_json_object, read_optional_json_object
from turnwise.models.families import FAMILIES
from turnwise.models.hf_config_fields import check_hf_config
from turnwise.models.stored_models import (
    GGUF_FILE,
    HUB_PREFIX,
    converted_gguf,
    parse_hub_reference,
    stored_model_folder,
)

HUB_NAME_PATTERN = re.compile(r"[\w.-]+/[\w.-]+")
URL_PATTERN = re.compile(r"(?i)(?:https?:/+|hf://)(?:huggingface\.co/|hf\.co/)?([\w.-]+/[\w.-]+)?")
WEIGHTS_INDEX_FILE = "model.safetensors.index.json"
WEIGHTS_FILE = "model.safetensors"
PICKLE_PATTERNS = ("*.bin", "*.pt", "*.pth", "*.ckpt")
UNHASHED_CONFIGS = ("generation_config.json", "tokenizer_config.json")
SCOPE_FILE = "scope.json"  # which questions a model answers; another model answers the others
EXPECTED_LAYOUT = (
    "A model is a GGUF file or a folder in the Hugging Face layout: config.json, tokenizer.json, model.safetensors."
)


def find_model_folder(name: str, *, prefer_store: bool = False) -> Path:
    """The folder of a model. Nothing is downloaded.

    Args:
        name: a path, else a stored model (see `stored_model_folder`), else a Hugging Face hub name whose files are in
            the local hub cache. For a GGUF file, or a folder that holds only one, the result is the folder that it was
            converted to.
        prefer_store: look for a stored model first, then for a path: for names that do not come from the command line,
            which mean the same in every directory.

    Raises:
        ModelNotFound: there is no such folder; the message explains what the name may refer to.
        UserError: the file cannot be read, the GGUF file is damaged or not supported, the folder has several, or a hub
            name stands for several stored models.
    """
    if prefer_store and (stored := stored_model_folder(name)) is not None:
        return _resolve_gguf(stored)
    try:
        folder = Path(name).expanduser()
    except RuntimeError:  # "~nobody" has no home directory
        folder = Path(name)
    try:
        recover_directory(folder)
        is_dir, is_file, exists = folder.is_dir(), folder.is_file(), folder.exists()
    except (OSError, ValueError):  # the name is too long for a path, or has a zero byte
        raise ModelNotFound(f"There is no model folder {preview(name)}.") from None
    if is_dir:
        return _resolve_gguf(folder)
    if is_file and (folder.suffix.lower() == ".gguf" or _is_gguf(folder)):
        from turnwise.models.gguf.folder import gguf_model_folder

        return gguf_model_folder(folder)
    if not exists and (stored := stored_model_folder(name)) is not None:
        return _resolve_gguf(stored)
    if not exists and HUB_NAME_PATTERN.fullmatch(name) and (snapshot := _cached_snapshot(name)) is not None:
        return _resolve_gguf(snapshot)
    raise ModelNotFound(_not_found_message(name, folder, exists=exists))


def _resolve_gguf(folder: Path) -> Path:
    """The folder itself or, if its model is a GGUF file, the folder with the converted config and tokenizer."""
    if next(folder.glob("*.gguf"), None) is None:
        return folder
    from turnwise.models.gguf.folder import find_gguf, gguf_model_folder, refresh_folder

    if (converted := refresh_folder(folder)) is not None:
        return converted
    has_other_weights = next(folder.glob("*.safetensors"), None) is not None
    has_config = (folder / "config.json").is_file()
    if has_other_weights or (has_config and (folder / GGUF_FILE).is_file()):
        return folder
    path = find_gguf(folder)
    return folder if path is None else gguf_model_folder(path)


def _is_gguf(path: Path) -> bool:
    from turnwise.models.gguf.header_reader import is_gguf  # imports numpy and gguf

    return is_gguf(path)


def _cached_snapshot(name: str) -> Path | None:
    """The folder of a model in the hub cache of `hf download` and transformers, or None."""
    home = Path(os.environ.get("HF_HOME") or "~/.cache/huggingface").expanduser()
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub") / f"models--{name.replace('/', '--')}"
    try:
        commit = (cache / "refs" / "main").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None
    folder = cache / "snapshots" / Path(commit).name
    is_model = any((folder / name).is_file() for name in ("config.json", "adapter_config.json"))
    return folder if is_model or next(folder.glob("*.gguf"), None) is not None else None


def _not_found_message(name: str, folder: Path, *, exists: bool) -> str:
    """Explain what `name` probably refers to and how to get a model folder from it."""
    if name.startswith(HUB_PREFIX) and parse_hub_reference(name) is not None:
        return f"{name} is not on this machine: run turnwise models pull {name}"
    if folder.suffix.lower() == ".gguf":
        return f"There is no GGUF file {name}." if not exists else f"{name} is not a regular file."
    if url := URL_PATTERN.match(name):
        if "huggingface.co/" in name or "hf.co/" in name or name.lower().startswith("hf:"):
            return f"{name} is a URL; models are not downloaded automatically. {_download_hint(url[1] or 'OWNER/NAME')}"
        return f"{name} is a URL; models are not downloaded automatically. {EXPECTED_LAYOUT}"
    if exists:
        return f"{name} is a file. {EXPECTED_LAYOUT} Name the folder that contains it."
    if HUB_NAME_PATTERN.fullmatch(name) and name[0] not in "./":
        return (
            f"There is no model folder {name}. If it is a name on the Hugging Face hub: "
            f"models are not downloaded automatically. {_download_hint(name)}"
        )
    return f"There is no model folder {name}. {EXPECTED_LAYOUT} `turnwise models list` lists models to pull."


def _download_hint(name: str) -> str:
    return (
        f"Pull it once with: pip install 'turnwise[hub]' && turnwise models pull hf:{name} (then hf:{name} works here)."
    )


def read_hf_config(folder: Path) -> dict[str, Any]:
    """The `config.json` of a model folder, with the fields that Turnwise uses checked for type and range.

    Raises:
        ModelNotFound: the folder does not exist or has no model.
        UserError: the file is not readable JSON, or a field is missing, of the wrong type or out of range.
    """
    if not folder.is_dir():
        raise ModelNotFound(_not_found_message(str(folder), folder, exists=folder.exists()))
    path = folder / "config.json"
    if not path.is_file():
        raise ModelNotFound(f"{folder} holds no model: config.json is missing.")
    hf_config = read_json_object(path)
    check_hf_config(hf_config, str(path), FAMILIES.names())
    return hf_config


def weight_files(folder: Path) -> list[Path]:
    """The weight files of a model: a safetensors file, the shards that the index lists, or a GGUF file.

    Raises:
        ModelNotFound: a file is missing.
        UserError: the index is invalid.
    """
    names = [WEIGHTS_FILE]
    index_path = folder / WEIGHTS_INDEX_FILE
    if index_path.is_file() and not (folder / WEIGHTS_FILE).is_file():
        names = _shard_names(index_path)
    elif (folder / GGUF_FILE).is_symlink() or (folder / GGUF_FILE).is_file():
        names = [GGUF_FILE]
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        listed = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if missing[3:] else "")
        raise ModelNotFound(f"{folder} holds no complete weights: {listed} is missing.{_pickle_hint(folder)}")
    return [folder / name for name in names]


def _shard_names(index_path: Path) -> list[str]:
    index = read_json(index_path)
    weight_map = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(weight_map, dict) or not weight_map or not _has_only_names(weight_map):
        raise UserError(f"{index_path} is not a list of weight files.")
    return sorted({Path(name).name for name in weight_map.values()})  # never outside the folder


def _has_only_names(weight_map: Mapping[str, Any]) -> bool:
    return all(isinstance(name, str) and name for name in weight_map.values())


def _pickle_hint(folder: Path) -> str:
    """How to convert pickled weights to safetensors, if the folder has some."""
    pickled = next((path.name for pattern in PICKLE_PATTERNS for path in sorted(folder.glob(pattern))), None)
    if pickled is None:
        return ""
    task = "Seq2SeqLM" if read_optional_json_object(folder / "config.json").get("is_encoder_decoder") else "CausalLM"
    return (
        f" Its weights in {pickled} are pickled, which can run code when opened. If you trust them, convert them once, "
        f'in that folder: python -c "from transformers import AutoModelFor{task} as M; '
        "M.from_pretrained('.').save_pretrained('.')\""
    )


def weights_digest(folder: Path) -> str:
    """Hash of the weights, the config and the scope of a model or an adapter; of a GGUF file, which holds all, alone.

    Complete files are hashed: training may change one layer in the middle of gigabytes.
    """
    digest = hashlib.sha256()
    for name, file_digest in weight_file_digests(folder).items():
        digest.update(f"{name} {file_digest}".encode())
    return digest.hexdigest()


def weight_file_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of each file that `weights_digest` covers, by name."""
    patterns = ["*.safetensors", "*config.json", SCOPE_FILE]
    if (folder / GGUF_FILE).is_file():
        patterns = [*patterns, "*.gguf"] if converted_gguf(folder) is None else ["*.gguf"]
    digests = {}
    for path in [path for pattern in patterns for path in sorted(folder.glob(pattern))]:
        if path.name not in UNHASHED_CONFIGS and path.is_file():
            stat = path.stat()
            digests[path.name] = _file_digest(path, stat.st_size, stat.st_mtime_ns, stat.st_ino)
    return digests


@lru_cache(maxsize=64)
def _file_digest(path: Path, *_: int) -> str:
    """Hash of a file's bytes; cached by path, size, modification time and inode."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
