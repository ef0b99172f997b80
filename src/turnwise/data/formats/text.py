"""Plain text: dialogues written as "User: …" and "Assistant: …" lines, or prose.

A blank line ends a dialogue. If blank lines separate all turns, as in most transcripts, a dialogue ends at two blank
lines, a rule (---) or a second turn of the same speaker.
"""

import re
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from turnwise.core.messages import Message
from turnwise.data.lines import numbered_lines, take_sample
from turnwise.data.paragraphs import Paragraph, split_at_rules, split_paragraphs
from turnwise.data.parse_context import DEFAULT_CONTEXT, ROLE_OF_SPEAKER, ParseContext
from turnwise.data.rows import (
    BadRow,
    Document,
    FileSample,
    Record,
    RowError,
    RowResult,
    make_conversation,
    require_text,
)
from turnwise.data.speaker_pattern import detect_speaker_pattern, speaker_name
from turnwise.data.transcripts import split_markers

EXPECTED = 'dialogues of "User: …" and "Assistant: …" lines with a blank line between two dialogues, or plain prose'
EXAMPLE = """\
User: Does the ferry run today?
Assistant: Yes, every hour.
Look for the blue sign.

User: Thanks!
Assistant: Have a good trip.
"""

DOCUMENT_CHARACTERS = 2**16  # prose is cut after the paragraph that reaches this length, so that a book is several rows
_FENCE = re.compile(r"\s*(?:```|~~~)")
_ANY_SPEAKER = re.compile(r"([\w .'-]{1,30})[:：]")
_TEXT_SUFFIXES = (".txt", ".text", ".md", ".markdown", ".log")
_OTHER_SUFFIXES = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".conll")


def sniff(sample: FileSample) -> float:
    """Medium for a dialogue or a file name of a text file, low for other text."""
    if not sample.text.strip() or "\0" in sample.text:
        return 0.0
    if detect_speaker_pattern(sample.text, DEFAULT_CONTEXT) is not None:
        return 0.7
    if sample.suffix in _TEXT_SUFFIXES:
        return 0.6
    # A broken JSON file must not be trained on as prose.
    return 0.0 if sample.suffix in _OTHER_SUFFIXES else 0.3


def read(file: BinaryIO, context: ParseContext) -> Iterator[RowResult]:
    """Return conversations if the text starts with a known speaker, else documents."""
    sample = take_sample("", file)
    speaker = detect_speaker_pattern(sample.text, context)
    paragraphs = split_paragraphs(numbered_lines(file))
    if speaker is None:
        return _read_documents(paragraphs)
    return _read_dialogues(paragraphs, speaker, context, _has_blank_lines_between_turns(sample.text, speaker))


def _has_blank_lines_between_turns(text: str, speaker: re.Pattern[str]) -> bool:
    """Return True if most paragraphs that start a turn start exactly one."""
    num_turns = [
        sum(bool(speaker.match(line)) for line in paragraph.split("\n"))
        for paragraph in re.split(r"\n[ \t]*\r?\n", text.strip())
    ]
    positive = [number for number in num_turns if number]
    return len(positive) > 1 and sum(number == 1 for number in positive) > len(positive) / 2


def _read_dialogues(
    paragraphs: Iterable[Paragraph], speaker: re.Pattern[str], context: ParseContext, has_blank_lines: bool
) -> Iterator[RowResult]:
    """Yield a row per dialogue: one paragraph, or several if `has_blank_lines` between turns."""
    dialogue: list[Paragraph] = []
    for paragraph in split_at_rules(paragraphs):
        if dialogue and not (has_blank_lines and _continues(dialogue, paragraph, speaker, context)):
            yield _parse_dialogue(dialogue, speaker, context)
            dialogue = []
        dialogue.append(paragraph)
    if dialogue:
        yield _parse_dialogue(dialogue, speaker, context)


def _continues(
    dialogue: list[Paragraph], paragraph: Paragraph, speaker: re.Pattern[str], context: ParseContext
) -> bool:
    """Return True if a paragraph belongs to the dialogue before it."""
    if paragraph.is_apart:
        return False
    first = paragraph[0]
    start = None if isinstance(first, BadRow) else speaker.match(first[1])
    if start is None:
        return True
    lines = [line[1] for previous in dialogue for line in previous if not isinstance(line, BadRow)]
    previous_starts = [match for line in lines if (match := speaker.match(line))]
    if not previous_starts:
        return True
    return context.find_role(speaker_name(previous_starts[-1])) != context.find_role(speaker_name(start))


def _parse_dialogue(paragraphs: list[Paragraph], speaker: re.Pattern[str], context: ParseContext) -> RowResult:
    turns: list[tuple[str, list[str]]] = []  # speaker and lines
    first_number, fenced_lines = 0, _fenced_lines(paragraphs)
    for index, paragraph in enumerate(paragraphs):
        if index and turns:
            turns[-1][1].append("")
        for row in paragraph:
            if isinstance(row, BadRow):
                return row
            number, line = row
            first_number = first_number or number
            start = None if number in fenced_lines else speaker.match(line)
            if start:
                turns.append((speaker_name(start), [line[start.end() :]]))
            elif turns:
                turns[-1][1].append(line)
            else:
                return BadRow(number, _unknown_speaker_reason(line))
    try:
        messages = [_make_message(name, lines, context) for name, lines in turns]
        return first_number, make_conversation(messages, {})
    except RowError as error:
        return BadRow(first_number, str(error))


def _unknown_speaker_reason(line: str) -> str:
    name = _ANY_SPEAKER.match(line)
    problem = f"unknown role {name.group(1)!r}" if name else "the dialogue does not start with a speaker"
    return f"{problem} (known: {', '.join(ROLE_OF_SPEAKER)}; or --role NAME=assistant)"


def _fenced_lines(paragraphs: list[Paragraph]) -> set[int]:
    """Return the numbers of the lines in closed code blocks, in which no turn starts."""
    lines = [line for paragraph in paragraphs for line in paragraph if not isinstance(line, BadRow)]
    fences = [number for number, line in lines if _FENCE.match(line)]
    return {number for first, last in zip(fences[::2], fences[1::2], strict=False) for number in range(first, last)}


def _make_message(name: str, lines: list[str], context: ParseContext) -> Message:
    """Create a message of a turn's lines without the blank lines at its end, and at its start after a heading."""
    while len(lines) > 1 and not lines[-1]:
        lines = lines[:-1]
    if len(lines) > 1 and not lines[0].strip():
        lines = lines[1:]
        while len(lines) > 1 and not lines[0]:
            lines = lines[1:]
    role = context.role(name)
    article = "an" if role == "assistant" else "a"
    return Message(role, require_text("\n".join(lines), f"the content of {article} {role} turn"))


def _read_documents(paragraphs: Iterable[Paragraph]) -> Iterator[RowResult]:
    """Yield prose as documents of whole paragraphs."""
    texts: list[str] = []
    start = size = 0
    for paragraph in paragraphs:
        lines = [line for line in paragraph if not isinstance(line, BadRow)]
        yield from (line for line in paragraph if isinstance(line, BadRow))
        if lines:
            start = start or lines[0][0]
            texts.append("\n".join(text for _, text in lines))
            size += len(texts[-1])
        if size >= DOCUMENT_CHARACTERS:
            yield start, _make_document("\n\n".join(texts))
            texts, start, size = [], 0, 0
    if texts:
        yield start, _make_document("\n\n".join(texts))


def _make_document(text: str) -> Record:
    """Create a document, or a conversation if chat-template markers or headings divide the text into turns."""
    messages = split_markers(text)
    return make_conversation(messages, {}) if messages else Document(text)
