"""State shared by the parsers of a file: roles by speaker name, and columns that no parser uses."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from turnwise.core.errors import did_you_mean
from turnwise.core.messages import Role
from turnwise.data.rows import RowError

_SPEAKERS: dict[Role, tuple[str, ...]] = {
    "system": ("system", "系统"),
    "developer": ("developer",),
    "user": ("user", "human", "customer", "client", "prompter", "question", "q", "用户", "客户", "问", "顾客"),
    "assistant": (
        "assistant", "gpt", "bot", "agent", "ai", "model", "chatbot", "chatgpt", "claude", "answer", "a", "助手",
        "客服", "答", "function_call", "tool_call",
    ),
    "tool": ("tool", "function", "observation", "tool_response", "function_response", "tool_result", "ipython"),
}  # fmt: skip
ROLE_OF_SPEAKER: dict[str, Role] = {name: role for role, names in _SPEAKERS.items() for name in names}
CALL_SPEAKERS = ("function_call", "tool_call")
_CJK_LETTER = re.compile("[\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af]")
MIN_CONTENT_WORDS, MIN_CONTENT_CJK_LETTERS = 5, 10
# Columns that belong to the question, however short: the options of a multiple-choice question, and media.
QUESTION_PARTS = frozenset({
    "choices", "options", "endings", "candidates", "attachments", "image", "images", "image_path", "audio", "audios",
    "video", "videos",
})  # fmt: skip


@dataclass
class ParseContext:
    """Settings and counts for parsing one file.

    Attributes:
        roles: role by lower-case speaker name, in addition to the built-in names.
        assistant_name: speaker whose messages are the replies to train on; all other speakers are users.
        unread_columns: number of rows by name of a column or key with text that no parser used.
    """

    roles: Mapping[str, Role] = field(default_factory=dict)
    assistant_name: str | None = None
    unread_columns: Counter[str] = field(default_factory=Counter)

    def role(self, speaker: Any) -> Role:
        """Return the role of a speaker. Raises `RowError` if it is unknown."""
        role = self.find_role(speaker)
        if role is not None:
            return role
        if not isinstance(speaker, str):
            raise RowError(f"unknown role {speaker!r} (it must be text)")
        hint = did_you_mean(speaker.strip().lower(), ROLE_OF_SPEAKER).rstrip("?")
        raise RowError(
            f"unknown role {speaker!r} ({hint}; or set its role: --role {_quote_for_shell(speaker)}=assistant)"
        )

    def find_role(self, speaker: Any) -> Role | None:
        """Return the role of a speaker; None if it is unknown."""
        if not isinstance(speaker, str):
            return None
        name = speaker.strip().lower()
        if name in self.roles:
            return self.roles[name]
        if self.assistant_name is not None and name == self.assistant_name.strip().lower():
            return "assistant"
        return ROLE_OF_SPEAKER.get(name) or ("user" if self.assistant_name is not None else None)

    def metadata_of(self, row: Mapping[str, Any], used: Iterable[str]) -> dict[str, Any]:
        """Return the unused keys of a row as metadata; the entries of a `meta` object move to the top level."""
        used = {*used, "meta"}
        self.count_unread(row, used)
        unused = {key: value for key, value in row.items() if key not in used and value is not None}
        meta = row.get("meta")
        if isinstance(meta, dict):
            return {**unused, **meta}
        return unused if meta is None else {**unused, "meta": meta}

    def count_unread(self, row: Mapping[str, Any], used: Collection[str], prefix: str = "") -> None:
        """Count the keys of `row` that are not in `used` and hold content or a part of a question."""
        for key, value in row.items():
            if key not in used and value and (is_content(value) or str(key).lower() in QUESTION_PARTS):
                self.unread_columns[f"{prefix}{key}"] += 1


DEFAULT_CONTEXT = ParseContext()


def is_content(value: Any, depth: int = 3) -> bool:
    """Return True if a value looks like message content: some words of text, or a container with such a text."""
    if isinstance(value, str):
        words = len(value.split(maxsplit=MIN_CONTENT_WORDS))
        return words >= MIN_CONTENT_WORDS or len(_CJK_LETTER.findall(value[:200])) >= MIN_CONTENT_CJK_LETTERS
    if depth and isinstance(value, list):
        return any(is_content(entry, depth - 1) for entry in value[:10])
    return bool(depth) and isinstance(value, dict) and any(is_content(entry, depth - 1) for entry in value.values())


def _quote_for_shell(name: str) -> str:
    return f"'{name}'" if not name.isalnum() else name
