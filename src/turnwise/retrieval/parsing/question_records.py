"""Questions and answers as records: objects of JSON and YAML files, and rows of tables."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import yaml

from turnwise.core.errors import InvalidData, UserError
from turnwise.core.json_file import parse_json
from turnwise.retrieval.parsed_document import Block
from turnwise.retrieval.parsing.delimited_rows import read_rows
from turnwise.retrieval.parsing.document_source import DocumentNotes, DocumentSource
from turnwise.retrieval.parsing.limits import MAX_BLOCK_CHARACTERS

QUESTION_KEYS = ("question", "q", "问题", "問題", "问", "問")
ANSWER_KEYS = ("answer", "a", "答案", "回答", "答")
LIST_KEYS = ("faq", "faqs", "questions", "items", "data", "entries")  # of an object that has the records in a list
_KEY = re.compile(rf"""(?:^|[{{,\s-])["']?(?:{"|".join(QUESTION_KEYS)})["']?\s*:""", re.IGNORECASE)
_ANSWER_KEY = re.compile(rf"""(?:^|[{{,\s-])["']?(?:{"|".join(ANSWER_KEYS)})["']?\s*:""", re.IGNORECASE)
Record = Mapping[str, Any]


def has_question_key(text: str) -> bool:
    """True if the beginning of a JSON or YAML text has the keys of a question and an answer."""
    return _KEY.search(text) is not None and _ANSWER_KEY.search(text) is not None


def is_question_header(names: Sequence[str]) -> bool:
    """True if columns of these names hold questions and answers."""
    lowered = {name.strip().lower() for name in names}
    return not lowered.isdisjoint(QUESTION_KEYS) and not lowered.isdisjoint(ANSWER_KEYS)


def record_blocks(records: Iterable[tuple[str, Record]], notes: DocumentNotes) -> Iterator[Block]:
    """Yield the blocks of records. A record without a question or an answer becomes a paragraph, with a warning.

    Args:
        records: the records, each with its place for messages, such as "line 3".
        notes: receives the warnings.

    Raises:
        InvalidData: a question or an answer is not text.
    """
    for place_name, record in records:
        texts = {str(key).strip().lower(): value for key, value in record.items()}
        question = _text(place_name, texts, QUESTION_KEYS)
        answer = _text(place_name, texts, ANSWER_KEYS)
        unread = [key for key, value in texts.items() if value and key not in (*QUESTION_KEYS, *ANSWER_KEYS)]
        if unread:
            names = ", ".join(f"'{name[:40]}'" for name in unread[:8])
            notes.warn(f"Only questions and answers were read, not {names}.")
        if question and answer:
            yield Block("question", question)
            yield Block("answer", answer)
        elif question or answer:
            notes.warn(f"Its {place_name} has no {'answer' if question else 'question'}; it was read as a paragraph.")
            yield Block("paragraph", question or answer)


def _text(place_name: str, texts: Mapping[str, Any], keys: Sequence[str]) -> str:
    """The value of the first of the keys that has one. Several values are lines."""
    for key in keys:
        value = texts.get(key)
        if isinstance(value, list) and all(isinstance(entry, str) for entry in value):
            value = "\n".join(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            value = str(value)
        if value is not None and not isinstance(value, str):
            raise InvalidData(f"Its {place_name}: '{key}' should be text.")
        if value and value.strip():
            return str(value.strip())
    return ""


def table_records(source: DocumentSource) -> Iterator[tuple[str, Record]]:
    """Yield the rows of a CSV or TSV file. Raises `InvalidData`."""
    rows = read_rows(source)
    _, header = next(rows)
    for line, cells in rows:
        if len(cells) > len(header) and any(cell.strip() for cell in cells[len(header) :]):
            raise InvalidData(f"Its line {line:,} has {len(cells)} cells, and the header has {len(header)}.")
        yield f"line {line:,}", dict(zip(header, cells, strict=False))


def json_records(source: DocumentSource) -> Iterator[tuple[str, Record]]:
    """Yield the objects of a JSONL file, or of a JSON file that is a list or has it. Raises `InvalidData`."""
    first_line = source.text_head.lstrip("\ufeff\n ").partition("\n")[0].strip()
    if source.suffix in (".jsonl", ".ndjson") or _is_record(first_line):
        yield from _json_lines(source)
    else:
        yield from _list_records(_parse(source.read_text(), "content"), "entry")


def yaml_records(text: str) -> Iterator[tuple[str, Record]]:
    """Yield the entries of a YAML text that is a list or has it. Raises `InvalidData`; anchors are not read."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C loader is ten times faster
    try:
        for event in yaml.parse(text, Loader=loader):
            if isinstance(event, yaml.AliasEvent):  # a few of them can stand for billions of values
                raise InvalidData("It uses YAML anchors, which are not read.")
        value = yaml.load(text, Loader=loader)  # noqa: S506, it is the safe loader
    except (yaml.YAMLError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise InvalidData(f"It is not valid YAML: {' '.join(str(error).split())[:200]}.") from error
    yield from _list_records(value, "entry")


def _is_record(line: str) -> bool:
    """True if the first line of a file is a complete JSON object that has no list of records."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and not any(isinstance(value.get(key), list) for key in LIST_KEYS)


def _json_lines(source: DocumentSource) -> Iterator[tuple[str, Record]]:
    number = 0
    with source.open_text() as file:
        while line := file.readline(MAX_BLOCK_CHARACTERS + 1):
            number += 1
            if len(line) > MAX_BLOCK_CHARACTERS:
                raise InvalidData(f"Its line {number:,} has more than {MAX_BLOCK_CHARACTERS:,} characters.")
            if line.strip():
                record = _parse(line, f"line {number:,}")
                if not isinstance(record, dict):
                    raise InvalidData(f"Its line {number:,} should be a JSON object.")
                yield f"line {number:,}", record


def _parse(text: str, place_name: str) -> Any:
    try:
        return parse_json(text.encode("utf-8"), f"Its {place_name}")
    except UnicodeEncodeError as error:
        raise InvalidData(f"Its {place_name} has invalid Unicode.") from error


def _list_records(value: Any, noun: str) -> Iterator[tuple[str, Record]]:
    """Yield the records of a list; of an object, those of the list under a usual key, or the object itself."""
    if isinstance(value, dict):
        entries = next((value[key] for key in LIST_KEYS if isinstance(value.get(key), list)), [value])
    else:
        entries = value
    if not isinstance(entries, list):
        raise InvalidData("It should be a list of questions and answers.")
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry, dict):
            raise InvalidData(f"Its {noun} {number:,} should have a question and an answer.")
        yield f"{noun} {number:,}", entry
