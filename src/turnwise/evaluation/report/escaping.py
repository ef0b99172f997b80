"""Texts that others wrote, made fit for a page: nothing in them is markup."""

import re

# What no page may hold, and what turns around the order of the letters after it.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
_MARKUP = re.compile(r"[\\`*_\[\]|~$]")
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;"})
_LINK = re.compile(r":(?=\S)|(?<=\bwww)\.", re.IGNORECASE)  # GitHub makes links of addresses, and pictures of :these:
_START = re.compile(r"^(?:[-+](?![\d.])|[=#]|\d+(?=[.)](?:\s|$)))")  # of a list or a heading


class Raw(str):
    """Markdown that is meant as such."""

    __slots__ = ()


def clean(text: str) -> str:
    """A text without control characters; line ends are one character."""
    return _UNSEEN.sub("�", text.replace("\r\n", "\n").replace("\r", "\n"))


def escaped(value: object) -> str:
    """A value on one line of GitHub's Markdown, also in a table: its own line ends become `<br>`."""
    if isinstance(value, Raw):
        return value
    lines = clean(str(value)).strip().split("\n")
    return "<br>".join(_line(" ".join(line.split())) for line in lines)


def _line(text: str) -> str:
    text = _MARKUP.sub(r"\\\g<0>", text).translate(_ENTITIES)
    text = _LINK.sub(lambda found: f"&#{ord(found[0])};", text)
    return _START.sub(lambda found: found[0] + "\\" if found[0].isdigit() else "\\" + found[0], text)
