"""The SQLite backend: database files in write-ahead mode. Every acknowledged change is synced to disk."""

from pathlib import Path

from turnwise.core.errors import InvalidParameter
from turnwise.store.sqlite.conversation_store import SqliteConversationStore
from turnwise.store.sqlite.key_store import SqliteKeyStore
from turnwise.store.sqlite.key_usage_store import SqliteKeyUsageStore
from turnwise.store.sqlite.knowledge_store import SqliteKnowledgeStore
from turnwise.store.sqlite.monitor_reader import SqliteMonitorReader
from turnwise.store.sqlite.monitor_store import SqliteMonitorStore
from turnwise.store.sqlite.response_cache import SqliteResponseCache
from turnwise.store.sqlite.version_store import SqliteModelRegistry

PREFIX = "sqlite:///"


def open_conversations(url: str) -> SqliteConversationStore:
    """Open `sqlite:///PATH` or `sqlite:///:memory:`. Missing files and folders are created."""
    location = _location(url)
    return SqliteConversationStore(None if location == ":memory:" else Path(location).expanduser())


def open_keys(url: str) -> SqliteKeyStore:
    """Open `sqlite:///PATH`. The first key creates a missing file."""
    return SqliteKeyStore(Path(_location(url)).expanduser())


def open_key_usage(url: str) -> SqliteKeyUsageStore:
    """Open `sqlite:///PATH`, the file of the keys."""
    return SqliteKeyUsageStore(Path(_location(url)).expanduser())


def open_response_cache(url: str) -> SqliteResponseCache:
    """Open `sqlite:///PATH` or `sqlite:///:memory:`. A missing file is created."""
    location = _location(url)
    return SqliteResponseCache(None if location == ":memory:" else Path(location).expanduser())


def open_monitor(url: str) -> SqliteMonitorStore:
    """Open the text monitor at `sqlite:///PATH` or `sqlite:///:memory:`. Missing files and folders are created."""
    location = _location(url)
    return SqliteMonitorStore(None if location == ":memory:" else Path(location).expanduser())


def open_monitor_reader(url: str) -> SqliteMonitorReader:
    """Open the text monitor at `sqlite:///PATH` for reading. A missing file is not created."""
    return SqliteMonitorReader(Path(_location(url)).expanduser())


def open_knowledge(url: str) -> SqliteKnowledgeStore:
    """Open the knowledge base at `sqlite:///PATH`. Missing files and folders are created."""
    location = _location(url)
    if location == ":memory:":
        raise InvalidParameter("store", "A knowledge base needs a file: write sqlite:///PATH.")
    return SqliteKnowledgeStore(Path(location).expanduser())


def open_model_registry(url: str) -> SqliteModelRegistry:
    """Open the registry of model versions at `sqlite:///PATH` or `sqlite:///:memory:`. A missing file is created."""
    location = _location(url)
    return SqliteModelRegistry(None if location == ":memory:" else Path(location).expanduser())


def _location(url: str) -> str:
    location = url.removeprefix(PREFIX)
    if not url.startswith(PREFIX) or not location or "\0" in location:
        raise InvalidParameter("store", f"'{url[:100]}' names no file; write sqlite:///PATH or sqlite:///:memory:.")
    return location
