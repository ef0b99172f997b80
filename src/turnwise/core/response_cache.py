"""The port of the response cache: results of earlier evaluations by a digest of everything that decides them."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Protocol


def cache_key(*parts: object) -> str:
    """Return a digest of all parts."""
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False, default=repr).encode()).hexdigest()


class ResponseCache(Protocol):
    """Stores JSON objects by key. Every method raises `UserError` if the store cannot be used."""

    def get(self, keys: Iterable[str]) -> dict[str, Any]:
        """Return the cached values of these keys; keys without one are missing in the result."""

    def put(self, key: str, value: Mapping[str, Any]) -> None:
        """Store a value. It is durable after `write`."""

    def write(self) -> None:
        """Write all stored values to disk."""

    def clear(self) -> None:
        """Delete all values, and remove their content from the file."""

    def close(self) -> None:
        """Write all stored values and close the store."""
