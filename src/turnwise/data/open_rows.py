"""Opens a file layer by layer: compression, encoding, container, row format."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from turnwise.core.errors import InvalidData, did_you_mean
from turnwise.data import containers, formats
from turnwise.data.compression import DamagedFile, open_decompressed
from turnwise.data.containers import Container
from turnwise.data.formats import Format
from turnwise.data.lines import take_sample
from turnwise.data.parse_context import ParseContext
from turnwise.data.read_options import ReadOptions
from turnwise.data.rows import BadRow, FileSample, NumberedValue, RowError, RowResult
from turnwise.data.signatures import identify_file
from turnwise.data.text_encoding import transcode_to_utf8

MAX_INSPECTED = 50  # rows looked at to detect the format, as some may be broken
HEAD_BYTES = 2**16
_BYTE_ORDER_MARKS = (b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff", b"\xef\xbb\xbf")


@dataclass(frozen=True, slots=True)
class OpenRows:
    """The rows of an open file.

    Attributes:
        unit: what row numbers count, "line" or "row".
        expected: the form of a valid row, for error messages.
        rows: the parsed rows, read on demand.
    """

    unit: str
    expected: str
    rows: Iterator[RowResult]


def check_format(name: str) -> None:
    """Raise `InvalidData` with the nearest name if there is no format or container called `name`."""
    names = [*formats.format_names(), *containers.container_names()]
    if name not in names:
        raise InvalidData(f"Unknown data format '{name}': {did_you_mean(name, names)}")


def open_rows(path: Path, raw: BinaryIO, options: ReadOptions, context: ParseContext) -> OpenRows:
    """Open the rows of a file.

    Raises:
        InvalidData: the file holds no data or its format is unknown; the message names neither the file nor a line.
        UnreadableFile: no row of the file can be used.
    """
    try:
        file, name = open_decompressed(raw, path.name)
        head = file.read(HEAD_BYTES)
        file.seek(0)
    except DamagedFile as error:
        raise InvalidData(f"its compression is damaged ({error}).") from error
    if not head and options.format is None:
        raise InvalidData("the file is empty.")
    has_encoding = options.encoding or head.startswith(_BYTE_ORDER_MARKS)
    if not has_encoding and (description := identify_file(head, file)):
        raise InvalidData(f"it is {description}.")
    file = transcode_to_utf8(file, options.encoding)
    try:
        sample = take_sample(name, file)
    except DamagedFile as error:
        raise InvalidData(f"its compression is damaged ({error}).") from error
    return _open_detected(sample, file, options, context)


def _open_detected(sample: FileSample, file: BinaryIO, options: ReadOptions, context: ParseContext) -> OpenRows:
    """Open a file in the named format or container; detect what `options.format` leaves open."""
    name = options.format
    format = formats.load_format(name) if name in formats.format_names() else None
    if format is not None and format.read is not None:
        return OpenRows("line", format.expected, format.read(file, context))
    confidence, container = containers.detect_container(sample)
    if name in containers.container_names():
        confidence, container = 1.0, containers.load_container(str(name))
    text = formats.detect_text_format(sample) if name is None else None
    if text is not None and text.sniff is not None and text.read is not None and text.sniff(sample) > confidence:
        return OpenRows("line", text.expected, text.read(file, context))
    if confidence == 0 and format is None:
        raise InvalidData(f"no known data format fits: {_describe_start(sample)}.")
    if confidence == 0:
        container = containers.load_container("json")
    return _open_container(container, format, sample, file, options, context)


def _describe_start(sample: FileSample) -> str:
    if not sample.text.strip():
        return "it holds only white space"
    return f"it begins with {sample.text.strip()[:60]!r}"


def _open_container(
    container: Container,
    format: Format | None,
    sample: FileSample,
    file: BinaryIO,
    options: ReadOptions,
    context: ParseContext,
) -> OpenRows:
    """Open the rows of a container; without a format, detect it from the first rows."""
    values = _rename_keys(container.values(file, sample, options.rename_header), options)
    inspected: list[NumberedValue] = []
    if format is None:
        first, inspected = _first_row(values)
        if first is None:
            reason = next((row.reason for row in inspected if isinstance(row, BadRow)), "")
            if len(inspected) == MAX_INSPECTED or not reason:
                raise InvalidData(f"no known data format fits: {reason or 'it holds no rows'}.")
            # All rows are bad. Any format reports them one by one.
            format = formats.load_format("openai" if container.name == "json" else "pairs")
        else:
            format = formats.detect_row_format(first)
    return OpenRows(container.unit, format.expected, format.parse_rows(chain(inspected, values), context))


def _rename_keys(values: Iterator[NumberedValue], options: ReadOptions) -> Iterator[NumberedValue]:
    """Rename the keys of every row as `options.columns` says."""
    for value in values:
        if isinstance(value, BadRow) or not options.columns:
            yield value
            continue
        try:
            yield value[0], options.rename(value[1])
        except RowError as error:
            yield BadRow(value[0], str(error))


def _first_row(values: Iterator[NumberedValue]) -> tuple[Any, list[NumberedValue]]:
    """Return the first row of a known format, else the first value, else None; and all values up to it."""
    inspected: list[NumberedValue] = []
    first_unknown: Any = None
    try:
        for value in values:
            inspected.append(value)
            if not isinstance(value, BadRow):
                if formats.row_confidence(value[1]) >= formats.MIN_CONFIDENCE:
                    return value[1], inspected
                first_unknown = value[1] if first_unknown is None else first_unknown
            if len(inspected) == MAX_INSPECTED:
                break
    except DamagedFile as error:
        inspected.append(BadRow(len(inspected) + 1, f"the compressed file is damaged or cut off here ({error})"))
    return first_unknown, inspected
