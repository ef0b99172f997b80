"""Conversations in one SQLite file: write-ahead log, every acknowledged change synced to disk."""

import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from turnwise.core.errors import InvalidData, InvalidParameter, NotFound, SaveFailed, UserError
from turnwise.core.files import make_private
from turnwise.core.messages import Message, Role
from turnwise.core.ports import ConversationStore, StoredConversation, StoredMessage
from turnwise.store.completions import SqliteCompletions
from turnwise.store.filelock import FileLock
from turnwise.store.migrations import migrate
from turnwise.store.tools import read_tools, written_tools

PREFIX = "sqlite:///"
BUSY_SECONDS = 10.0


def open_url(url: str) -> "SqliteStore":
    """Open `sqlite:///PATH`, creating file and folders, or `sqlite:///:memory:`."""
    where = url.removeprefix(PREFIX)
    if not url.startswith(PREFIX) or not where or "\0" in where:
        raise InvalidParameter("store", f"'{url[:100]}' names no file; write sqlite:///PATH or sqlite:///:memory:.")
    return SqliteStore(None if where == ":memory:" else Path(where).expanduser())


class SqliteStore:
    """The `ConversationStore` port on SQLite.

    One connection, one lock: the store may be called from several threads and they take turns. Across processes a
    lock file makes writers take turns, which also keeps clear of the WAL-reset race in SQLite before 3.51.3.
    """

    def __init__(self, path: Path | None) -> None:
        """Open `path`, or a store in memory for None. Raises `UserError` when it cannot be one of ours."""
        self._turn = threading.RLock()
        self._lock_file = FileLock(None)
        where = ":memory:" if path is None else str(path)
        try:
            if path is not None:
                make_private(path)
                self._lock_file = FileLock(path.with_name(f"{path.name}.lock"))
            self._connection = sqlite3.connect(
                where, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=64
            )
        except (OSError, sqlite3.Error) as error:
            raise UserError(f"The conversation store {where} cannot be opened: {_reason(error)}.") from error
        with ExitStack() as on_failure:
            on_failure.callback(self._connection.close)
            try:
                with self._lock_file:
                    self._prepare(where)
            except sqlite3.Error as error:
                raise UserError(f"{where} cannot be used as a conversation store: {_reason(error)}.") from error
            on_failure.pop_all()

    def _prepare(self, where: str) -> None:
        self._connection.execute("PRAGMA synchronous = FULL")  # NORMAL may lose acknowledged rows on a power cut
        self._connection.execute("PRAGMA foreign_keys = ON")
        self._connection.execute("PRAGMA secure_delete = ON")  # what a person deletes is overwritten, not only unlinked
        migrate(self._connection, where)
        self._connection.execute("PRAGMA journal_mode = WAL")  # last: it writes, and a strange file is left alone

    @property
    def completions(self) -> SqliteCompletions:
        """Stored completions, in the same file."""
        return SqliteCompletions(self._reading, self._writing)

    def create(self, *, title: str, model: str) -> StoredConversation:
        """Begin a conversation."""
        now = time.time()
        made = StoredConversation(f"conv_{secrets.token_hex(12)}", title, model, created=now, updated=now)
        with self._writing() as connection:
            connection.execute(
                "INSERT INTO conversations (id, title, model, created, updated) VALUES (?, ?, ?, ?, ?)",
                (made.id, title, model, now, now),
            )
        return made

    def append(self, conversation_id: str, messages: Sequence[Message], meta: Mapping[str, Any] | None = None) -> None:
        """Add messages to its end, all of them or none; `meta` is kept with each of them."""
        now = time.time()
        try:
            kept = json.dumps(dict(meta or {}), ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InvalidData(f"The meta data of a message must be plain JSON: {error}.") from error
        with self._writing() as connection:
            number = _number_of(connection, conversation_id)
            (end,) = connection.execute(
                "SELECT COALESCE(MAX(position) + 1, 0) FROM messages WHERE conversation = ?", (number,)
            ).fetchone()
            connection.executemany(
                "INSERT INTO messages (id, conversation, position, created, role, content, name, tools, meta, pinned)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        f"msg_{secrets.token_hex(12)}",
                        number,
                        end + i,
                        now,
                        said.role,
                        said.content,
                        said.name,
                        written_tools(said),
                        kept,
                        said.pinned,
                    )
                    for i, said in enumerate(messages)
                ],
            )
            _touch(connection, number, now)

    def truncate(self, conversation_id: str, keep: int) -> None:
        """Keep only the first `keep` messages."""
        if keep < 0:
            raise InvalidParameter("keep", f"'keep' must be at least 0, got {keep}.")
        with self._writing() as connection:
            number = _number_of(connection, conversation_id)
            connection.execute("DELETE FROM messages WHERE conversation = ? AND position >= ?", (number, keep))
            _touch(connection, number, time.time())

    def get(self, conversation_id: str) -> StoredConversation:
        """One conversation with its messages."""
        with self._reading() as connection:
            number = _number_of(connection, conversation_id)
            id, title, model, created, updated = connection.execute(
                "SELECT id, title, model, created, updated FROM conversations WHERE number = ?", (number,)
            ).fetchone()
            said = connection.execute(
                "SELECT id, created, role, content, name, tools, meta, pinned FROM messages WHERE conversation = ?"
                " ORDER BY position",
                (number,),
            ).fetchall()
        return StoredConversation(id, title, model, created, updated, tuple(_message(row) for row in said))

    def list(self, *, limit: int = 100) -> list[StoredConversation]:
        """The latest conversations, newest first, without their messages."""
        if limit < 1:
            raise InvalidParameter("limit", f"'limit' must be at least 1, got {limit}.")
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT id, title, model, created, updated FROM conversations"
                " ORDER BY updated DESC, number DESC LIMIT ?",
                (limit,),
            ).fetchall()
        return [StoredConversation(*row) for row in rows]

    def rename(self, conversation_id: str, title: str) -> None:
        """Give it another title; its place in the list stays."""
        with self._writing() as connection:
            number = _number_of(connection, conversation_id)
            connection.execute("UPDATE conversations SET title = ? WHERE number = ?", (title, number))

    def delete(self, conversation_id: str) -> None:
        """Forget it and its messages."""
        with self._writing() as connection:
            connection.execute("DELETE FROM conversations WHERE number = ?", (_number_of(connection, conversation_id),))

    def close(self) -> None:
        """Release the file; safe to call twice."""
        with self._turn, self._lock_file:  # closing checkpoints the log, which is a write
            self._connection.close()
            self._lock_file.release_file()

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._turn:
            try:
                yield self._connection
            except sqlite3.Error as error:
                raise SaveFailed(f"The conversation store could not be read: {_reason(error)}.") from error

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: safe on disk when the block ends well, undone when it does not."""
        with self._turn, self._lock_file:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    yield self._connection
                    self._connection.execute("COMMIT")
                except BaseException:
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
                    raise
            except UnicodeEncodeError as error:
                raise InvalidData("The text holds half a surrogate pair, which is not valid Unicode.") from error
            except (sqlite3.Error, OverflowError) as error:
                raise SaveFailed(f"It could not be saved: {_reason(error)}. Nothing was changed.") from error


def _number_of(connection: sqlite3.Connection, conversation_id: str) -> int:
    row = connection.execute("SELECT number FROM conversations WHERE id = ?", (conversation_id,)).fetchone()
    if row is None:
        raise NotFound(f"There is no conversation '{conversation_id[:60]}'; it may have been deleted.")
    return int(row[0])


def _message(row: tuple[str, float, Role, str, str | None, str | None, str, int]) -> StoredMessage:
    id, created, role, content, name, tools, meta, pinned = row
    message = Message(role, content, name, **read_tools(tools), pinned=bool(pinned))
    return StoredMessage(id=id, created=created, message=message, meta=json.loads(meta))


def _touch(connection: sqlite3.Connection, number: int, now: float) -> None:
    """A clock that was set back must not reorder what a person did last."""
    connection.execute("UPDATE conversations SET updated = MAX(?, updated) WHERE number = ?", (now, number))


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


_: type[ConversationStore] = SqliteStore  # the type checker compares it with the port
