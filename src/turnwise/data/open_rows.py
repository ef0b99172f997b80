"""From an open file to rows: compression, encoding, container and shape, one layer after the other."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from turnwise.core.errors import InvalidData, did_you_mean
from turnwise.data import containers, formats
from turnwise.data.compression import DamagedFile, open_decompressed
from turnwise.data.containers import Container, Value
from turnwise.data.encoding import transcode_to_utf8
from turnwise.data.formats import Format
from turnwise.data.lines import take_sample
from turnwise.data.parse_context import ParseContext
from turnwise.data.read_options import ReadOptions
from turnwise.data.rows import BadRow, FileSample, RowError, RowResult, UnreadableFile
from turnwise.data.signatures import identify_file

MAX_INSPECTED = 50  # rows, of which some may be broken


@dataclass(frozen=True, slots=True)
class OpenRows:
    """The rows of a file: what a row's number counts, what a row should be, and the rows."""

    unit: str
    expected: str
    rows: Iterator[RowResult]


def check_format(name: str) -> None:
    """Raise `InvalidData` naming the nearest one when there is no such format or container."""
    known = [*formats.format_names(), *containers.container_names()]
    if name not in known:
        raise InvalidData(f"Unknown data format '{name}': {did_you_mean(name, known)}")


def open_rows(path: Path, raw: BinaryIO, options: ReadOptions, context: ParseContext) -> OpenRows:
    """Open a file by its layers.

    Raises:
        InvalidData: the file is no data, or in no known format; the message names neither the file nor a line.
        Unreadable: no row of it can be used.
    """
    try:
        file, name = open_decompressed(raw, path.name)
        head = file.read(2**16)
        file.seek(0)
    except DamagedFile as error:
        raise InvalidData(f"its compression is damaged ({error}).") from error
    if not head and options.format is None:
        raise InvalidData("the file is empty.")
    if not options.encoding and not _has_mark(head) and (kind := identify_file(head, file)):
        raise InvalidData(f"it is {kind}.")
    file = transcode_to_utf8(file, options.encoding)
    try:
        sample = take_sample(name, file)
    except DamagedFile as error:
        raise InvalidData(f"its compression is damaged ({error}).") from error
    return _by_format(sample, file, options, context)


def _has_mark(head: bytes) -> bool:
    return head.startswith((b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff", b"\xef\xbb\xbf"))


def _by_format(sample: FileSample, file: BinaryIO, options: ReadOptions, context: ParseContext) -> OpenRows:
    named = options.format
    shape = formats.load_format(named) if named in formats.format_names() else None
    if shape is not None and shape.read is not None:
        return OpenRows("line", shape.expected, shape.read(file, context))
    certainty, container = containers.detect_container(sample)
    if named in containers.container_names():
        certainty, container = 1.0, containers.load_container(str(named))
    text = formats.detect_text(sample) if named is None else None
    if text is not None and text.sniff is not None and text.read is not None and text.sniff(sample) > certainty:
        return OpenRows("line", text.expected, text.read(file, context))
    if certainty == 0 and shape is None:
        raise InvalidData(f"no known data format fits: {_beginning(sample)}.")
    if certainty == 0:
        container = containers.load_container("json")
    return _rows(container, shape, sample, file, options, context)


def _beginning(sample: FileSample) -> str:
    if not sample.text.strip():
        return "there is nothing but white space in it"
    return f"it begins with {sample.text.strip()[:60]!r}"


def _rows(
    container: Container,
    shape: Format | None,
    sample: FileSample,
    file: BinaryIO,
    options: ReadOptions,
    context: ParseContext,
) -> OpenRows:
    values = _renamed(container.values(file, sample, options.rename_header), options)
    seen: list[Value] = []
    if shape is None:
        first, seen = _first(values)
        if first is None:
            reason = next((row.reason for row in seen if isinstance(row, BadRow)), "")
            if len(seen) == MAX_INSPECTED or not reason:
                raise InvalidData(f"no known data format fits: {reason or 'it holds no rows'}.")
            # Every row is broken, each for its own reason.
            shape = formats.load_format("openai" if container.name == "json" else "pairs")
        else:
            shape = formats.detect_row(first)
    return OpenRows(container.unit, shape.expected, shape.rows(chain(seen, values), context))


def _renamed(values: Iterator[Value], options: ReadOptions) -> Iterator[Value]:
    """Values under our names."""
    for value in values:
        if isinstance(value, BadRow) or not options.columns:
            yield value
            continue
        try:
            yield value[0], options.rename(value[1])
        except RowError as error:
            yield BadRow(value[0], str(error))


def _first(values: Iterator[Value]) -> tuple[Any, list[Value]]:
    """The first row that could be read, and all rows up to it. Rows of known shapes win over values of none."""
    seen: list[Value] = []
    unknown: Any = None
    try:
        for value in values:
            seen.append(value)
            if not isinstance(value, BadRow):
                if formats.row_confidence(value[1]) >= formats.MIN_CONFIDENCE:
                    return value[1], seen
                unknown = value[1] if unknown is None else unknown
            if len(seen) == MAX_INSPECTED:
                break
    except DamagedFile as error:
        seen.append(BadRow(len(seen) + 1, f"the compressed file is damaged or cut off here ({error})"))
    return unknown, seen


__all__ = ["OpenRows", "UnreadableFile", "check_format", "open_rows"]
