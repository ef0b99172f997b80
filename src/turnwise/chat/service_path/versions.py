"""Keeps what was computed for the versions of scenarios that were used last."""

from typing import TypeVar

MAX_VERSIONS = 32  # of all scenarios together

Value = TypeVar("Value")


def keep_version(entries: dict[str, Value], key: str, value: Value) -> None:
    """Add an entry, and drop the oldest ones above `MAX_VERSIONS`."""
    entries[key] = value
    while len(entries) > MAX_VERSIONS:
        del entries[next(iter(entries))]
