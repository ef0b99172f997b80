"""Detects how the turns of a text file start: "User:", "**User:**" or "## User"."""

import re

from turnwise.data.parse_context import ROLE_OF_SPEAKER, ParseContext

# How a turn starts: a name and a colon, the same in bold, or a heading that is a name.
_PLAIN = r"{}\s*[:：][ \t]?"
_BOLD = r"(?:\*\*|__){}(?:\*\*|__)?\s*[:：](?:\*\*|__)?[ \t]?"
_HEADING = r"#{{1,6}}[ \t]+(?:\*\*|__)?{}(?:\*\*|__)?[ \t]*[:：]?(?:\*\*|__)?[ \t]*(?=\n|$)"


def detect_speaker_pattern(text: str, context: ParseContext) -> re.Pattern[str] | None:
    """Return the pattern of the start of a turn, with the group `name`; None if the text does not start with a turn.

    All turns start in the style of the first one: the same case and markup, and no deeper indentation. So "user: root"
    belongs to a configuration if the speakers are written "User:", and "**Answer:** 42" belongs to a reply. Names of
    one letter are speakers only if the first one is: otherwise "A: …" is an item of a list.
    """
    names = {*ROLE_OF_SPEAKER, *context.roles, *([context.assistant_name.lower()] if context.assistant_name else [])}
    start = text.lstrip("\ufeff\r\n")
    for style in (_PLAIN, _BOLD, _HEADING):
        if first := _compile(names, style).match(start.lstrip()):
            break
    else:
        return None
    name = first.group("name")
    case = "(?![a-z])" if name[0].isupper() else "(?![A-Z])" if name[0].islower() else ""
    indentation = r"\s*" if start[:1].isspace() else r"\s?"
    if len(name) > 1:
        names = {name for name in names if len(name) > 1}
    return _compile(names, style, case, indentation)


def _compile(names: set[str], style: str, case: str = "", indentation: str = "") -> re.Pattern[str]:
    longest_first = sorted(names, key=len, reverse=True)
    any_name = "|".join(re.escape(name) for name in longest_first)
    return re.compile(indentation + style.format(f"(?P<name>{case}(?i:{any_name}))"))


def speaker_name(match: re.Match[str]) -> str:
    """Return the speaker of a match of the pattern."""
    return str(match.group("name"))
