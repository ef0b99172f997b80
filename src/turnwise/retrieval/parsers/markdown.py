"""Markdown: CommonMark with tables. Raw HTML in it is read as HTML is, so that hidden elements are left out."""

import re
from collections.abc import Iterator

from turnwise.retrieval.parsed_document import Block
from turnwise.retrieval.parsing.document_source import DocumentNotes, DocumentSource

SUFFIXES = (".md", ".markdown", ".mdown", ".mkd")
MAX_FRONT_MATTER_LINES = 200
_MARKS = (
    re.compile(r"^#{1,6} \S", re.MULTILINE),
    re.compile(r"^(?:```|~~~)", re.MULTILINE),
    re.compile(r"\[[^\]\n]+\]\([^)\s]+\)"),
    re.compile(r"^\|?(?: *:?-{3,}:? *\|)+(?: *:?-{3,}:? *)?$", re.MULTILINE),
    re.compile(r"^[-*+] \S", re.MULTILINE),
    re.compile(r"\*\*\w[^*\n]*\*\*"),
)
_TITLE = re.compile(r"""title\s*:\s*(["']?)(.+?)\1\s*""")


def detect(source: DocumentSource) -> float:
    """High for the file name, medium for a text with two kinds of marks and a heading, a table or a block of code."""
    if not source.text_head:
        return 0.0
    if source.suffix in SUFFIXES:
        return 0.7
    marks = [bool(mark.search(source.text_head)) for mark in _MARKS]
    return 0.55 if sum(marks) >= 2 and (marks[0] or marks[1] or marks[3]) else 0.0


def parse(source: DocumentSource, notes: DocumentNotes) -> Iterator[Block]:
    """Yield the blocks. Front matter is not text; its title is the title."""
    from turnwise.retrieval.parsing.markdown_blocks import markdown_blocks

    front_matter, text = split_front_matter(source.read_text())
    for line in front_matter:
        if match := _TITLE.fullmatch(line):
            notes.title = match[2]
    yield from markdown_blocks(text)


def split_front_matter(text: str) -> tuple[list[str], str]:
    """The lines between two lines "---" at the beginning of a text, and the text after them."""
    if not text.startswith("---\n"):
        return [], text
    end = re.compile(r"^(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.MULTILINE).search(text, 4)
    if end is None:
        return [], text
    lines = text[4 : end.start()].splitlines()
    is_metadata = len(lines) <= MAX_FRONT_MATTER_LINES and any(re.match(r"[\w-]+\s*:", line) for line in lines[:1])
    return (lines, text[end.end() :]) if is_metadata else ([], text)
