"""Slack: a day of a channel from an export, an array of messages; --me NAME says whose messages are the replies."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from turnwise.data.context import ParseContext
from turnwise.data.formats import Values
from turnwise.data.people import Post, dialogues, parse_time
from turnwise.data.rows import BadRow, Row

EXPECTED = '[{"type": "message", "user": "U01", "text": "…", "ts": "1710266760.000200"}]'
EXAMPLE = """\
[
  {"type": "message", "user": "U02", "text": "Open, <@U01>?", "ts": "1710266760.000100",
   "user_profile": {"real_name": "Bob", "display_name": "bob"}},
  {"type": "message", "user": "U01", "text": "Until six.", "ts": "1710266820.000200",
   "user_profile": {"real_name": "Ada", "display_name": "ada"}}
]
"""
EXAMPLE_ME = "Ada"
_MENTION = re.compile(r"<@(\w+)>")
_LINK = re.compile(r"<(https?://[^|>]+)(?:\|([^>]*))?>")


def matches(value: Any) -> float:
    """Sure of a message with a time stamp of Slack's."""
    return 1.0 if isinstance(value, dict) and value.get("type") == "message" and {"ts", "text"} <= value.keys() else 0.0


def combine(rows: Values, context: ParseContext) -> Iterator[Row]:
    """The dialogues of the channel, in the order of time; joins, topics and the like are no posts."""
    entries: list[Mapping[str, Any]] = []
    first = 0
    for row in rows:
        if isinstance(row, BadRow):
            yield row
        elif isinstance(row[1], dict):
            first = first or row[0]
            if not row[1].get("subtype") or row[1]["subtype"] in ("bot_message", "thread_broadcast"):
                entries.append(row[1])
    names = {str(entry.get("user")): _name(entry) for entry in entries}
    entries.sort(key=lambda entry: float(entry["ts"]) if _is_number(entry.get("ts")) else 0.0)
    posts = [
        Post(_name(entry), _text(str(entry.get("text") or ""), names), parse_time(entry.get("ts"))) for entry in entries
    ]
    for dialogue in dialogues(posts, context):
        yield first, dialogue


def _is_number(value: Any) -> bool:
    return isinstance(value, str) and value.replace(".", "", 1).isdigit()


def _name(entry: Mapping[str, Any]) -> str:
    profile = entry.get("user_profile")
    profile = profile if isinstance(profile, dict) else {}
    names = (profile.get("real_name"), profile.get("display_name"), entry.get("username"), entry.get("user"))
    return str(next((name for name in names if name), "somebody"))


def _text(text: str, names: Mapping[str, str]) -> str:
    text = _MENTION.sub(lambda match: "@" + names.get(match.group(1), match.group(1)), text)
    text = _LINK.sub(lambda match: match.group(2) or match.group(1), text)
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
