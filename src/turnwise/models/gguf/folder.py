"""Model folders for GGUF files: the converted config and tokenizer beside a link to the file.

The folder is kept in `TURNWISE_HOME/gguf` and rebuilt when the file changes. It has the file's name without the
suffix, which is then the served name. The weights stay in the file. Does not import torch.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from turnwise.core.errors import ModelNotFound, UserError
from turnwise.core.files import atomic_directory
from turnwise.core.json_file import read_json
from turnwise.core.settings import Settings
from turnwise.models.families import load_family
from turnwise.models.gguf.config import convert_config
from turnwise.models.gguf.header import GgufHeader
from turnwise.models.gguf.header_reader import is_gguf
from turnwise.models.gguf.metadata import GgufMetadata
from turnwise.models.gguf.model_file import read_model, shard_paths
from turnwise.models.gguf.shard_names import SHARD_PATTERN, gguf_model_name
from turnwise.models.gguf.tokenizer import convert_tokenizer, convert_tokenizer_config
from turnwise.models.gguf.vocabulary import Vocabulary, read_vocabulary
from turnwise.models.stored_models import CONVERSION_FILE, GGUF_FILE, converted_gguf

VERSION = 1  # of the conversion; folders of other versions are rebuilt


def gguf_model_folder(path: Path) -> Path:
    """The model folder of a GGUF file; for a split model, of its first shard.

    Raises:
        UserError: the file is damaged or not supported.
        ModelNotFound: the file, or a shard of a split model, does not exist.
        SaveFailed: the folder could not be written.
    """
    if not path.is_file():
        raise ModelNotFound(f"There is no GGUF file {path}.")
    if not is_gguf(path):
        raise UserError(f"{path} is not a GGUF file: it does not begin with 'GGUF'.")
    # Links are not followed: in the cache of the Hugging Face hub, only they have the file's name.
    target = Path(os.path.abspath(path))  # noqa: PTH100 (`resolve` follows links)
    key = hashlib.sha256(str(target).encode(errors="surrogateescape")).hexdigest()[:16]
    folder = Settings.from_environment().gguf / key / (gguf_model_name(target.name).lstrip(".") or "model")
    if _is_current(folder, target):
        return folder
    header = read_model(target)
    num_shards = GgufMetadata(header).integer("split.count", 1)
    shards = shard_paths(target, num_shards) if num_shards > 1 else [target]
    source = {"version": VERSION, "files": [_stamp(shard) for shard in shards]}
    contents = _convert(header)
    with atomic_directory(folder) as new:
        for name, content in contents.items():
            (new / name).write_text(content, encoding="utf-8")
        (new / CONVERSION_FILE).write_text(json.dumps(source) + "\n", encoding="utf-8")
        for number, shard in enumerate(shards):
            (new / (shard.name if number else GGUF_FILE)).symlink_to(shard)
    return folder


def refresh_folder(folder: Path) -> Path | None:
    """A converted folder, rebuilt if its file has changed; None for other folders. Raises as `gguf_model_folder`."""
    path = converted_gguf(folder)
    if path is None:
        return None
    if not path.is_file():
        raise ModelNotFound(f"{folder} was made from the GGUF file {path}, which does not exist any more.")
    return gguf_model_folder(path)


def find_gguf(folder: Path) -> Path | None:
    """The GGUF model in a folder that has no config; the first shard of a split one. None if there is none.

    Raises:
        UserError: there are several.
    """
    models = sorted(path for path in folder.glob("*.gguf") if path.is_file())
    if len(models) > 1:
        matches = [SHARD_PATTERN.fullmatch(path.name) for path in models]
        if len({match and (match[1], match[3]) for match in matches}) > 1 or not all(matches):
            names = ", ".join(path.name for path in models[:3]) + (" and others" if models[3:] else "")
            raise UserError(f"{folder} holds several GGUF files ({names}); name one of them.")
    return next(iter(models), None)


def _stamp(path: Path) -> list[Any]:
    stat = path.stat()
    return [str(path), stat.st_size, stat.st_mtime_ns]


def _is_current(folder: Path, target: Path) -> bool:
    """True if the folder was made by this version from the file as it is now, and from all shards of a split one."""
    try:
        source = read_json(folder / CONVERSION_FILE)
        files = [_stamp(Path(path)) for path, *_ in source["files"]]
    except (UserError, OSError, KeyError, TypeError, ValueError):  # there is none, or it is damaged
        return False
    return bool(source == {"version": VERSION, "files": files}) and files[0][0] == str(target)


def _convert(header: GgufHeader) -> dict[str, str]:
    """The content of the folder's files by name. Raises `UserError` if something is not supported."""
    config = convert_config(header)
    vocabulary = read_vocabulary(header, num_rows=config["vocab_size"])
    load_family(config["model_type"]).from_hf_config(config)
    files: dict[str, Any] = {
        "config.json": config | _token_ids(vocabulary),
        "generation_config.json": _token_ids(vocabulary),
        "tokenizer.json": convert_tokenizer(header, vocabulary),
        "tokenizer_config.json": convert_tokenizer_config(header, vocabulary),
    }
    contents = {name: json.dumps(content, ensure_ascii=False) + "\n" for name, content in files.items()}
    if template := GgufMetadata(header).optional_text("tokenizer.chat_template"):
        contents["chat_template.jinja"] = template
    return contents


def _token_ids(vocabulary: Vocabulary) -> dict[str, Any]:
    stop_ids = list(vocabulary.stop_ids)
    return {
        "bos_token_id": vocabulary.bos,
        "eos_token_id": (stop_ids if len(stop_ids) > 1 else stop_ids[0]) if stop_ids else None,
        "pad_token_id": vocabulary.pad,
    }
