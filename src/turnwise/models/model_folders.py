"""Folders that hold models: where they are, what their config says, and how to tell them apart."""

import hashlib
import os
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from turnwise.core.directory_swap import recover_directory
from turnwise.core.errors import ModelNotFound, UserError
from turnwise.core.json_file import preview, read_json, read_json_object, read_optional_json_object
from turnwise.models.families import FAMILIES
from turnwise.models.hf_config_fields import check_hf_config

HUB_NAME_PATTERN = re.compile(r"[\w.-]+/[\w.-]+")
INDEX = "model.safetensors.index.json"
WEIGHTS = "model.safetensors"
PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt")


def find_model_folder(name: str) -> Path:
    """The folder of a model: a path, or a Hugging Face hub name whose files are in the local hub cache.

    Nothing is downloaded.

    Raises:
        ModelNotFound: there is none; the error says what was given instead and what to do about it.
    """
    try:
        folder = Path(name).expanduser()
    except RuntimeError:  # "~nobody" has no home
        folder = Path(name)
    try:
        recover_directory(folder)
        if folder.is_dir():
            return folder
        exists = folder.exists()
    except (OSError, ValueError):  # a name too long for a path, or with a zero byte
        raise ModelNotFound(f"There is no model folder {preview(name)}.") from None
    if not exists and HUB_NAME_PATTERN.fullmatch(name) and (cached := _cached_snapshot(name)) is not None:
        return cached
    raise ModelNotFound(_missing(name, folder, exists=exists))


def _cached_snapshot(name: str) -> Path | None:
    """The folder in which the hub's own tools (`hf download`, transformers) keep a model, if they fetched it."""
    home = Path(os.environ.get("HF_HOME") or "~/.cache/huggingface").expanduser()
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub") / f"models--{name.replace('/', '--')}"
    try:
        commit = (cache / "refs" / "main").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None
    folder = cache / "snapshots" / Path(commit).name
    return folder if (folder / "config.json").is_file() or (folder / "adapter_config.json").is_file() else None


def _missing(name: str, folder: Path, *, exists: bool) -> str:
    """What somebody who named `name` probably has, and how to make a model folder of it."""
    weight_mappings = "A model is a folder in the Hugging Face layout: config.json, tokenizer.json, model.safetensors."
    if folder.suffix.lower() == ".gguf":
        there = "is a GGUF file" if exists else "would be a GGUF file, and is not there"
        return f"{name} {there}; GGUF is not read yet. Fetch the model's original folder. {weight_mappings}"
    if match := re.match(r"(?i)(?:https?:/+|hf://)(?:huggingface\.co/|hf\.co/)?([\w.-]+/[\w.-]+)?", name):
        if "huggingface.co/" in name or "hf.co/" in name or name.lower().startswith("hf:"):
            return f"{name} is an address, and nothing is downloaded by itself. {_fetch(match[1] or 'OWNER/NAME')}"
        return f"{name} is an address, and nothing is downloaded by itself. {weight_mappings}"
    if exists:
        return f"{name} is a file. {weight_mappings} Give the folder that holds it."
    if HUB_NAME_PATTERN.fullmatch(name) and name[0] not in "./":
        return (
            f"There is no model folder {name}. If that is a name on the Hugging Face hub: "
            f"nothing is downloaded by itself. {_fetch(name)}"
        )
    return f"There is no model folder {name}. {weight_mappings}"


def _fetch(name: str) -> str:
    return f"Fetch it once with: pip install huggingface_hub && hf download {name} (then the name {name} works here)."


def read_hf_config(folder: Path) -> dict[str, Any]:
    """The published config of a model folder; the fields that we read have their declared types.

    Raises:
        ModelNotFound: no such folder, or none that holds a model.
        UserError: it is no readable JSON, or a field is missing, of another type or out of range.
    """
    if not folder.is_dir():
        raise ModelNotFound(_missing(str(folder), folder, exists=folder.exists()))
    path = folder / "config.json"
    if not path.is_file():
        raise ModelNotFound(f"{folder} holds no model: config.json is missing.{_other_formats(folder)}")
    hf_config = read_json_object(path)
    check_hf_config(hf_config, str(path), FAMILIES.names())
    return hf_config


def _other_formats(folder: Path) -> str:
    gguf = next(iter(sorted(folder.glob("*.gguf"))), None)
    return "" if gguf is None else f" {_missing(str(gguf), gguf, exists=True)}"


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model: one, or the shards that an index names.

    Raises:
        ModelNotFound: one is missing.
        UserError: the index is no list of files.
    """
    names = [WEIGHTS]
    index = folder / INDEX
    if index.is_file() and not (folder / WEIGHTS).is_file():
        weight_map = read_json(index)
        weight_map = weight_map.get("weight_map") if isinstance(weight_map, dict) else None
        files = set(weight_map.values()) if isinstance(weight_map, dict) and _all_text(weight_map) else set()
        if not files:
            raise UserError(f"{index} is not a list of weight files.")
        names = sorted({Path(name).name for name in files})  # a shard lies in the folder itself
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        pickled = next((path.name for pattern in PICKLED for path in sorted(folder.glob(pattern))), None)
        listed = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if missing[3:] else "")
        raise ModelNotFound(f"{folder} holds no complete weights: {listed} is missing.{_pickled_hint(folder, pickled)}")
    return [folder / name for name in names]


def _all_text(weight_map: dict[str, Any]) -> bool:
    return all(isinstance(name, str) and name for name in weight_map.values())


def _pickled_hint(folder: Path, name: str | None) -> str:
    """What to do about pickled weights: write safetensors beside them, where the tokenizer is, too."""
    if name is None:
        return ""
    kind = "Seq2SeqLM" if read_optional_json_object(folder / "config.json").get("is_encoder_decoder") else "CausalLM"
    return (
        f" Its weights in {name} are pickled, which can run code when opened. If you trust them, write them as "
        f'safetensors, once, in that folder: python -c "from transformers import AutoModelFor{kind} as M; '
        "M.from_pretrained('.').save_pretrained('.')\""
    )


def weights_digest(folder: Path) -> str:
    """Changes when the weights or the config of a model do; whether it holds a whole model or an adapter.

    All of the files is read: a run may change one layer in the middle of gigabytes.
    """
    digest = hashlib.sha256()
    for path in [*sorted(folder.glob("*.safetensors")), *sorted(folder.glob("*config.json"))]:
        if path.name not in ("generation_config.json", "tokenizer_config.json") and path.is_file():
            found = path.stat()
            digest.update(f"{path.name} {_digest(path, found.st_size, found.st_mtime_ns, found.st_ino)}".encode())
    return digest.hexdigest()


@lru_cache(maxsize=64)
def _digest(path: Path, *_: int) -> str:
    """Of a file's bytes; asked again about the same file it remembers."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
