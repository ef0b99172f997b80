"""Tables with one message per row: rows of the same conversation become one conversation."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from turnwise.data.rows import BadRow, Row, RowError, conversation, message, meta_of


def gathered(
    rows: Iterable[tuple[int, Mapping[str, Any]] | BadRow], key: str, role: str, content: str
) -> Iterator[Row]:
    """Conversations from rows that share the value of column `key` and stand together.

    A conversation one of whose rows is bad is left out whole: what is said in it would not follow.
    """
    ended: set[Any] = set()
    held: list[tuple[int, Mapping[str, Any]]] = []
    broken: BadRow | None = None
    for row in rows:
        if isinstance(row, BadRow):
            broken = broken or row  # whose it is cannot be told: it is counted to the conversation under way
            continue
        line, cells = row
        if held and cells[key] != held[0][1][key]:
            yield from _ended(held, broken, role, content, key)
            ended.add(held[0][1][key])
            held, broken = [], None
        if cells[key] in ended:
            yield BadRow(line, f"conversation {cells[key]!r} has ended before; its rows must stand together")
            continue
        held.append(row)
    yield from _ended(held, broken, role, content, key)


def _ended(
    held: list[tuple[int, Mapping[str, Any]]], broken: BadRow | None, role: str, content: str, key: str
) -> Iterator[Row]:
    if broken:
        yield broken
        return
    turns = []
    for line, cells in held:
        try:
            checked = message(cells[role], cells[content], cells.get("name"))
        except RowError as error:
            yield BadRow(line, str(error))
            return
        turns.append((checked.role, checked.content, checked.name))
    if turns:
        first, cells = held[0]
        yield (
            first,
            conversation(turns, {"conversation_id": cells[key], **meta_of(cells, [key, role, content, "name"])}),
        )
