"""Metadata of a completion: up to sixteen pairs of short strings, as published."""

from collections.abc import Mapping
from typing import Any

from starlette.datastructures import QueryParams

from turnwise.core.errors import InvalidParameter
from turnwise.server.error_responses import cut

MOST_PAIRS, LONGEST_KEY, LONGEST_VALUE = 16, 64, 512

SCHEMA: dict[str, Any] = {
    "type": "object",
    "maxProperties": MOST_PAIRS,
    "additionalProperties": {"type": "string", "maxLength": LONGEST_VALUE},
    "description": "Up to sixteen pairs of strings that are sent back and kept with a stored completion.",
}


def read_metadata(said: Any) -> Mapping[str, str] | None:
    """The pairs; null counts as not said. Raises `InvalidParameter`, naming the pair at fault."""
    if said is None:
        return None
    if not isinstance(said, dict) or len(said) > MOST_PAIRS:
        raise _wrong("metadata", f"must be an object of at most {MOST_PAIRS} strings")
    for key, value in said.items():
        if not 1 <= len(key) <= LONGEST_KEY:
            raise _wrong("metadata", f"must have keys of 1 to {LONGEST_KEY} characters, not '{cut(key)}'")
        if not isinstance(value, str) or len(value) > LONGEST_VALUE:
            raise _wrong(f"metadata.{key}", f"must be a string of at most {LONGEST_VALUE} characters")
    return said


def asked_metadata(query: QueryParams) -> dict[str, str]:
    """The pairs a listing is narrowed to, written `metadata[key]=value` as the official client does."""
    found = {
        name.removeprefix("metadata[").removesuffix("]"): value
        for name, value in query.items()
        if name.startswith("metadata[") and name.endswith("]")
    }
    return dict(read_metadata(found) or {})


def _wrong(where: str, what: str) -> InvalidParameter:
    return InvalidParameter(where, f"'{where}' {what}.", code="invalid_value")
