"""Opens the response cache that all evaluations of a user share."""

from collections.abc import Iterator
from contextlib import contextmanager

from turnwise.core.response_cache import ResponseCache
from turnwise.core.settings import Settings


@contextmanager
def open_response_cache(*, is_persistent: bool) -> Iterator[ResponseCache]:
    """Open the cache in the user's data folder, or one in memory; it is closed when the block ends."""
    from turnwise import store

    cache = store.open_response_cache(
        Settings.from_environment().evaluations_url if is_persistent else "sqlite:///:memory:"
    )
    try:
        yield cache
    finally:
        cache.close()
