"""Opens the stores that a command uses."""

from collections.abc import Iterator
from contextlib import contextmanager

from turnwise.core.monitor_store import MonitorReader
from turnwise.core.stored_conversations import ConversationStore


@contextmanager
def open_conversation_store(url: str | None) -> Iterator[ConversationStore | None]:
    """Open the store at `url` and close it when the block ends.

    Args:
        url: the store's URL. None opens the file in the user's data folder, "none" opens no store and
            yields None.
    """
    from turnwise.core.executors import CALL_TIMEOUT_SECONDS, STORE_WRITE_EXECUTOR
    from turnwise.core.settings import Settings
    from turnwise.store import open_store

    if url == "none":
        yield None
        return
    store = open_store(url or Settings.from_environment().store_url)
    try:
        yield store
    finally:
        # Completions that were cancelled at the end of the block are still being written.
        STORE_WRITE_EXECUTOR.drain(CALL_TIMEOUT_SECONDS)
        store.close()


@contextmanager
def open_required_store(url: str | None) -> Iterator[ConversationStore]:
    """As `open_conversation_store`. Raises `InvalidParameter` for "none"."""
    from turnwise.core.errors import InvalidParameter

    with open_conversation_store(url) as store:
        if store is None:
            raise InvalidParameter("store", "This command needs a store; leave --store none out.")
        yield store


@contextmanager
def open_served_monitor(db: str | None) -> Iterator[MonitorReader | None]:
    """Open the store of a text monitor for reading and close it when the block ends.

    Args:
        db: a file or a URL. None yields None.

    Raises:
        NotFound: there is no store.
        UserError: the file is no store of this version of Turnwise, or cannot be read.
    """
    from turnwise.app.monitor.monitor_config import store_url
    from turnwise.store import open_monitor_reader

    if db is None:
        yield None
        return
    reader = open_monitor_reader(store_url(db))
    try:
        yield reader
    finally:
        reader.close()
