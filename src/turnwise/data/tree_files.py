"""Reads files of conversations with all their branches, for their import into a store."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from turnwise.core.conversation_trees import ConversationTree, FileProblem, ParsedConversations
from turnwise.core.errors import InvalidData
from turnwise.core.messages import Conversation
from turnwise.data import containers, formats
from turnwise.data.formats import Format
from turnwise.data.lines import take_sample
from turnwise.data.message_trees import linear_tree
from turnwise.data.open_rows import HEAD_BYTES
from turnwise.data.parse_context import ParseContext
from turnwise.data.rows import BadRow, NumberedValue, RowError, UnreadableFile
from turnwise.data.signatures import identify_file
from turnwise.data.text_encoding import transcode_to_utf8

IMPORTED_FORMATS = ("turnwise", "chatgpt", "open_webui", "claude", "sharegpt", "openai")
MAX_MESSAGES = 100_000  # of a file: its conversations are in memory, and one with all of them is one transaction
MAX_PROBLEMS = 100  # that are listed


def read_trees(path: Path, name: str) -> ParsedConversations:
    """Read all conversations of a JSON file, which is called `name`.

    Raises:
        InvalidData: the file is of no format of `IMPORTED_FORMATS`, or has too many messages.
    """
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
            file.seek(0)
            if not head.strip():
                raise InvalidData(f"{name}: the file is empty.")
            if description := identify_file(head, file):
                raise InvalidData(f"{name}: it is {description}. Of an archive, import the JSON file in it.")
            file.seek(0)
            return _read(transcode_to_utf8(file, None), name)
    except UnreadableFile as error:
        raise InvalidData(f"{name}: {error}") from error


def _read(file: BinaryIO, name: str) -> ParsedConversations:
    container = containers.load_container("json")
    values = container.values(file, take_sample(name, file), list)
    context, format = ParseContext(), None
    trees: list[ConversationTree] = []
    problems: list[FileProblem] = []
    num_messages = 0
    for number, value in enumerate(values, start=1):
        if format is None and not isinstance(value, BadRow):
            format = _detect(value[1], name)
        try:
            tree = _parse(value, format, context)
        except RowError as error:
            line = value.line if isinstance(value, BadRow) else value[0]
            if len(problems) < MAX_PROBLEMS:
                problems.append(FileProblem(f"{name}, conversation {number} (line {line})", str(error)))
            continue
        num_messages += len(tree.messages)
        if num_messages > MAX_MESSAGES:
            raise InvalidData(f"{name}: it has more than {MAX_MESSAGES:,} messages. Divide it.")
        trees.append(tree)
    if format is None:
        reason = f"{problems[0].position}: {problems[0].reason}" if problems else f"{name}: it holds no conversations"
        raise InvalidData(f"{reason}.")
    return ParsedConversations(format.name, tuple(trees), tuple(problems))


def _detect(value: object, name: str) -> Format:
    format = formats.detect_row_format(value)
    if format.name not in IMPORTED_FORMATS:
        names = ", ".join(IMPORTED_FORMATS)
        raise InvalidData(
            f"{name}: it has rows of the format '{format.name}'; conversations are imported from {names}."
        )
    return format


def _parse(numbered: NumberedValue, format: Format | None, context: ParseContext) -> ConversationTree:
    """Raises `RowError`."""
    if isinstance(numbered, BadRow):
        raise RowError(numbered.reason)
    assert format is not None, "the first value that is no bad row decides"
    if format.parse_tree is not None:
        tree = format.parse_tree(numbered[1], context)
    else:
        assert format.parse is not None, "all imported formats have rows"
        record = format.parse(numbered[1], context)
        if not isinstance(record, Conversation):
            raise RowError("it is no conversation")
        tree = linear_tree(record)
    for text in _texts(tree):
        try:
            text.encode()
        except UnicodeEncodeError:
            raise RowError("it holds half of a surrogate pair") from None
    return tree


def _texts(tree: ConversationTree) -> Iterator[str]:
    yield from (tree.title, tree.folder, tree.model, tree.source_id)
    yield json.dumps(tree.settings, ensure_ascii=False)
    for entry in tree.messages:
        message = entry.message
        yield from (message.full_text, message.name or "", message.tool_call_id or "")
        yield from (call.id for call in message.tool_calls)
        yield from (value for value in entry.meta.values() if isinstance(value, str))
