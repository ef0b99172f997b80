"""Options for reading a file: what the file does not say itself, such as its encoding, columns and speakers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from turnwise.core.errors import InvalidParameter, did_you_mean
from turnwise.core.messages import ROLES, Role
from turnwise.data import columns
from turnwise.data.formats import long_form, sharegpt
from turnwise.data.parse_tool_calls import TOOL_KEYS
from turnwise.data.parse_turns import REASONING_KEYS
from turnwise.data.rows import RowError

# Standard column name → all names with this meaning. The parsers look for the standard name first.
COLUMN_ALIASES: dict[str, tuple[str, ...]] = {
    "prompt": columns.PROMPT_COLUMNS,
    "response": columns.REPLY_COLUMNS,
    "system": columns.SYSTEM_COLUMNS,
    "history": columns.HISTORY_COLUMNS,
    "conversation_id": long_form.ID_COLUMNS,
    "role": ("role", "speaker", "from"),
    "content": ("content", "value", "utterance"),
    "text": ("text",),
    "messages": ("messages", *sharegpt.TURNS_KEYS),
    "chosen": ("chosen",),
    "rejected": ("rejected",),
    "label": ("label", "kto_tag"),
    "tokens": ("tokens",),
    "tags": ("tags",),
    "spans": ("spans",),
    "tools": TOOL_KEYS,
    "reasoning_content": REASONING_KEYS,
}
_STANDARD_NAMES = {alias: name for name, aliases in COLUMN_ALIASES.items() for alias in aliases} | {
    "context": "context", "input": "input", "query": "query",
}  # fmt: skip
_REQUIRED = ("prompt", "response", "role", "content", "messages", "text", "chosen", "rejected")


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How to read a file.

    Attributes:
        format: format or container name. Default: detected.
        encoding: text encoding. Default: UTF-8, or what a byte order mark says.
        columns: column or key of the file, by standard name or alias (`prompt`, `response`, `role`, `content`, …).
        roles: role by speaker name.
        assistant_name: speaker whose messages are the replies to train on; all other speakers are users.
    """

    format: str | None = None
    encoding: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    roles: Mapping[str, str] = field(default_factory=dict)
    assistant_name: str | None = None

    def __post_init__(self) -> None:
        for name in self.columns:
            if name.lower() not in _STANDARD_NAMES:
                hint = did_you_mean(name.lower(), _STANDARD_NAMES)
                raise InvalidParameter("columns", f"Unknown column meaning '{name}': {hint}")
        for speaker, role in self.roles.items():
            if role not in ROLES:
                raise InvalidParameter("role", f"Unknown role '{role}' of '{speaker}': {did_you_mean(role, ROLES)}")

    @property
    def role_of_speaker(self) -> dict[str, Role]:
        """Role by lower-case speaker name."""
        roles: dict[str, Role] = {name.strip().lower(): role for name, role in self.roles.items()}  # type: ignore[misc]
        return roles

    def rename_header(self, names: Sequence[str]) -> Sequence[str]:
        """Return a table's header with standard names."""
        standard = self._standard_of_column
        return [standard.get(name, name) for name in names]

    def rename(self, value: Any) -> Any:
        """Return a row with standard names for its keys and for the keys of the messages in it.

        Raises `RowError` if a column of the options is missing.
        """
        standard = self._standard_of_column
        if not self.columns or not isinstance(value, dict):
            return _rename_entries(value, standard)
        missing = [column for column, name in standard.items() if column not in value and name in _REQUIRED]
        has_lists = any(isinstance(entry, list) for entry in value.values())
        # Keys of messages may occur only in the lists of a row.
        if missing and not (has_lists and all(standard[column] in ("role", "content") for column in missing)):
            raise RowError(f"there is no column or key '{missing[0]}' (there are {', '.join(map(str, value))})")
        return _rename_keys({key: _rename_entries(entry, standard) for key, entry in value.items()}, standard)

    @property
    def _standard_of_column(self) -> dict[str, str]:
        return {column: _STANDARD_NAMES[name.lower()] for name, column in self.columns.items()}


def _rename_entries(value: Any, standard: Mapping[str, str]) -> Any:
    """Rename the keys of the objects in a list; return other values unchanged."""
    return [_rename_keys(entry, standard) for entry in value] if isinstance(value, list) else value


def _rename_keys(value: Any, standard: Mapping[str, str]) -> Any:
    """Return an object with standard keys. Other keys with the same meaning become metadata, so they cannot win."""
    if not isinstance(value, dict) or not standard.keys() & value.keys():
        return value
    renamed = {standard[key]: entry for key, entry in value.items() if key in standard}
    unchanged = {key: entry for key, entry in value.items() if key not in standard}
    competing = {key for key in unchanged if _STANDARD_NAMES.get(str(key).strip().lower()) in renamed}
    if not competing:
        return renamed | unchanged
    meta = value["meta"] if isinstance(value.get("meta"), dict) else {}
    return renamed | {key: entry for key, entry in unchanged.items() if key not in competing} | {
        "meta": {**{key: unchanged[key] for key in competing}, **meta}
    }  # fmt: skip


def parse_assignments(values: Sequence[str], flag: str) -> dict[str, str]:
    """Parse the values of a repeatable flag, such as `user=Frage,assistant=Antwort`. Raises `InvalidParameter`."""
    assignments: dict[str, str] = {}
    for value in values:
        for assignment in value.split(","):
            name, sign, target = assignment.partition("=")
            if not sign or not name.strip() or not target.strip():
                raise InvalidParameter(flag, f"--{flag} takes NAME=VALUE, separated by commas, not '{assignment}'.")
            assignments[name.strip()] = target.strip()
    return assignments
