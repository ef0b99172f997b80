"""One message per row: conversation_id, role and content, in a table or per line; rows of a dialogue in sequence."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from turnwise.core.messages import Message
from turnwise.data.chat_export import parse_time
from turnwise.data.columns import find_column
from turnwise.data.parse_context import ParseContext
from turnwise.data.parse_tool_calls import link_tool_results, parse_calls
from turnwise.data.parse_turns import make_message
from turnwise.data.rows import BadRow, NumberedValue, RowError, RowResult, make_conversation

ID_COLUMNS = (
    "conversation_id", "conversationid", "conv_id", "dialogue_id", "dialog_id", "dialogueid", "dialogid", "session_id",
    "sessionid", "chat_id", "thread_id", "ticket_id",
)  # fmt: skip
# Columns with the order of the messages of a dialogue: exports often start with the last message.
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
NumberedRow = tuple[int, Mapping[str, Any]]


class MessageColumns(NamedTuple):
    """Names of the columns of a table with one message per row."""

    id: str
    role: str
    content: str


def message_columns(names: Collection[str]) -> MessageColumns | None:
    """Return the columns of a table with one message per row; None for other tables."""
    id, role, content = (find_column(names, columns) for columns in (ID_COLUMNS, ROLE_COLUMNS, CONTENT_COLUMNS))
    return MessageColumns(id, role, content) if id is not None and role is not None and content is not None else None


def matches(value: Any) -> float:
    """High if a row has the id of its dialogue, a speaker and a text."""
    columns = message_columns(value) if isinstance(value, dict) else None
    return 0.9 if columns and not isinstance(value[columns.role], list) else 0.0


def combine(rows: Iterable[NumberedValue], context: ParseContext) -> Iterator[RowResult]:
    """Yield conversations from consecutive rows with the same id.

    A conversation with a bad row is skipped entirely, because its other messages would not fit together.
    """
    finished: set[str] = set()
    conversation: list[NumberedRow] = []
    current_id = ""
    error: BadRow | None = None
    columns: MessageColumns | None = None
    for row in rows:
        if isinstance(row, BadRow):
            error = error or row  # its id is unknown, so it counts to the current conversation
            continue
        line, cells = row
        columns = columns or (message_columns(cells) if isinstance(cells, dict) else None)
        if columns is None or not isinstance(cells, dict) or cells.get(columns.id) is None:
            error = error or BadRow(line, "it has no conversation id")
            continue
        id = str(cells[columns.id])
        if conversation and id != current_id:
            yield from _finish(conversation, error, columns, context)
            finished.add(current_id)
            conversation, error = [], None
        if id in finished:
            yield BadRow(line, f"conversation {id!r} has ended before; its rows must be consecutive")
            continue
        current_id = id
        conversation.append((line, cells))
    if columns is not None:
        yield from _finish(conversation, error, columns, context)
    elif error:
        yield error


def _finish(
    rows: list[NumberedRow], error: BadRow | None, columns: MessageColumns, context: ParseContext
) -> Iterator[RowResult]:
    """Yield the conversation of `rows`, or `error` if one of them was bad."""
    if error:
        yield error
        return
    messages: list[Message] = []
    for number, (line, cells) in enumerate(_sort_rows(rows), start=1):
        try:
            calls = parse_calls(cells, number)
            messages.append(
                make_message(
                    cells[columns.role], cells.get(columns.content), cells.get("name"), None, calls,
                    cells.get("tool_call_id"), context=context,
                )
            )  # fmt: skip
        except RowError as row_error:
            yield BadRow(line, str(row_error))
            return
    if messages:
        first_line, cells = rows[0]
        used = [*columns, "name", "tool_calls", "function_call", "tool_call_id"]
        meta = {"conversation_id": cells[columns.id], **context.metadata_of(cells, used)}
        yield first_line, make_conversation(link_tool_results(messages), meta)


def _sort_rows(rows: list[NumberedRow]) -> list[NumberedRow]:
    """Return the rows of a conversation in the order of its order column; unchanged without a usable one.

    Rows from last to first are reversed; a stable sort would leave messages of the same time in the wrong order.
    """
    column = find_column(rows[0][1], ORDER_COLUMNS) if rows else None
    if column is None:
        return rows
    optional_keys = [_sort_key(cells.get(column)) for _, cells in rows]
    keys = [key for key in optional_keys if key is not None]
    if len(keys) < len(rows):
        return rows
    if keys == sorted(keys, reverse=True) and keys[0] != keys[-1]:
        return rows[::-1]
    return [row for _, row in sorted(zip(keys, rows, strict=True), key=lambda pair: pair[0])]


def _sort_key(value: Any) -> float | None:
    """Return a number, or a time in seconds; None for anything else."""
    time = value if isinstance(value, datetime) else parse_time(value)
    if time is not None:
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
