"""Data formats, one file each; the file name is the format name. A format is the shape of a row, in any container.

The docstring of a format module starts with a line "Title: summary." The module has

- `EXPECTED`: the form of a valid row; completes a sentence that starts with "Expected";
- `EXAMPLE`: the text of a small valid file, and `EXAMPLE_ASSISTANT_NAME`, the value of `--assistant-name` for it, if
  the format needs one;

and one of

- `matches(value) -> float`, the confidence, from 0 to 1, that a JSON-like value is a row of this format, with
  `parse(value, context)`, which returns the record or records in a row and raises `RowError`. If several rows make up
  one conversation, `combine(rows, context) -> Iterator[RowResult]` replaces `parse`;
- `sniff(sample) -> float`, the confidence that a file is of this format, with
  `read(file, context) -> Iterator[RowResult]`, for text files without rows.

A format of conversations with branches also has `parse_tree(value, context) -> ConversationTree`, for their import.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any, BinaryIO

from turnwise.core.conversation_trees import ConversationTree
from turnwise.core.plugins import PluginGroup
from turnwise.data.parse_context import ParseContext
from turnwise.data.rows import (
    LONE_SURROGATE,
    BadRow,
    Document,
    FileSample,
    NumberedValue,
    Record,
    RowError,
    RowResult,
    UnreadableFile,
    json_type_name,
)

MIN_CONFIDENCE = 0.2
MIN_ROW_CONFIDENCE = 0.5  # for a value to be a row of a format, rather than something that holds rows


@dataclass(frozen=True, slots=True)
class Format:
    """A format module; see the docstring of this package."""

    name: str
    summary: str
    expected: str
    example: str
    example_assistant_name: str | None = None
    matches: Callable[[Any], float] | None = None
    parse: Callable[[Any, ParseContext], Record | list[Record]] | None = None
    combine: Callable[[Iterable[NumberedValue], ParseContext], Iterator[RowResult]] | None = None
    sniff: Callable[[FileSample], float] | None = None
    read: Callable[[BinaryIO, ParseContext], Iterator[RowResult]] | None = None
    parse_tree: Callable[[Any, ParseContext], ConversationTree] | None = None

    def parse_rows(self, values: Iterable[NumberedValue], context: ParseContext) -> Iterator[RowResult]:
        """Yield the records in the values of a container; a value that cannot be parsed becomes a bad row."""
        yield from map(_check_surrogates, self._parse_values(values, context))

    def _parse_values(self, values: Iterable[NumberedValue], context: ParseContext) -> Iterator[RowResult]:
        if self.combine is not None:
            yield from self.combine(values, context)
            return
        assert self.parse is not None, "text formats read files"
        for numbered in values:
            if isinstance(numbered, BadRow):
                yield numbered
                continue
            number, value = numbered
            try:
                parsed = self.parse(value, context)
            except RowError as error:
                yield BadRow(number, str(error))
                continue
            for item in parsed if isinstance(parsed, list) else [parsed]:
                yield number, item


def _check_surrogates(row: RowResult) -> RowResult:
    """Return the row, or a bad row if it has half of a surrogate pair, from JSON inside a cell or a tool call."""
    if isinstance(row, BadRow):
        return row
    item = row[1]
    texts = [item.text] if isinstance(item, Document) else [m.full_text for m in (*item.messages, *item.rejected)]
    try:
        for text in texts:
            if not text.isascii():
                text.encode()
    except UnicodeEncodeError:
        return BadRow(row[0], LONE_SURROGATE)
    return row


def _build(name: str, module: ModuleType) -> Format:
    functions = ("matches", "parse", "combine", "sniff", "read", "parse_tree")
    return Format(
        name=name,
        summary=(module.__doc__ or "").partition("\n")[0].partition(": ")[2],
        expected=module.EXPECTED,
        example=module.EXAMPLE,
        example_assistant_name=getattr(module, "EXAMPLE_ASSISTANT_NAME", None),
        **{function: getattr(module, function, None) for function in functions},
    )


FORMATS: PluginGroup[Format] = PluginGroup(
    "data format",
    "data_formats",
    (__name__, __path__),
    requires=("EXPECTED", "EXAMPLE"),
    build=_build,
    parameter="format",
)
format_names, load_format = FORMATS.names, FORMATS.load


@cache
def _row_formats() -> tuple[Format, ...]:
    return tuple(format for format in map(load_format, format_names()) if format.matches is not None)


def row_confidence(value: Any) -> float:
    """Return the highest confidence of all formats that a value is a row."""
    return max(format.matches(value) for format in _row_formats() if format.matches is not None)


def is_row(value: Any) -> bool:
    """Return True if a value is a row of a known format."""
    return row_confidence(value) >= MIN_ROW_CONFIDENCE


def detect_row_format(value: Any) -> Format:
    """Return the format of a row. Raises `UnreadableFile` if no format fits, or two fit equally well."""
    scores = [(format.matches(value), format) for format in _row_formats() if format.matches is not None]
    highest = max(confidence for confidence, _ in scores)
    best = [format for confidence, format in scores if confidence == highest]
    if highest < MIN_CONFIDENCE:
        raise UnreadableFile(f"No known data format fits: {_describe_row(value)}.{_advice(value)}")
    if len(best) > 1:
        names = " or ".join(format.name for format in best)
        raise UnreadableFile(f"The format may be {names}. Set it with --format.")
    return best[0]


def detect_text_format(sample: FileSample) -> Format | None:
    """Return the text format with the highest confidence for a file; None if no format fits."""
    formats = map(load_format, format_names())
    scores = [(format.sniff(sample), format) for format in formats if format.sniff is not None]
    confidence, best = max(scores, key=lambda pair: (pair[0], pair[1].name))
    return best if confidence >= MIN_CONFIDENCE else None


def _describe_row(value: Any) -> str:
    if isinstance(value, dict):
        return f"its columns or keys are {', '.join(map(str, value)) or '(none)'}"
    return f"its first row is {json_type_name(value)}"


def _advice(value: Any) -> str:
    """Return a sentence, with a leading space, on what to do about a row of no known format; "" without advice."""
    if not isinstance(value, dict):
        return ""
    text_keys = [str(key) for key, entry in value.items() if isinstance(entry, str)]
    if any(key.lower() == "text" for key in text_keys) and len(value) > 1:
        return " A text with a label is a classification table: it has no replies to train on."
    if len(text_keys) < 2:
        return ""
    user, assistant = (key if key.isalnum() else f"'{key}'" for key in text_keys[:2])
    return f" Set the meaning of the columns, such as --columns user={user},assistant={assistant}."
