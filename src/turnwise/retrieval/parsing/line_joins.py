"""Joins lines of text that were broken to fit a page or a column."""

import re

# Chinese and Japanese letters and punctuation, and full-width forms: no space belongs between two lines of them.
_CJK = "\u2e80-\u2fdf\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff01-\uff60\U00020000-\U0003ffff"
_BREAK_IN_CJK = re.compile(rf"(?<=[{_CJK}])[ \t]*\r?\n[ \t]*(?=[{_CJK}])")
_ENDS_WITH_CJK = re.compile(rf"[{_CJK}]\Z")
_BEGINS_WITH_CJK = re.compile(rf"[{_CJK}]")


def join_wrapped_lines(text: str) -> str:
    """The text with line feeds between Chinese characters removed; others stay."""
    return _BREAK_IN_CJK.sub("", text) if "\n" in text else text


def join_lines(first: str, second: str) -> str:
    """Two lines of a paragraph as one: without a space between Chinese characters, without a hyphen in a word.

    A hyphen between a letter and a small letter is taken as the mark of a broken word, as in "hyphen-" + "ation".
    """
    if first.endswith("\u00ad"):
        return first[:-1] + second
    if len(first) > 1 and first[-1] in "-\u2010" and first[-2].isalpha() and second[:1].islower():
        return first[:-1] + second
    if _ENDS_WITH_CJK.search(first) and _BEGINS_WITH_CJK.match(second):
        return first + second
    return f"{first} {second}"
