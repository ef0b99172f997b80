"""Slack: a day of an exported channel, an array of messages; --assistant-name NAME sets whose messages are replies."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from turnwise.data.chat_export import ChatPost, parse_time, split_into_dialogues
from turnwise.data.parse_context import ParseContext
from turnwise.data.rows import BadRow, NumberedValue, RowResult

EXPECTED = '[{"type": "message", "user": "U01", "text": "…", "ts": "1710266760.000200"}]'
EXAMPLE = """\
[
  {"type": "message", "user": "U02", "text": "Open, <@U01>?", "ts": "1710266760.000100",
   "user_profile": {"real_name": "Bob", "display_name": "bob"}},
  {"type": "message", "user": "U01", "text": "Until six.", "ts": "1710266820.000200",
   "user_profile": {"real_name": "Ada", "display_name": "ada"}}
]
"""
EXAMPLE_ASSISTANT_NAME = "Ada"
_MENTION = re.compile(r"<@(\w+)>")
_LINK = re.compile(r"<(https?://[^|>]+)(?:\|([^>]*))?>")


def matches(value: Any) -> float:
    """Certain for a message with a Slack time stamp."""
    return 1.0 if isinstance(value, dict) and value.get("type") == "message" and {"ts", "text"} <= value.keys() else 0.0


def combine(rows: Iterable[NumberedValue], context: ParseContext) -> Iterator[RowResult]:
    """Yield the dialogues of the channel in chronological order. Events such as joins are skipped."""
    entries: list[Mapping[str, Any]] = []
    first_number = 0
    for row in rows:
        if isinstance(row, BadRow):
            yield row
        elif isinstance(row[1], dict):
            first_number = first_number or row[0]
            if not row[1].get("subtype") or row[1]["subtype"] in ("bot_message", "thread_broadcast"):
                entries.append(row[1])
    names = _names_by_id(entries, context.assistant_name)
    entries.sort(key=lambda entry: float(entry["ts"]) if _is_number(entry.get("ts")) else 0.0)
    posts = [
        ChatPost(_speaker(entry, names), _text(str(entry.get("text") or ""), names), parse_time(entry.get("ts")))
        for entry in entries
    ]
    for dialogue in split_into_dialogues(posts, context):
        yield first_number, dialogue


def _is_number(value: Any) -> bool:
    return isinstance(value, str) and value.replace(".", "", 1).isdigit()


def _names_by_id(entries: Iterable[Mapping[str, Any]], assistant_name: str | None) -> dict[str, str]:
    """Return the name of every user id; only some messages of a person carry a profile.

    The person with the id, real name or display name `assistant_name` has this name.
    """
    names: dict[str, str] = {}
    for entry in entries:
        profile, id = entry.get("user_profile"), str(entry.get("user"))
        profile = profile if isinstance(profile, dict) else {}
        profile_names = [str(profile[key]) for key in ("real_name", "display_name") if profile.get(key)]
        if assistant_name is not None and assistant_name.strip().lower() in (
            name.strip().lower() for name in (*profile_names, id)
        ):
            names[id] = assistant_name
        elif profile_names:
            names.setdefault(id, profile_names[0])
    return names


def _speaker(entry: Mapping[str, Any], names: Mapping[str, str]) -> str:
    return names.get(str(entry.get("user"))) or str(entry.get("username") or entry.get("user") or "somebody")


def _text(text: str, names: Mapping[str, str]) -> str:
    text = _MENTION.sub(lambda match: "@" + names.get(match.group(1), match.group(1)), text)
    text = _LINK.sub(lambda match: match.group(2) or match.group(1), text)
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
