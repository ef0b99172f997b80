"""Plain text: dialogues written as "User: …" and "Assistant: …" lines with a blank line between them, or prose."""

import re
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from turnwise.data.lines import numbered_lines, take_sample
from turnwise.data.rows import ROLE_OF_SPEAKER, BadRow, Document, Row, RowError, Sample, conversation

EXPECTED = 'dialogues of "User: …" and "Assistant: …" lines with a blank line between two dialogues, or plain prose'
EXAMPLE = """\
User: Does the ferry run today?
Assistant: Yes, every hour.
Look for the blue sign.

User: Thanks!
Assistant: Have a good trip.
"""

# Prose has no rows; it is cut between paragraphs once a document is this long, so that a book is not one row.
DOCUMENT_CHARACTERS = 2**16
_SPEAKER = re.compile(rf"({'|'.join(map(re.escape, ROLE_OF_SPEAKER))})\s*[:：] ?", re.IGNORECASE)
_ANYONE = re.compile(r"([\w .'-]{1,30})[:：]")

Paragraph = list[tuple[int, str] | BadRow]


def sniff(sample: Sample) -> float:
    """Anything that can be read as text may be text; a name that says so makes it likelier."""
    if not sample.text.strip() or "\0" in sample.text or sample.record is not None:
        return 0.0
    if _is_dialogue(sample):
        return 0.7
    if sample.suffix in (".txt", ".text", ".md"):
        return 0.6
    # Other names belong to other formats: a broken JSON file must not be learned by heart as prose.
    return 0.0 if sample.suffix in (".json", ".jsonl", ".csv", ".tsv", ".parquet", ".conll") else 0.3


def read(file: BinaryIO) -> Iterator[Row]:
    """Conversations where the text begins with a known speaker, else documents."""
    dialogue = _is_dialogue(take_sample("", file))
    paragraphs = _paragraphs(numbered_lines(file))
    return map(_conversation, paragraphs) if dialogue else _documents(paragraphs)


def _is_dialogue(sample: Sample) -> bool:
    return _SPEAKER.match(sample.text.lstrip()) is not None


def _paragraphs(lines: Iterable[tuple[int, str] | BadRow]) -> Iterator[Paragraph]:
    held: Paragraph = []
    for line in lines:
        if isinstance(line, BadRow) or line[1].strip():
            held.append(line)
        elif held:
            yield held
            held = []
    if held:
        yield held


def _conversation(paragraph: Paragraph) -> Row:
    turns: list[tuple[str, str, None]] = []
    start = 0
    for row in paragraph:
        if isinstance(row, BadRow):
            return row
        line, text = row
        start = start or line
        speaker = _SPEAKER.match(text)
        if speaker:
            turns.append((speaker.group(1), text[speaker.end() :], None))
        elif turns:  # a line without a speaker goes on with what was being said
            turns[-1] = (turns[-1][0], f"{turns[-1][1]}\n{text}", None)
        else:
            anyone = _ANYONE.match(text)
            who = f"unknown role {anyone.group(1)!r}" if anyone else "the dialogue does not begin with a speaker"
            return BadRow(line, f"{who} (known: {', '.join(ROLE_OF_SPEAKER)})")
    try:
        return start, conversation(turns, {})
    except RowError as error:
        return BadRow(start, str(error))


def _documents(paragraphs: Iterable[Paragraph]) -> Iterator[Row]:
    held: list[str] = []
    start = size = 0
    for paragraph in paragraphs:
        good = [row for row in paragraph if not isinstance(row, BadRow)]
        yield from (row for row in paragraph if isinstance(row, BadRow))
        if good:
            start = start or good[0][0]
            held.append("\n".join(text for _, text in good))
            size += len(held[-1])
        if size >= DOCUMENT_CHARACTERS:
            yield start, Document("\n\n".join(held))
            held, start, size = [], 0, 0
    if held:
        yield start, Document("\n\n".join(held))
