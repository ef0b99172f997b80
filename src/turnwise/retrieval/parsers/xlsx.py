"""XLSX: spreadsheets of Excel and other programs. Every visible sheet is a section, every row names its columns."""

import re
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZipFile, ZipInfo

from turnwise.core.errors import InvalidData
from turnwise.retrieval.parsed_document import Block
from turnwise.retrieval.parsing.archive_checks import check_archive, has_entry
from turnwise.retrieval.parsing.document_source import DocumentNotes, DocumentSource
from turnwise.retrieval.parsing.limits import MAX_CELL_CHARACTERS
from turnwise.retrieval.parsing.signatures import ZIP_MARK
from turnwise.retrieval.parsing.table_rows import format_row, is_header

if TYPE_CHECKING:
    from python_calamine import CalamineSheet

MAX_CELLS = 20_000_000  # of a sheet, empty ones among them; the library holds all of them, 32 bytes each
CHUNK_BYTES = 2**20
MAX_TAG_BYTES = 200  # of the beginning of a cell
# The beginning of a cell with a value; a cell that has only a format is closed at once ("/>").
_CELL = re.compile(rb"""<c\b[^>]*?\br=["']([A-Z]{1,3})(\d{1,7})["'][^>]*(?<!/)>""")
MAX_TITLE_ROWS = 10  # rows above the header of a sheet: a title, a date, notes
Cell = int | float | str | bool | date | datetime | time | timedelta


def detect(source: DocumentSource) -> float:
    """Certain for an archive with the main part of a spreadsheet."""
    is_workbook = has_entry(source.path, "xl/workbook.xml") if source.head.startswith(ZIP_MARK) else False
    return 1.0 if is_workbook else 0.0


def parse(source: DocumentSource, notes: DocumentNotes) -> Iterator[Block]:
    """Yield a heading for every sheet and its rows."""
    from python_calamine import CalamineWorkbook, SheetVisibleEnum

    check_archive(source.path)
    _check_extent(source.path)
    workbook = CalamineWorkbook.from_path(source.path)
    sheets = workbook.sheets_metadata
    for number, sheet in enumerate(sheets):
        if sheet.visible != SheetVisibleEnum.Visible:
            notes.warn(f"The hidden sheet '{sheet.name[:60]}' was left out.")
            continue
        rows = _sheet_rows(workbook.get_sheet_by_index(number))
        first = next(rows, None)
        if first is not None:
            if len(sheets) > 1:
                yield Block("heading", sheet.name, level=1)
            yield first
            yield from rows


def _sheet_rows(sheet: "CalamineSheet") -> Iterator[Block]:
    """Yield the rows of a sheet. Rows of one cell above the header are paragraphs."""
    header: list[str] | None = None
    num_titles = 0
    for row in sheet.iter_rows():
        cells = [format_cell(cell) for cell in row]
        num_filled = sum(map(bool, cells))
        if not num_filled:
            continue
        if header is None:
            if num_filled == 1 and len(cells) > 1 and num_titles < MAX_TITLE_ROWS:
                num_titles += 1
                yield Block("paragraph", "".join(cells))
                continue
            header = cells if len(cells) > 1 and is_header([cell for cell in cells if cell]) else []
            if header:
                pending = format_row((), cells)  # the header alone, in case no row follows
                continue
        pending = ""
        yield Block("table_row", format_row(header, cells))
    if header and pending:
        yield Block("table_row", pending)


def _check_extent(path: Path) -> None:
    """Raise `InvalidData` if a sheet has a cell so far from the others that the library would run out of memory."""
    with ZipFile(path) as archive:
        for entry in archive.infolist():
            if not entry.filename.lower().startswith("xl/worksheets/"):
                continue
            num_columns = num_rows = 0
            for column, row in _cell_positions(archive, entry):
                num_columns, num_rows = max(num_columns, column), max(num_rows, row)
            if num_columns * num_rows > MAX_CELLS:
                raise InvalidData(
                    f"A sheet spans {num_rows:,} rows and {num_columns:,} columns, mostly empty: delete the cells far "
                    "from the table."
                )


def _cell_positions(archive: ZipFile, entry: ZipInfo) -> Iterator[tuple[int, int]]:
    """Yield column and row, counted from 1, of the cells that have a value."""
    tail = b""
    with archive.open(entry) as file:
        while chunk := file.read(CHUNK_BYTES):
            text = tail + chunk
            for letters, digits in _CELL.findall(text):
                yield reduce(lambda number, letter: 26 * number + letter - 64, letters, 0), int(digits)
            tail = text[-MAX_TAG_BYTES:]


def format_cell(cell: Cell) -> str:
    """A cell as it is written in a text: dates by ISO 8601, whole numbers without a decimal point."""
    if isinstance(cell, bool):
        return str(cell).upper()
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() and abs(cell) < 2**53 else repr(cell)
    if isinstance(cell, datetime):
        is_date = (cell.hour, cell.minute, cell.second, cell.microsecond) == (0, 0, 0, 0)
        return cell.date().isoformat() if is_date else cell.isoformat(sep=" ")
    if isinstance(cell, date | time):
        return cell.isoformat()
    text = str(cell).strip()
    if len(text) > MAX_CELL_CHARACTERS:
        raise InvalidData(f"A cell has {len(text):,} characters; at most {MAX_CELL_CHARACTERS:,} are read.")
    return text
