"""Schemas of tools as requests bring them, and what of them can be enforced."""

from collections.abc import Mapping
from typing import Any

from turnwise.text.constraints.json_schema_errors import drop_unsupported_keywords


def enforceable_schema(schema: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[str]]:
    """`schema` without the keywords that arguments cannot be held to, and the paths of these keywords."""
    try:
        return drop_unsupported_keywords(schema)
    except RecursionError:  # named when its grammar is compiled
        return schema, []
