"""LLaMA-Factory's `dataset_info.json`: which files of a folder are data, and what their columns and roles mean."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from turnwise.core.errors import InvalidData
from turnwise.data.read_options import ReadOptions

NAME = "dataset_info.json"
# LLaMA-Factory's names for columns, and ours.
_COLUMNS = {
    "prompt": "prompt", "query": "query", "response": "response", "history": "history", "system": "system",
    "messages": "messages", "tools": "tools", "chosen": "chosen", "rejected": "rejected", "kto_tag": "label",
}  # fmt: skip
_SHAREGPT_TAGS = {"role_tag": "from", "content_tag": "value"}
_ROLE_TAGS = {
    "user_tag": "user", "assistant_tag": "assistant", "observation_tag": "tool", "system_tag": "system",
}  # fmt: skip


def read(folder: Path, options: ReadOptions) -> dict[str, ReadOptions]:
    """How to read each file that the folder's `dataset_info.json` names; empty without such a file.

    Raises `InvalidData` where it is no JSON object of data sets.
    """
    path = folder / NAME
    if not path.is_file():
        return {}
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InvalidData(f"{path} is not valid JSON ({error}).") from error
    if not isinstance(described, dict):
        raise InvalidData(f"{path} does not hold data sets by their names.")
    entries = [entry for entry in described.values() if isinstance(entry, dict)]
    return {
        entry["file_name"]: _options(entry, options) for entry in entries if isinstance(entry.get("file_name"), str)
    }


def _options(entry: Mapping[str, Any], options: ReadOptions) -> ReadOptions:
    columns: dict[str, str] = {}
    named = entry.get("columns")
    if isinstance(named, dict):
        columns |= {
            _COLUMNS[name]: column for name, column in named.items() if name in _COLUMNS and column != _COLUMNS[name]
        }
    tags = entry.get("tags")
    tags = tags if isinstance(tags, dict) else {}
    columns |= {
        ours: tags[tag]
        for tag, ours in (("role_tag", "role"), ("content_tag", "content"))
        if isinstance(tags.get(tag), str) and tags[tag] != _SHAREGPT_TAGS[tag]
    }
    roles = {
        tags[tag]: role for tag, role in _ROLE_TAGS.items() if isinstance(tags.get(tag), str) and tag != "function_tag"
    }
    return replace(options, columns={**columns, **options.columns}, roles={**roles, **options.roles})
