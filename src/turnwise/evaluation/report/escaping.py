"""Escaping of untrusted text, such as models' answers, for Markdown and HTML pages."""

import re

# Control characters, characters that XML does not allow, and those that reorder the text after them.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
_MARKUP = re.compile(r"[\\`*_\[\]|~$]")
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;"})
_LINK = re.compile(r":(?=\S)|(?<=\bwww)\.", re.IGNORECASE)  # GitHub links bare URLs and turns :name: into emoji
_BLOCK_START = re.compile(r"^(?:[-+](?![\d.])|[=#]|\d+(?=[.)](?:\s|$)))")  # begins a list or a heading


class Raw(str):
    """Text that is Markdown already and is not escaped."""

    __slots__ = ()


def clean(text: str) -> str:
    """Replace unsafe characters, and normalise line ends to "\\n"."""
    return _UNSAFE.sub("�", text.replace("\r\n", "\n").replace("\r", "\n"))


def escape_markdown(value: object) -> str:
    """Return a value as one line of GitHub Markdown that is safe in a table; line ends become `<br>`."""
    if isinstance(value, Raw):
        return value
    lines = clean(str(value)).strip().split("\n")
    return "<br>".join(_escape_line(" ".join(line.split())) for line in lines)


def _escape_line(text: str) -> str:
    text = _MARKUP.sub(r"\\\g<0>", text).translate(_ENTITIES)
    text = _LINK.sub(lambda match: f"&#{ord(match[0])};", text)
    # "1." is escaped after the number, "-" and "#" before the character.
    return _BLOCK_START.sub(lambda match: match[0] + "\\" if match[0].isdigit() else "\\" + match[0], text)
