"""Opens the response cache that all evaluations of a user share."""

from collections.abc import Iterator
from contextlib import contextmanager

from turnwise.core.settings import Settings
from turnwise.evaluation.response_cache import ResponseCache


@contextmanager
def open_response_cache(*, is_persistent: bool) -> Iterator[ResponseCache]:
    """Open the cache in the user's data folder, or one in memory; it is closed when the block ends."""
    cache = ResponseCache(Settings.from_environment().home / "evaluations.db" if is_persistent else None)
    try:
        yield cache
    finally:
        cache.close()
