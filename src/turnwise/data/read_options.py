"""How a file is to be read, where it does not say so itself: its encoding, its columns and its speakers."""

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

# Every name of a column that means the same, by the one that the parsers look for first.
COLUMN_ALIASES: dict[str, tuple[str, ...]] = {
    "prompt": columns.PROMPTS,
    "response": columns.REPLIES,
    "system": columns.SYSTEM,
    "history": columns.HISTORY,
    "conversation_id": long_form.IDS,
    "role": ("role", "speaker", "from"),
    "content": ("content", "value", "utterance"),
    "text": ("text",),
    "messages": ("messages", *sharegpt.KEYS),
    "chosen": ("chosen",),
    "rejected": ("rejected",),
    "label": ("label", "kto_tag"),
    "tools": TOOL_KEYS,
    "reasoning_content": REASONING_KEYS,
}
_MEANING = {name: meaning for meaning, names in COLUMN_ALIASES.items() for name in names} | {
    "context": "context", "input": "input", "query": "query",
}  # fmt: skip
_NEEDED = ("prompt", "response", "role", "content", "messages", "text", "chosen", "rejected")


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How to read a file.

    Attributes:
        format: a format's or a container's name; None: recognised.
        encoding: of its text; None: UTF-8, or what a byte order mark says.
        columns: the file's column or key, by what it means (`prompt`, `response`, `role`, `content`, …).
        roles: the role of a speaker, by the speaker's name.
        me: the speaker whose messages are the replies to learn; everybody else is a user.
    """

    format: str | None = None
    encoding: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    roles: Mapping[str, str] = field(default_factory=dict)
    me: str | None = None

    def __post_init__(self) -> None:
        for name in self.columns:
            if name.lower() not in _MEANING:
                raise InvalidParameter(
                    "columns", f"A column cannot mean '{name}': {did_you_mean(name.lower(), _MEANING)}"
                )
        for speaker, role in self.roles.items():
            if role not in ROLES:
                raise InvalidParameter("role", f"'{speaker}' cannot be '{role}': {did_you_mean(role, ROLES)}")

    @property
    def role_of_speaker(self) -> dict[str, Role]:
        """Roles by names in lower case."""
        roles: dict[str, Role] = {name.strip().lower(): role for name, role in self.roles.items()}  # type: ignore[misc]
        return roles

    def rename_header(self, names: Sequence[str]) -> Sequence[str]:
        """A table's header in our names."""
        ours = {theirs: _MEANING[name.lower()] for name, theirs in self.columns.items()}
        return [ours.get(name, name) for name in names]

    def rename(self, value: Any) -> Any:
        """A row whose columns, and whose messages' keys, have our names. Raises `RowError` where one is missing."""
        if not self.columns or not isinstance(value, dict):
            return [_renamed_keys(entry, self._ours) for entry in value] if isinstance(value, list) else value
        missing = [theirs for theirs, ours in self._ours.items() if theirs not in value and ours in _NEEDED]
        inner = any(isinstance(entry, list) for entry in value.values())
        if missing and not (inner and all(self._ours[theirs] in ("role", "content") for theirs in missing)):
            raise RowError(f"there is no column or key '{missing[0]}' (there are {', '.join(map(str, value))})")
        return _renamed_keys({key: _in_lists(entry, self._ours) for key, entry in value.items()}, self._ours)

    @property
    def _ours(self) -> dict[str, str]:
        return {theirs: _MEANING[name.lower()] for name, theirs in self.columns.items()}


def _in_lists(value: Any, ours: Mapping[str, str]) -> Any:
    return [_renamed_keys(entry, ours) for entry in value] if isinstance(value, list) else value


def _renamed_keys(value: Any, ours: Mapping[str, str]) -> Any:
    """The object with our names; what else has a name of the same meaning is metadata."""
    if not isinstance(value, dict) or not ours.keys() & value.keys():
        return value
    named = {ours[key]: entry for key, entry in value.items() if key in ours}
    rest = {key: entry for key, entry in value.items() if key not in ours}
    competing = {key for key in rest if _MEANING.get(str(key).strip().lower()) in named}
    if not competing:
        return named | rest
    meta = value["meta"] if isinstance(value.get("meta"), dict) else {}
    return named | {key: entry for key, entry in rest.items() if key not in competing} | {
        "meta": {**{key: rest[key] for key in competing}, **meta}
    }  # fmt: skip


def parse_assignments(values: Sequence[str], flag: str) -> dict[str, str]:
    """`user=Frage,assistant=Antwort`, said once or several times, as a mapping. Raises `InvalidParameter`."""
    found: dict[str, str] = {}
    for value in values:
        for part in value.split(","):
            name, sign, target = part.partition("=")
            if not sign or not name.strip() or not target.strip():
                raise InvalidParameter(flag, f"--{flag} takes NAME=VALUE, several parted by commas, not '{part}'.")
            found[name.strip()] = target.strip()
    return found
