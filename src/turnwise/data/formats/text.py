"""Plain text: dialogues written as "User: …" and "Assistant: …" lines, or prose.

A blank line stands between two dialogues. Where it stands between all turns, as in most transcripts, a dialogue goes on
until two blank lines, a rule (---) or the same speaker again.
"""

import re
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from turnwise.core.messages import Message
from turnwise.data.lines import numbered_lines, take_sample
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
from turnwise.data.transcripts import split_markers

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
# How a turn opens: a name and a colon, the same in bold, or a heading that is a name.
_PLAIN = r"{}\s*[:：][ \t]?"
_BOLD = r"(?:\*\*|__){}(?:\*\*|__)?\s*[:：](?:\*\*|__)?[ \t]?"
_HEADING = r"#{{1,6}}[ \t]+(?:\*\*|__)?{}(?:\*\*|__)?[ \t]*[:：]?(?:\*\*|__)?[ \t]*(?=\n|$)"
_FENCE = re.compile(r"\s*(?:```|~~~)")
_ANYONE = re.compile(r"([\w .'-]{1,30})[:：]")
_RULE = re.compile(r"\s*(?:[-=_*~#]\s?){3,}\s*")
_CODE_SUFFIXES = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".conll")

Line = tuple[int, str] | BadRow


class Paragraph(list[Line]):
    """Lines without a blank one among them; `is_apart` where more than one blank line stands before it."""

    is_apart = False


def sniff(sample: FileSample) -> float:
    """Anything that can be read as text may be text; a name that says so makes it likelier."""
    if not sample.text.strip() or "\0" in sample.text:
        return 0.0
    if _speaker(sample.text, DEFAULT_CONTEXT) is not None:
        return 0.7
    if sample.suffix in (".txt", ".text", ".md", ".markdown", ".log"):
        return 0.6
    # Other names belong to other formats: a broken JSON file must not be learned by heart as prose.
    return 0.0 if sample.suffix in _CODE_SUFFIXES else 0.3


def read(file: BinaryIO, context: ParseContext) -> Iterator[RowResult]:
    """Conversations where the text begins with a known speaker, else documents."""
    sample = take_sample("", file)
    speaker = _speaker(sample.text, context)
    if speaker is None:
        return _documents(_paragraphs(numbered_lines(file)))
    airy = _has_blank_line_between_turns(sample.text, speaker)
    return _dialogues(_paragraphs(numbered_lines(file)), speaker, context, airy)


def _speaker(sample: str, context: ParseContext) -> re.Pattern[str] | None:
    """What a line that opens a turn begins with; None where the text does not begin so.

    All turns open as the first one does: in its case, with its marks and no deeper. So "user: root" is part of a
    configuration where speakers are written "User:", and "**Answer:** 42" is part of a reply. Names of one letter are
    speakers only where the first one is: else "A: …" is an item of a list.
    """
    names = {*ROLE_OF_SPEAKER, *context.roles, *([context.me.lower()] if context.me else [])}
    start = sample.lstrip("\ufeff\r\n")
    for style in (_PLAIN, _BOLD, _HEADING):
        if first := _pattern(names, style).match(start.lstrip()):
            break
    else:
        return None
    name = first.group("name")
    case = "(?![a-z])" if name[0].isupper() else "(?![A-Z])" if name[0].islower() else ""
    indent = r"\s*" if start[:1].isspace() else r"\s?"
    return _pattern(names if len(name) == 1 else {name for name in names if len(name) > 1}, style, case, indent)


def _pattern(names: set[str], style: str, case: str = "", indent: str = "") -> re.Pattern[str]:
    """A name in this style, where the line has as little before it."""
    any_name = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return re.compile(indent + style.format(f"(?P<name>{case}(?i:{any_name}))"))


def _name(match: re.Match[str]) -> str:
    return str(match.group("name"))


def _has_blank_line_between_turns(sample: str, speaker: re.Pattern[str]) -> bool:
    turns = [
        sum(bool(speaker.match(line)) for line in paragraph.split("\n"))
        for paragraph in re.split(r"\n[ \t]*\r?\n", sample.strip())
    ]
    opened = [count for count in turns if count]
    return len(opened) > 1 and sum(count == 1 for count in opened) > len(opened) / 2


def _paragraphs(lines: Iterable[Line]) -> Iterator[Paragraph]:
    held, blank = Paragraph(), 0
    for line in lines:
        if isinstance(line, BadRow) or line[1].strip():
            if not held:
                held.is_apart = blank > 1
            held.append(line)
            blank = 0
            continue
        blank += 1
        if held:
            yield held
            held = Paragraph()
    if held:
        yield held


def _without_rules(paragraphs: Iterable[Paragraph]) -> Iterator[Paragraph]:
    """The paragraphs as they are between lines such as "---", which part dialogues."""
    is_after_rule = False
    for paragraph in paragraphs:
        held = Paragraph()
        held.is_apart = paragraph.is_apart or is_after_rule
        is_after_rule = False
        for line in paragraph:
            if isinstance(line, BadRow) or _RULE.fullmatch(line[1]) is None:
                held.append(line)
                continue
            if held:
                yield held
            held, is_after_rule = Paragraph(), True
            held.is_apart = True
        if held:
            is_after_rule = False
            yield held


def _dialogues(
    paragraphs: Iterable[Paragraph], speaker: re.Pattern[str], context: ParseContext, airy: bool
) -> Iterator[RowResult]:
    """One row for every dialogue: a paragraph, or all paragraphs up to a gap where turns have blank lines between."""
    held: list[Paragraph] = []
    for paragraph in _without_rules(paragraphs):
        if held and not (airy and _goes_on(held, paragraph, speaker, context)):
            yield _conversation(held, speaker, context)
            held = []
        held.append(paragraph)
    if held:
        yield _conversation(held, speaker, context)


def _goes_on(held: list[Paragraph], paragraph: Paragraph, speaker: re.Pattern[str], context: ParseContext) -> bool:
    """Whether a paragraph belongs to the dialogue before it."""
    if paragraph.is_apart:
        return False
    first = paragraph[0]
    opening = None if isinstance(first, BadRow) else speaker.match(first[1])
    if opening is None:
        return True
    before = [m for part in held for line in part if not isinstance(line, BadRow) and (m := speaker.match(line[1]))]
    return not before or context.find_role(_name(before[-1])) != context.find_role(_name(opening))


def _conversation(paragraphs: list[Paragraph], speaker: re.Pattern[str], context: ParseContext) -> RowResult:
    turns: list[tuple[str, list[str]]] = []
    start, fenced = 0, _fenced(paragraphs)
    for number, paragraph in enumerate(paragraphs):
        if number and turns:
            turns[-1][1].append("")
        for row in paragraph:
            if isinstance(row, BadRow):
                return row
            line, written = row
            start = start or line
            opening = None if line in fenced else speaker.match(written)
            if opening:
                turns.append((_name(opening), [written[opening.end() :]]))
            elif turns:  # a line without a speaker goes on with what was being said
                turns[-1][1].append(written)
            else:
                anyone = _ANYONE.match(written)
                who = f"unknown role {anyone.group(1)!r}" if anyone else "the dialogue does not begin with a speaker"
                return BadRow(line, f"{who} (known: {', '.join(ROLE_OF_SPEAKER)}; or --role NAME=assistant)")
    try:
        messages = [_message(name, lines, context) for name, lines in turns]
        return start, make_conversation(messages, {})
    except RowError as error:
        return BadRow(start, str(error))


def _fenced(paragraphs: list[Paragraph]) -> set[int]:
    """The numbers of the lines in blocks of code that are closed: no turn opens there."""
    lines = [line for paragraph in paragraphs for line in paragraph if not isinstance(line, BadRow)]
    fences = [number for number, written in lines if _FENCE.match(written)]
    return {number for first, last in zip(fences[::2], fences[1::2], strict=False) for number in range(first, last)}


def _message(name: str, lines: list[str], context: ParseContext) -> Message:
    while len(lines) > 1 and not lines[-1]:
        lines = lines[:-1]
    if len(lines) > 1 and not lines[0].strip():  # a heading, or a name alone on its line
        lines = lines[1:]
        while len(lines) > 1 and not lines[0]:
            lines = lines[1:]
    role = context.role(name)
    return Message(
        role, require_text("\n".join(lines), f"the content of {'an' if role == 'assistant' else 'a'} {role} turn")
    )


def _documents(paragraphs: Iterable[Paragraph]) -> Iterator[RowResult]:
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
            yield start, _document("\n\n".join(held))
            held, start, size = [], 0, 0
    if held:
        yield start, _document("\n\n".join(held))


def _document(content: str) -> Record:
    messages = split_markers(content)
    return make_conversation(messages, {}) if messages else Document(content)
