"""Reading the JSON objects of a request: null counts as absent, an unknown field is refused or ignored.

`read_object` is the only place that decides this, at every depth of a body.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from turnwise.core.errors import InvalidParameter, did_you_mean
from turnwise.server.error_responses import truncate

# Characters of a name or an identifier whose length the published interface does not bound: it is kept or logged.
MAX_IDENTIFIER_CHARS = 4096

# Paths of the unknown fields of this request's body, where the server ignores them; None where it refuses them.
_ignored_paths: ContextVar[list[str] | None] = ContextVar("ignored_paths", default=None)


@contextmanager
def ignore_unknown_fields(enabled: bool = True) -> Iterator[list[str]]:
    """Inside the block, unknown fields are dropped instead of refused; yields their paths."""
    paths: list[str] = []
    token = _ignored_paths.set(paths if enabled else None)
    try:
        yield paths
    finally:
        _ignored_paths.reset(token)


def read_object(value: Any, path: str, fields: Collection[str]) -> dict[str, Any]:
    """The fields of an object that are not null. `path` is "" for the body itself.

    Raises:
        InvalidParameter: `value` is not an object, or has a field that is not in `fields`.
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
    """The path of the field `name` of the object at `path`."""
    return f"{path}.{name}" if path else name


def unknown_field(path: str, name: str, fields: Collection[str]) -> InvalidParameter:
    """The error for a field that the object at `path` does not have."""
    where, hint = join_path(path, truncate(name)), did_you_mean(truncate(name), fields)
    return InvalidParameter(where, f"Unknown parameter '{where}': {hint}", code="unknown_parameter")


def invalid_field(path: str, requirement: str, code: str = "invalid_value") -> InvalidParameter:
    """The error for a value that does not meet a requirement, such as "must be a string"."""
    return InvalidParameter(path, f"'{path}' {requirement}.", code=code)


def missing_field(path: str) -> InvalidParameter:
    """The error for a required field that is absent or null."""
    return invalid_field(path, "is required", "missing_required_parameter")
