"""One message per row: conversation_id, role and content, in a table or per line; rows of a dialogue stand together."""

from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from turnwise.core.messages import Message
from turnwise.data.chat_export import parse_time
from turnwise.data.columns import find_column
from turnwise.data.formats import NumberedValues
from turnwise.data.parse_context import ParseContext
from turnwise.data.parse_tool_calls import link_tool_results, parse_calls
from turnwise.data.parse_turns import make_message
from turnwise.data.rows import BadRow, RowError, RowResult, make_conversation

ID_COLUMNS = (
    "conversation_id", "conversationid", "conv_id", "dialogue_id", "dialog_id", "dialogueid", "dialogid", "session_id",
    "sessionid", "chat_id", "thread_id", "ticket_id",
)  # fmt: skip
# Columns that say in which order the messages of a dialogue were written: exports often begin with the last one.
ORDER_COLUMNS = (
    "turn", "turn_id", "turn_index", "turn_number", "turn_no", "message_index", "message_number", "utterance_index",
    "position", "order", "seq", "sequence", "timestamp", "time", "datetime", "date", "created_at", "sent_at",
)  # fmt: skip
ROLE_COLUMNS = ("role", "speaker", "from", "author", "sender", "speaker_role")
CONTENT_COLUMNS = ("content", "utterance", "text", "message", "value", "body")
EXPECTED = '{"conversation_id": …, "role": "user", "content": "…"}, one message per row'
EXAMPLE = """\
conversation_id,role,content
1,user,Is the ferry running?
1,assistant,Every hour.
2,user,Thanks!
2,assistant,Have a good trip.
"""


def message_columns(names: Collection[str]) -> tuple[str, str, str] | None:
    """The columns of a table with one message per row, where it is one."""
    id, role, content = (
        find_column(names, ID_COLUMNS),
        find_column(names, ROLE_COLUMNS),
        find_column(names, CONTENT_COLUMNS),
    )
    return (id, role, content) if id is not None and role is not None and content is not None else None


def matches(value: Any) -> float:
    """Sure where a row has an id of its dialogue, a speaker and a text."""
    found = message_columns(value) if isinstance(value, dict) else None
    return 0.9 if found and not isinstance(value[found[1]], list) else 0.0


def combine(rows: NumberedValues, context: ParseContext) -> Iterator[RowResult]:
    """Conversations from rows that share an id and stand together.

    A conversation one of whose rows is bad is left out as a whole: the rest of it would not follow.
    """
    ended: set[str] = set()
    held: list[tuple[int, Mapping[str, Any]]] = []
    current = ""
    broken: BadRow | None = None
    columns: tuple[str, str, str] | None = None
    for row in rows:
        if isinstance(row, BadRow):
            broken = broken or row  # whose it is cannot be told: it is counted to the conversation under way
            continue
        line, cells = row
        columns = columns or (message_columns(cells) if isinstance(cells, dict) else None)
        if columns is None or not isinstance(cells, dict) or cells.get(columns[0]) is None:
            broken = broken or BadRow(line, "it does not say which conversation it belongs to")
            continue
        id = str(cells[columns[0]])
        if held and id != current:
            yield from _ended(held, broken, columns, context)
            ended.add(current)
            held, broken = [], None
        if id in ended:
            yield BadRow(line, f"conversation {id!r} has ended before; its rows must stand together")
            continue
        current = id
        held.append(row)
    if columns is not None:
        yield from _ended(held, broken, columns, context)
    elif broken:
        yield broken


def _in_order(held: list[tuple[int, Mapping[str, Any]]]) -> list[tuple[int, Mapping[str, Any]]]:
    """The rows of a dialogue as they were written, where a column tells."""
    column = find_column(held[0][1], ORDER_COLUMNS) if held else None
    if column is None:
        return held
    places = [_moment(cells.get(column)) for _, cells in held]
    if None in places:
        return held
    known = [place for place in places if place is not None]
    if known == sorted(known, reverse=True) and known[0] != known[-1]:
        return held[::-1]
    return [row for _, row in sorted(zip(known, held, strict=True), key=lambda pair: pair[0])]


def _moment(value: Any) -> float | None:
    """A number, or a time in seconds; None for anything else."""
    time = value if isinstance(value, datetime) else parse_time(value)
    if time is not None:
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _ended(
    held: list[tuple[int, Mapping[str, Any]]],
    broken: BadRow | None,
    columns: tuple[str, str, str],
    context: ParseContext,
) -> Iterator[RowResult]:
    if broken:
        yield broken
        return
    id, role, content = columns
    messages: list[Message] = []
    for number, (line, cells) in enumerate(_in_order(held), start=1):
        try:
            name = cells.get("name")
            calls = parse_calls(cells, number)
            messages.append(
                make_message(
                    cells[role], cells.get(content), name, None, calls, cells.get("tool_call_id"), context=context
                )
            )
        except RowError as error:
            yield BadRow(line, str(error))
            return
    if messages:
        first, cells = held[0]
        used = [id, role, content, "name", "tool_calls", "function_call", "tool_call_id"]
        yield (
            first,
            make_conversation(
                link_tool_results(messages), {"conversation_id": cells[id], **context.metadata_of(cells, used)}
            ),
        )
