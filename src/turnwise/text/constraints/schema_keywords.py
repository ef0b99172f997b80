"""Keywords of JSON Schema: which contain schemas, which contain data, and which the grammar library cannot enforce."""

from collections.abc import Iterator, Mapping
from typing import Any

MAX_DEPTH = 100  # nested schemas; the grammar library rejects deeper ones

# Keywords whose value is a schema, a list of schemas, or a mapping from names to schemas.
SCHEMA_KEYWORDS = frozenset({"items", "additionalItems", "additionalProperties"})
SCHEMA_LIST_KEYWORDS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
SCHEMA_MAP_KEYWORDS = frozenset({"properties", "patternProperties"})
DEFINITION_KEYWORDS = frozenset({"$defs", "definitions"})
# Keywords whose value is data.
DATA_KEYWORDS = frozenset({
    "type", "enum", "const", "required", "minLength", "maxLength", "pattern", "format", "minimum", "maximum",
    "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minItems", "maxItems", "minProperties", "maxProperties",
})  # fmt: skip
# Assertions that the grammar library cannot enforce.
UNSUPPORTED_KEYWORDS = frozenset({
    "not", "if", "contains", "minContains", "maxContains", "uniqueItems", "propertyNames", "dependentRequired",
    "dependentSchemas", "dependencies", "unevaluatedProperties", "unevaluatedItems", "$dynamicRef", "$recursiveRef",
})  # fmt: skip
# Values of `format` that the grammar library enforces.
SUPPORTED_FORMATS = frozenset({
    "date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri",
})  # fmt: skip
ASSERTIONS = (
    DATA_KEYWORDS | SCHEMA_KEYWORDS | SCHEMA_LIST_KEYWORDS | SCHEMA_MAP_KEYWORDS | UNSUPPORTED_KEYWORDS | {"$ref"}
)

Schema = Mapping[str, Any]


class SchemaError(ValueError):
    """A schema is invalid for a reason that is found without the grammar library."""


def is_trivial(keyword: str, value: Any, schema: Schema) -> bool:
    """True if an unsupported keyword of `schema` allows every value, so that it can be omitted."""
    if keyword in ("uniqueItems", "minContains", "maxContains"):
        return value is False or (keyword != "uniqueItems" and "contains" not in schema)
    if keyword == "propertyNames":
        return value is True or (isinstance(value, Mapping) and _assertions(value) in ({}, {"type": "string"}))
    if keyword in ("unevaluatedProperties", "unevaluatedItems"):
        return value is True or (isinstance(value, Mapping) and not _assertions(value))
    if keyword == "not":
        return value is False
    if keyword == "if":
        return "then" not in schema and "else" not in schema
    return keyword in ("dependentRequired", "dependentSchemas", "dependencies") and not value


def _assertions(schema: Schema) -> dict[str, Any]:
    """The schema without annotations and unknown keywords."""
    return {name: value for name, value in schema.items() if name in ASSERTIONS}


def iter_subschemas(schema: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, Schema]]:
    """Path and value of `schema` and every schema in it, inner ones first. Schemas below `MAX_DEPTH` are omitted."""
    if not isinstance(schema, Mapping) or depth > MAX_DEPTH:
        return
    for keyword, value in schema.items():
        keyword_path = f"{path}.{keyword}" if path else keyword
        if keyword in SCHEMA_KEYWORDS and isinstance(value, Mapping):
            yield from iter_subschemas(value, keyword_path, depth + 1)
        elif (keyword in SCHEMA_LIST_KEYWORDS or keyword == "items") and isinstance(value, list):
            for i, item in enumerate(value):
                yield from iter_subschemas(item, f"{keyword_path}[{i}]", depth + 1)
        elif keyword in SCHEMA_MAP_KEYWORDS | DEFINITION_KEYWORDS and isinstance(value, Mapping):
            for name, item in value.items():
                yield from iter_subschemas(item, f"{keyword_path}.{name}", depth + 1)
    yield path, schema
