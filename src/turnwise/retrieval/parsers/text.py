"""Plain text: paragraphs, and the headings of chapters in Chinese texts."""

import re
from collections.abc import Iterator

from turnwise.core.errors import InvalidData
from turnwise.retrieval.parsed_document import Block
from turnwise.retrieval.parsing.document_source import DocumentNotes, DocumentSource
from turnwise.retrieval.parsing.limits import MAX_BLOCK_CHARACTERS

MAX_PARAGRAPH_CHARACTERS = 10_000  # of lines without an empty one between them, as in log files
LONG_LINE = 200  # characters; such a line is a paragraph of its own, because it was not broken to fit a page
_SUFFIXES = (".txt", ".text", ".log")
_JSON_SUFFIXES = (".json", ".jsonl", ".ndjson")
_CHAPTER = re.compile(r"第[一二三四五六七八九十百零〇\d]{1,6}([编篇章节])(?:[\s　:：].{0,40}|)")
_CHAPTER_LEVELS = {"编": 1, "篇": 1, "章": 2, "节": 3}
_PARAGRAPH_INDENT = "\u3000\u3000"


def detect(source: DocumentSource) -> float:
    """Medium for the file name, low for every other text; none for JSON, which is not written for readers."""
    if not source.text_head or source.suffix in _JSON_SUFFIXES:
        return 0.0
    return 0.5 if source.suffix in _SUFFIXES else 0.2


def parse(source: DocumentSource, notes: DocumentNotes) -> Iterator[Block]:  # noqa: ARG001
    """Yield the paragraphs: what stands between empty lines, long lines, and lines that begin with an indent."""
    lines: list[str] = []
    num_characters = 0
    with source.open_text() as file:
        while line := file.readline(MAX_BLOCK_CHARACTERS + 1):
            if len(line) > MAX_BLOCK_CHARACTERS:
                raise InvalidData(f"It has a line of more than {MAX_BLOCK_CHARACTERS:,} characters.")
            text = line.strip()
            match = _CHAPTER.fullmatch(text)
            is_paragraph = len(text) > LONG_LINE or match is not None
            is_full = num_characters > MAX_PARAGRAPH_CHARACTERS
            if lines and (not text or is_paragraph or is_full or line.startswith(_PARAGRAPH_INDENT)):
                yield Block("paragraph", "\n".join(lines))
                lines, num_characters = [], 0
            if match:
                yield Block("heading", text, level=_CHAPTER_LEVELS[match[1]])
            elif is_paragraph:
                yield Block("paragraph", text)
            elif text:
                lines.append(line.rstrip())
                num_characters += len(line)
    if lines:
        yield Block("paragraph", "\n".join(lines))
