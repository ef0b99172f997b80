"""JSON schemas of tools in requests, reduced to what can be enforced."""

from collections.abc import Mapping
from typing import Any

from turnwise.text.constraints.json_schema_errors import drop_unsupported_keywords


def enforceable_schema(schema: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[str]]:
    """The schema without keywords that cannot be enforced, and the paths of the removed keywords."""
    try:
        return drop_unsupported_keywords(schema)
    except RecursionError:  # the grammar compiler reports it
        return schema, []
