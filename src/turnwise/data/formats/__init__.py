"""One file per shape of data; the file's name is the format's name. What holds the rows is another layer: `containers`.

A format file begins with a line "Its title: what it reads." and has

- `EXPECTED`: what a row should be, as the end of a sentence that begins with "Expected";
- `EXAMPLE`: a tiny valid file, as text, and `EXAMPLE_ME`, whose messages are the replies, where it has to be said;

and one of

- `matches(value) -> float` and `parse(value, context)`: how sure it is, from 0 to 1, that a row (a JSON-like value) is
  its own, and the item or the list of items in a row; `parse` raises `RowError`. Where several rows make one dialogue
  it has `combine(rows, context) -> Iterator[Row]` instead of `parse`;
- `sniff(sample) -> float` and `read(file, context) -> Iterator[Row]` for text without rows.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any, BinaryIO

from turnwise.core.plugins import PluginGroup
from turnwise.data.parse_context import ParseContext
from turnwise.data.rows import (
    LONE_SURROGATE,
    BadRow,
    Document,
    FileSample,
    Record,
    RowError,
    RowResult,
    UnreadableFile,
    json_type_name,
)

MIN_CONFIDENCE = 0.2
MIN_ROW_CONFIDENCE = 0.5  # from here on a value is a row of a known shape, and not something that holds rows
NumberedValues = Iterable[tuple[int, Any] | BadRow]


@dataclass(frozen=True, slots=True)
class Format:
    """A format's contract, see this package's docstring."""

    name: str
    summary: str
    expected: str
    example: str
    example_me: str | None = None
    matches: Callable[[Any], float] | None = None
    parse: Callable[[Any, ParseContext], Record | list[Record]] | None = None
    combine: Callable[[NumberedValues, ParseContext], Iterator[RowResult]] | None = None
    sniff: Callable[[FileSample], float] | None = None
    read: Callable[[BinaryIO, ParseContext], Iterator[RowResult]] | None = None

    def parse_rows(self, values: NumberedValues, context: ParseContext) -> Iterator[RowResult]:
        """The items in the values of a container; what cannot be parsed becomes a bad row and the next one is read."""
        yield from map(_checked, self._rows(values, context))

    def _rows(self, values: NumberedValues, context: ParseContext) -> Iterator[RowResult]:
        if self.combine is not None:
            yield from self.combine(values, context)
            return
        assert self.parse is not None, "text formats read files"
        for value in values:
            if isinstance(value, BadRow):
                yield value
                continue
            number, plain = value
            try:
                parsed = self.parse(plain, context)
            except RowError as error:
                yield BadRow(number, str(error))
                continue
            for item in parsed if isinstance(parsed, list) else [parsed]:
                yield number, item


def _checked(row: RowResult) -> RowResult:
    """The row, or a bad one where half of a surrogate pair came out of an escape in a cell or an argument."""
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
    return Format(
        name=name,
        summary=(module.__doc__ or "").partition("\n")[0].partition(": ")[2],
        expected=module.EXPECTED,
        example=module.EXAMPLE,
        example_me=getattr(module, "EXAMPLE_ME", None),
        **{part: getattr(module, part, None) for part in ("matches", "parse", "combine", "sniff", "read")},
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
def _shapes() -> tuple[Format, ...]:
    return tuple(shape for shape in map(load_format, format_names()) if shape.matches is not None)


def row_confidence(value: Any) -> float:
    """How sure the surest shape is of a row."""
    return max(shape.matches(value) for shape in _shapes() if shape.matches is not None)


def is_row(value: Any) -> bool:
    """Whether a value is a row of a known shape."""
    return row_confidence(value) >= MIN_ROW_CONFIDENCE


def detect_row_format(value: Any) -> Format:
    """The shape that is surest of a row. Raises `Unreadable` when none is, or two are equally sure."""
    scores = [(shape.matches(value), shape) for shape in _shapes() if shape.matches is not None]
    best = max(certainty for certainty, _ in scores)
    surest = [shape for certainty, shape in scores if certainty == best]
    if best < MIN_CONFIDENCE:
        raise UnreadableFile(f"No known data format fits: {_description(value)}.{_way_out(value)}")
    if len(surest) > 1:
        names = " or ".join(shape.name for shape in surest)
        raise UnreadableFile(f"The rows may be {names}. Name the format with --format.")
    return surest[0]


def detect_text_format(sample: FileSample) -> Format | None:
    """The text format that is surest of a file; None when none is sure enough."""
    found = [(shape.sniff(sample), shape) for shape in map(load_format, format_names()) if shape.sniff is not None]
    certainty, best = max(found, key=lambda pair: (pair[0], pair[1].name))
    return best if certainty >= MIN_CONFIDENCE else None


def _description(value: Any) -> str:
    if isinstance(value, dict):
        return f"its columns or keys are {', '.join(map(str, value)) or '(none)'}"
    return f"its first row is {json_type_name(value)}"


def _way_out(value: Any) -> str:
    if not isinstance(value, dict):
        return ""
    texts = [str(key) for key, entry in value.items() if isinstance(entry, str)]
    if any(key.lower() == "text" for key in texts) and len(value) > 1:
        return " A text with a label is a classification table: it holds no replies to learn from."
    if len(texts) < 2:
        return ""
    return f" Say which column is which, such as --columns user={_quoted(texts[0])},assistant={_quoted(texts[1])}."


def _quoted(name: str) -> str:
    return name if name.isalnum() else f"'{name}'"
