"""JSON objects that are not rows but hold rows: in a list under one key, under every key, or column by column."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from turnwise.data import formats
from turnwise.data.parse_turns import is_turn_list
from turnwise.data.rows import BadRow, NumberedValue

ROW_KEYS = ("row", "data", "record", "sample", "example", "item")  # keys of an object that wraps a row
MAX_DEPTH = 3


def find_rows_key(value: Any) -> str | Literal[False] | None:
    """Find the rows in an object, which may be cut off after its last complete entry.

    Returns the key of a list of rows, None if all keys hold rows, False if the object holds none.
    """
    if not isinstance(value, dict) or not value or formats.is_row(value) or _is_table(value):
        return False
    keys: list[str] = [key for key, entry in value.items() if _is_list_of_rows(entry)]
    if len(keys) == 1:
        return keys[0]
    if keys:
        return False
    entries = list(value.values())
    complete = entries[:-1] or entries  # the last one may be cut off
    if all(isinstance(entry, dict) and _is_row_or_wrapper(entry) for entry in complete):
        return None
    if len(entries) > 1 and all(is_turn_list(entry) for entry in complete):
        return None
    return False


def several_lists_reason(keys: Sequence[str]) -> str:
    """Return the reason for a bad row that holds several lists of rows."""
    return f"it holds several data sets ({', '.join(keys)}): write them to separate files"


def expand_rows(line: int, value: Any, depth: int = MAX_DEPTH) -> Iterator[NumberedValue]:
    """Yield the rows in a value, all with the number `line`; yield the value itself if it holds none."""
    if not isinstance(value, dict) or formats.is_row(value):
        yield line, value
        return
    wrapped = _wrapped_row(value)
    if wrapped is not None:
        yield line, wrapped
        return
    if (rows := _rows_of_table(value)) is not None:
        for row in rows:
            yield line, row
        return
    key = find_rows_key(value)
    if key is None:
        for entry in value.values():
            yield line, entry
    elif key is not False:
        for entry in value[key]:
            yield from expand_rows(line, entry, depth - 1)
    elif len(keys := [key for key, entry in value.items() if _is_list_of_rows(entry)]) > 1:
        yield BadRow(line, several_lists_reason(keys))
    else:
        nested = [entry for entry in value.values() if isinstance(entry, dict)] if depth else []
        holders = [entry for entry in nested if find_rows_key(entry) is not False or _rows_of_table(entry) is not None]
        if len(holders) == 1:
            yield from expand_rows(line, holders[0], depth - 1)
        else:
            yield line, value


def _is_list_of_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and _is_row_or_wrapper(value[0])


def _is_row_or_wrapper(value: Any) -> bool:
    return formats.is_row(value) or _wrapped_row(value) is not None


def _wrapped_row(value: Any) -> Any:
    """Return the row in an object such as {"row_idx": 0, "row": {…}}; None if it wraps no row."""
    if not isinstance(value, dict) or formats.is_row(value):
        return None
    candidates = (value[key] for key in ROW_KEYS if isinstance(value.get(key), dict))
    return next(filter(formats.is_row, candidates), None)


def _is_table(value: Mapping[str, Any]) -> bool:
    """Return True if an object, which may be cut off, is a table written column by column."""
    columns = {name: column for name, column in value.items() if isinstance(column, list) and column}
    has_columns = len(columns) >= max(1, len(value) - 1)
    return _is_pandas_split(value) or (
        has_columns and formats.is_row({name: column[0] for name, column in columns.items()})
    )


def _is_pandas_split(value: Mapping[str, Any]) -> bool:
    """Return True if a table is in the "split" orientation of pandas: column names, and rows that are lists."""
    return isinstance(value.get("columns"), list) and isinstance(value.get("data"), list)


def _rows_of_table(value: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Return the rows of a table written column by column, as pandas and `datasets` do; None for anything else."""
    if _is_pandas_split(value):
        names = list(map(str, value["columns"]))
        rows = [dict(zip(names, row, strict=False)) for row in value["data"] if isinstance(row, list)]
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
