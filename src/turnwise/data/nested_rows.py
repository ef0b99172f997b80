"""JSON objects that are no row but hold rows: under one key, under every key, or column by column."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from turnwise.data import formats
from turnwise.data.parse_turns import is_turn_list
from turnwise.data.rows import BadRow

INNER = ("row", "data", "record", "sample", "example", "item")


def find_rows(value: Any) -> str | Literal[False] | None:
    """Where an object, which may be cut off, holds rows: the key of a list, None for all keys, False for nowhere."""
    if not isinstance(value, dict) or not value or formats.is_row(value) or _is_table(value):
        return False
    lists: list[str] = [key for key, entry in value.items() if _is_list_of_rows(entry)]
    if len(lists) == 1:
        return lists[0]
    if lists:
        return False
    entries = list(value.values())
    # The last one may be cut off.
    complete = entries[:-1] or entries
    if all(isinstance(entry, dict) and _is_row_or_list(entry) for entry in complete):
        return None
    if len(entries) > 1 and all(is_turn_list(entry) for entry in complete):
        return None
    return False


def several_lists(keys: Sequence[str]) -> str:
    """Why an object with several lists of rows is not read."""
    return f"it holds several data sets ({', '.join(keys)}): write each to a file of its own"


def _is_split(value: Mapping[str, Any]) -> bool:
    """Whether a table is written as pandas' "split": its columns' names, and rows that are lists."""
    return isinstance(value.get("columns"), list) and isinstance(value.get("data"), list)


def _is_table(value: Mapping[str, Any]) -> bool:
    """Whether an object, which may be cut off, is a table written column by column."""
    columns = {name: column for name, column in value.items() if isinstance(column, list) and column}
    is_columns = len(columns) >= max(1, len(value) - 1)
    return _is_split(value) or (is_columns and formats.is_row({name: column[0] for name, column in columns.items()}))


def _is_list_of_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and _is_row_or_list(value[0])


def _is_row_or_list(value: Any) -> bool:
    return formats.is_row(value) or _inner(value) is not None


def _inner(value: Any) -> Any:
    """The row inside an object such as {"row_idx": 0, "row": {…}}."""
    if not isinstance(value, dict) or formats.is_row(value):
        return None
    return next((value[key] for key in INNER if isinstance(value.get(key), dict) and formats.is_row(value[key])), None)


def expand_rows(line: int, value: Any, depth: int = 3) -> Iterator[tuple[int, Any] | BadRow]:
    """The rows in a value that is no row itself; the value where it holds none."""
    if not isinstance(value, dict) or formats.is_row(value):
        yield line, value
        return
    inner = _inner(value)
    if inner is not None:
        yield line, inner
        return
    if (rows := _from_columns(value)) is not None:
        for row in rows:
            yield line, row
        return
    key = find_rows(value)
    if key is None:
        for entry in value.values():
            yield line, entry
    elif key is not False:
        for entry in value[key]:
            yield from expand_rows(line, entry, depth - 1)
    elif len(lists := [key for key, entry in value.items() if _is_list_of_rows(entry)]) > 1:
        yield BadRow(line, several_lists(lists))
    else:
        nested = [entry for entry in value.values() if isinstance(entry, dict)] if depth else []
        holders = [entry for entry in nested if find_rows(entry) is not False or _from_columns(entry) is not None]
        if len(holders) == 1:
            yield from expand_rows(line, holders[0], depth - 1)
        else:
            yield line, value


def _from_columns(value: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """The rows of a table that is written column by column, as pandas and `datasets` do; None for anything else."""
    if _is_split(value):
        rows = [
            dict(zip(map(str, value["columns"]), row, strict=False)) for row in value["data"] if isinstance(row, list)
        ]
        return rows if rows and formats.is_row(rows[0]) else None
    columns = list(value.values())
    if not columns or not columns[0]:
        return None
    if all(isinstance(column, list) and len(column) == len(columns[0]) for column in columns):
        rows = [dict(zip(value, cells, strict=True)) for cells in zip(*columns, strict=True)]
    elif all(isinstance(column, dict) and column.keys() == columns[0].keys() for column in columns):
        rows = [{name: value[name][index] for name in value} for index in columns[0]]
    else:
        return None
    return rows if rows and formats.is_row(rows[0]) else None
