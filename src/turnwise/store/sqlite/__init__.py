"""The SQLite backend: one database file in write-ahead mode. Every acknowledged change is synced to disk."""

from pathlib import Path

from turnwise.core.errors import InvalidParameter
from turnwise.store.sqlite.conversation_store import SqliteConversationStore

PREFIX = "sqlite:///"


def open_url(url: str) -> SqliteConversationStore:
    """Open `sqlite:///PATH` or `sqlite:///:memory:`. Missing files and folders are created."""
    location = url.removeprefix(PREFIX)
    if not url.startswith(PREFIX) or not location or "\0" in location:
        raise InvalidParameter("store", f"'{url[:100]}' names no file; write sqlite:///PATH or sqlite:///:memory:.")
    return SqliteConversationStore(None if location == ":memory:" else Path(location).expanduser())
