"""Metadata of a completion: up to sixteen pairs of short strings, as published."""

from collections.abc import Mapping
from typing import Any

from starlette.datastructures import QueryParams

from turnwise.core.errors import InvalidParameter
from turnwise.server.error_responses import truncate

MAX_METADATA_PAIRS, MAX_METADATA_KEY_CHARS, MAX_METADATA_VALUE_CHARS = 16, 64, 512

SCHEMA: dict[str, Any] = {
    "type": "object",
    "maxProperties": MAX_METADATA_PAIRS,
    "additionalProperties": {"type": "string", "maxLength": MAX_METADATA_VALUE_CHARS},
    "description": "Up to sixteen pairs of strings that are sent back and kept with a stored completion.",
}


def read_metadata(metadata: Any) -> Mapping[str, str] | None:
    """The pairs; null counts as not said. Raises `InvalidParameter`, naming the pair at fault."""
    if metadata is None:
        return None
    if not isinstance(metadata, dict) or len(metadata) > MAX_METADATA_PAIRS:
        raise _invalid_metadata("metadata", f"must be an object of at most {MAX_METADATA_PAIRS} strings")
    for key, value in metadata.items():
        if not 1 <= len(key) <= MAX_METADATA_KEY_CHARS:
            raise _invalid_metadata(
                "metadata", f"must have keys of 1 to {MAX_METADATA_KEY_CHARS} characters, not '{truncate(key)}'"
            )
        if not isinstance(value, str) or len(value) > MAX_METADATA_VALUE_CHARS:
            raise _invalid_metadata(
                f"metadata.{key}", f"must be a string of at most {MAX_METADATA_VALUE_CHARS} characters"
            )
    return metadata


def metadata_filter(query: QueryParams) -> dict[str, str]:
    """The pairs a listing is narrowed to, written `metadata[key]=value` as the official client does."""
    found = {
        name.removeprefix("metadata[").removesuffix("]"): value
        for name, value in query.items()
        if name.startswith("metadata[") and name.endswith("]")
    }
    return dict(read_metadata(found) or {})


def _invalid_metadata(path: str, what: str) -> InvalidParameter:
    return InvalidParameter(path, f"'{path}' {what}.", code="invalid_value")
