"""Reads data files and folders as a stream of conversations and documents.

::

    for item in read_source("chats.jsonl"):           # raises InvalidData at the first bad row
        ...
    source = Source("chats.csv.gz", skip_bad=True)    # leaves bad rows out and counts them
    items = list(source)
    print(source.bad_count, source.bad)
"""

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from turnwise.core.errors import InvalidData
from turnwise.core.messages import Conversation
from turnwise.data import formats
from turnwise.data.formats import Format
from turnwise.data.lines import take_sample
from turnwise.data.rows import BadRow, Document, Item, Row, Unreadable
from turnwise.data.sides import Side, sides

__all__ = [
    "Conversation",
    "Document",
    "FoundBad",
    "Item",
    "Place",
    "Source",
    "held_out_side",
    "read_source",
    "sides_of",
]

DATA_SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".txt")
HELD_OUT: tuple[Side, ...] = ("test", "valid")
NOT_DATA = ("split.json", "readme.txt", "license.txt")
KEPT_BAD_ROWS = 1000  # further ones are only counted
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row stands. `unit` is what its number counts: lines, or rows of a table."""

    file: Path
    number: int
    unit: str = "line"

    def __str__(self) -> str:
        return f"{self.file}, {self.unit} {self.number}"


@dataclass(frozen=True, slots=True)
class FoundBad:
    """A bad row, where it stands, and what was expected of it."""

    place: Place
    reason: str
    expected: str

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}. Expected {self.expected}."


class Source:
    """A data file, or all data files of a folder in the order of their names. It can be gone through many times.

    Args:
        path: a file (also `.gz`) or a folder; a folder's own folders are not entered.
        format: a format's name; unset: recognised for each file from its name and beginning.
        side: of a folder with sides (`data/sides.py`): its files alone.
        skip_bad: leave bad rows out; `bad_count` counts them and `bad` keeps the first thousand. Without it the first
            bad row raises `InvalidData`.

    Raises `InvalidData` at once when there is no such file or format.
    """

    def __init__(
        self, path: str | Path, *, format: str | None = None, skip_bad: bool = False, side: Side | None = None
    ) -> None:
        self.path = Path(path)
        self.skip_bad = skip_bad
        self.bad: list[FoundBad] = []
        self.bad_count = 0
        self.files = _data_files(self.path) if side is None else _side_files(self.path, side)
        self._format = formats.load(format) if format else None
        self._open_file: BinaryIO | None = None
        self._bytes_before = 0

    @property
    def size(self) -> int:
        """Bytes of all files as they lie on disk."""
        return sum(file.stat().st_size for file in self.files)

    @property
    def position(self) -> int:
        """How many of these bytes have been read."""
        opened = self._open_file
        return self._bytes_before + (opened.tell() if opened and not opened.closed else 0)

    def refuse_as_output(self, out: Path) -> None:
        """Raise `InvalidData` where `out` is one of the files."""
        if out.resolve() in [file.resolve() for file in self.files]:
            raise InvalidData(f"{out} is also what is read. Name another file.")

    def __iter__(self) -> Iterator[Item]:
        for _, item in self.rows():
            yield item

    def rows(self) -> Iterator[tuple[Place, Item]]:
        """Every good row with the place where it stands."""
        self.bad, self.bad_count, self._bytes_before = [], 0, 0
        for file in self.files:
            yield from self._rows_of(file)
            self._bytes_before += file.stat().st_size

    def _rows_of(self, path: Path) -> Iterator[tuple[Place, Item]]:
        try:
            with path.open("rb") as raw:
                self._open_file = raw
                opened = _decompressed(raw)
                shape = self._format or _recognised(path, opened)
                for row in _until_damage(shape.read(opened)):
                    if isinstance(row, BadRow):
                        self._refuse(FoundBad(Place(path, row.line, shape.unit), row.reason, shape.expected))
                    else:
                        yield Place(path, row[0], shape.unit), row[1]
        except Unreadable as error:
            raise InvalidData(f"{path}: {error} Expected {shape.expected}.") from error
        except OSError as error:
            raise InvalidData(f"Could not read {path}: {error.strerror or error}.") from error

    def _refuse(self, bad: FoundBad) -> None:
        if not self.skip_bad:
            raise InvalidData(f"{bad} Use --skip-bad to leave such rows out.")
        self.bad_count += 1
        if len(self.bad) < KEPT_BAD_ROWS:
            self.bad.append(bad)


def read_source(path: str | Path, *, format: str | None = None, skip_bad: bool = False) -> Iterator[Item]:
    """The conversations and documents in a file or folder, one at a time; see `Source` for all of it.

    Raises `InvalidData` naming file and line at the first bad row, unless `skip_bad`.
    """
    return iter(Source(path, format=format, skip_bad=skip_bad))


def sides_of(path: Path) -> dict[Side, list[Path]]:
    """The files of each side of a folder; {} where it has none. Raises `InvalidData` where that is not clear."""
    return sides(path, _is_data)


def held_out_side(path: Path) -> Side | None:
    """The side of a folder that a model is measured on: test, or else valid; None where it has no sides."""
    found = sides_of(path)
    return next((side for side in HELD_OUT if side in found), None)


def _side_files(path: Path, side: Side) -> list[Path]:
    found = sides_of(path)
    if side not in found:
        there = f"has no side '{side}', only {', '.join(sorted(found))}" if found else "has no sides"
        raise InvalidData(f"{path} {there}. Name a file or another folder.")
    return found[side]


def _data_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InvalidData(f"There is no file or folder {path}.")
    files = [file for file in sorted(path.iterdir()) if file.is_file() and _is_data(file.name.lower())]
    if not files:
        raise InvalidData(f"The folder {path} holds no data files (names that end in {', '.join(DATA_SUFFIXES)}).")
    return files


def _is_data(name: str) -> bool:
    name = name.removesuffix(".gz")
    return name.endswith(DATA_SUFFIXES) and name not in NOT_DATA and not name.startswith(".")


def _decompressed(raw: BinaryIO) -> BinaryIO:
    zipped = raw.read(2) == b"\x1f\x8b"
    raw.seek(0)
    return cast(BinaryIO, io.BufferedReader(gzip.GzipFile(fileobj=raw))) if zipped else raw


def _recognised(path: Path, file: BinaryIO) -> Format:
    try:
        sample = take_sample(path.name, file)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InvalidData(f"{path}: its compression is damaged ({error}).") from error
    if sample.head.startswith(_UTF16_MARKS):
        raise InvalidData(f"{path} is UTF-16 (byte 0x{sample.head[0]:02x} at offset 0). Save it as UTF-8.")
    try:
        return formats.detect(sample)
    except InvalidData as error:
        raise InvalidData(f"{path}: {error}") from error


def _until_damage(rows: Iterator[Row]) -> Iterator[Row]:
    """The rows before the place where the compression breaks off, and a bad row for that place."""
    line = 0
    try:
        for row in rows:
            line = row.line if isinstance(row, BadRow) else row[0]
            yield row
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        yield BadRow(line + 1, f"the compressed file is damaged or cut off here ({error})")
