"""LLaMA-Factory's `dataset_info.json`: the data files of a folder, and the meaning of their columns and roles."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from turnwise.core.errors import InvalidData
from turnwise.data.read_options import ReadOptions

DATASET_INFO_NAME = "dataset_info.json"
# LLaMA-Factory's column name → standard name.
_COLUMNS = {
    "prompt": "prompt", "query": "query", "response": "response", "history": "history", "system": "system",
    "messages": "messages", "tools": "tools", "chosen": "chosen", "rejected": "rejected", "kto_tag": "label",
}  # fmt: skip
# Tag that renames a key of the messages → standard name, default key.
_KEY_TAGS = {"role_tag": ("role", "from"), "content_tag": ("content", "value")}
# Tag that renames a speaker → role. `function_tag` needs no entry: its default is a known speaker.
_ROLE_TAGS = {
    "user_tag": "user", "assistant_tag": "assistant", "observation_tag": "tool", "system_tag": "system",
}  # fmt: skip


def read_dataset_info(folder: Path, options: ReadOptions) -> dict[str, ReadOptions]:
    """Return the options for each file in the folder's `dataset_info.json`, on top of `options`; {} without this file.

    Raises `InvalidData` if it is not a JSON object of data sets.
    """
    path = folder / DATASET_INFO_NAME
    if not path.is_file():
        return {}
    try:
        data_sets = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InvalidData(f"{path} is not valid JSON ({error}).") from error
    if not isinstance(data_sets, dict):
        raise InvalidData(f"{path} is not a JSON object with data sets by name.")
    entries = [entry for entry in data_sets.values() if isinstance(entry, dict)]
    return {
        entry["file_name"]: _options(entry, options) for entry in entries if isinstance(entry.get("file_name"), str)
    }


def _options(entry: Mapping[str, Any], options: ReadOptions) -> ReadOptions:
    columns: dict[str, str] = {}
    renamed = entry.get("columns")
    if isinstance(renamed, dict):
        columns |= {
            _COLUMNS[name]: column for name, column in renamed.items() if name in _COLUMNS and column != _COLUMNS[name]
        }
    tags = entry.get("tags")
    tags = {name: tag for name, tag in tags.items() if isinstance(tag, str)} if isinstance(tags, dict) else {}
    columns |= {
        standard: tags[name] for name, (standard, default) in _KEY_TAGS.items() if tags.get(name, default) != default
    }
    roles = {tags[name]: role for name, role in _ROLE_TAGS.items() if name in tags}
    return replace(options, columns={**columns, **options.columns}, roles={**roles, **options.roles})
