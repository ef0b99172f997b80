"""Reads JSON objects of a body: null counts as absent, an unknown field is rejected or ignored.

`read_object` applies these two rules at every depth of a body.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from turnwise.core.errors import InvalidParameter, did_you_mean
from turnwise.server.error_responses import truncate

# Of names and identifiers whose length the published API does not bound; they are stored or logged.
MAX_IDENTIFIER_CHARS = 4096

# Paths of unknown fields that were ignored in the current body; None if unknown fields are errors.
_ignored_paths: ContextVar[list[str] | None] = ContextVar("ignored_paths", default=None)


@contextmanager
def ignore_unknown_fields(enabled: bool = True) -> Iterator[list[str]]:
    """Drop unknown fields inside the block instead of rejecting them. Yields the list of their paths."""
    paths: list[str] = []
    token = _ignored_paths.set(paths if enabled else None)
    try:
        yield paths
    finally:
        _ignored_paths.reset(token)


def read_object(value: Any, path: str, fields: Collection[str]) -> dict[str, Any]:
    """Return the fields of an object that are not null.

    Args:
        value: parsed JSON.
        path: path of the object in the body; "" for the body.
        fields: names of the fields that the object may have.

    Raises:
        InvalidParameter: `value` is not an object, or it has an unknown field.
    """
    if not isinstance(value, dict):
        raise invalid_field(path, "must be an object", "invalid_type")
    present = {name: field for name, field in value.items() if field is not None}
    if unknown := sorted(present.keys() - set(fields)):
        ignored = _ignored_paths.get()
        if ignored is None:
            raise unknown_field(path, unknown[0], fields)
        ignored.extend(join_path(path, name) for name in unknown)
        present = {name: field for name, field in present.items() if name in fields}
    return present


def join_path(path: str, name: str) -> str:
    """Return the path of the field `name` in the object at `path`."""
    return f"{path}.{name}" if path else name


def unknown_field(path: str, name: str, fields: Collection[str]) -> InvalidParameter:
    """Return the error for an unknown field of the object at `path`; it names the closest known field."""
    field_path, hint = join_path(path, truncate(name)), did_you_mean(truncate(name), fields)
    return InvalidParameter(field_path, f"Unknown parameter '{field_path}': {hint}", code="unknown_parameter")


def invalid_field(path: str, requirement: str, code: str = "invalid_value") -> InvalidParameter:
    """Return the error for a value that violates a requirement, such as "must be a string"."""
    return InvalidParameter(path, f"'{path}' {requirement}.", code=code)


def missing_field(path: str) -> InvalidParameter:
    """Return the error for a required field that is absent or null."""
    return invalid_field(path, "is required", "missing_required_parameter")
