"""Searches the rows of a data set for a text, row by row, for a limited time."""

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

from turnwise.app.datasets import row_file
from turnwise.app.datasets.row_file import RowFile, parse_row
from turnwise.core.datasets import DatasetPage, DatasetRow

CLOCK_ROWS, CLOCK_BYTES = 256, 2**22  # between two looks at the clock


def search_rows(file: RowFile, text: str, start: int, limit: int, *, seconds: float, is_complete: bool) -> DatasetPage:
    """Up to `limit` rows from `start` on that have a text, ignoring case. Large rows shorten a page.

    Args:
        file: the rows.
        text: occurs in a message, a plain text, a tool call, a tool or the metadata; or in why a row cannot be read.
        start: index of the first row to look at.
        limit: maximum number of rows.
        seconds: time limit. The page then says where the search goes on.
        is_complete: whether the file has all rows of the data set.
    """
    folded = text.casefold()
    # Escaping and folding change each character independently, so the folded line of a row with the text has it.
    needle = json.dumps(text, ensure_ascii=False)[1:-1].casefold()
    rows: list[DatasetRow] = []
    num_bytes = 0  # of `rows`
    deadline, bytes_since_look = time.monotonic() + seconds, 0
    for index, line in file.lines(start):
        if len(rows) == limit:
            return DatasetPage(tuple(rows), file.num_rows, is_complete, index)
        is_look = index % CLOCK_ROWS == 0 or bytes_since_look > CLOCK_BYTES
        if is_look and index > start and time.monotonic() > deadline:
            return DatasetPage(tuple(rows), file.num_rows, is_complete, index, is_stopped_early=True)
        bytes_since_look = len(line) if is_look else bytes_since_look + len(line)
        if needle in line.decode().casefold():
            row = parse_row(index, line, len(line))
            if any(folded in row_text.casefold() for row_text in _texts(row)):
                num_bytes += len(line)
                if rows and num_bytes > row_file.MAX_PAGE_BYTES:
                    return DatasetPage(tuple(rows), file.num_rows, is_complete, index)
                rows.append(row)
    # The rest of a file that is still being read is searched by the next request.
    next_offset = None if is_complete else file.num_rows
    return DatasetPage(tuple(rows), file.num_rows, is_complete, next_offset, is_stopped_early=not is_complete)


def _texts(row: DatasetRow) -> Iterator[str]:
    """All texts of a row that the page shows, without the names of the format's keys."""
    content = row.content
    yield row.problem
    yield str(content.get("text", ""))
    for message in (*content.get("messages", ()), *content.get("rejected", ())):
        yield str(message.get("content", ""))
        yield str(message.get("name", ""))
        for call in message.get("tool_calls", ()):
            yield from map(str, call[call["type"]].values())
    for extra in (content.get("tools"), content.get("meta")):
        yield from _leaves(extra)


def _leaves(value: Any) -> Iterator[str]:
    """The names and values in a JSON-like value."""
    pending = [value]
    while pending:
        entry = pending.pop()
        if isinstance(entry, Mapping):
            yield from map(str, entry)
            pending.extend(entry.values())
        elif isinstance(entry, list):
            pending.extend(entry)
        elif entry is not None:
            yield entry if isinstance(entry, str) else json.dumps(entry)
