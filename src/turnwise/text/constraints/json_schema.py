"""Normalizes JSON schemas for the grammar library: removes annotations, closes objects, and resolves references.

* Annotations (`description`, `default`, …), unknown keywords, unknown formats and trivial assertions are removed, so
  they do not count towards limits and do not make a schema unsupported.
* An object that lists its properties gets no others unless its schema has `additionalProperties`. JSON Schema allows
  any others, and a model could generate properties until it runs out of tokens. Output for the normalized schema is
  also valid for the original one.
* Every `$ref` refers to a definition of the normalized schema. There may be two for one original definition: one that
  `allOf` combines with other schemas stays open there, and is closed elsewhere.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import unquote

from turnwise.text.constraints.schema_keywords import (
    DATA_KEYWORDS,
    MAX_DEPTH,
    SCHEMA_KEYWORDS,
    SCHEMA_LIST_KEYWORDS,
    SCHEMA_MAP_KEYWORDS,
    SUPPORTED_FORMATS,
    UNSUPPORTED_KEYWORDS,
    Schema,
    SchemaError,
    is_trivial,
    iter_subschemas,
)

PLAIN_KEYWORDS = DATA_KEYWORDS | SCHEMA_LIST_KEYWORDS | SCHEMA_MAP_KEYWORDS | {"$ref"}


def normalize_schema(schema: Any, *, arguments: bool = False) -> Any:
    """The normalized schema.

    Args:
        schema: schema from a request.
        arguments: the schema describes the arguments of a tool. If it lists no properties, the tool has no arguments,
            as in the OpenAI reference. Default: it then allows any object.

    Raises:
        SchemaError: a reference cannot be resolved, or schemas are nested too deeply.
    """
    return _Normalizer(schema).run(arguments) if isinstance(schema, Mapping) else schema


@dataclass
class _Properties:
    """Properties that a schema, and the schemas that apply to the same object, list.

    Attributes:
        counts: for each name, the number of schemas that list it.
        patterns: keys of `patternProperties`.
        is_listed: True if one of the schemas has `properties`.
        is_open: True if one of the schemas allows additional properties.
    """

    counts: dict[str, int] = field(default_factory=dict)
    patterns: set[str] = field(default_factory=set)
    is_listed: bool = False
    is_open: bool = False


# Names of properties that several schemas of one object list. None if only one schema applies to the object.
_SharedNames = frozenset[str] | None


class _Normalizer:
    def __init__(self, root: Schema) -> None:
        self._root = root
        self._definitions: dict[str, Any] = {}
        self._definition_names: dict[tuple[str, _SharedNames], str] = {}

    def run(self, arguments: bool) -> dict[str, Any]:
        normalized: dict[str, Any] = self._normalize(self._root, None, 0)
        if arguments:
            self._close_arguments(normalized)
        schema_uri = self._root.get("$schema")
        if isinstance(schema_uri, str) and "json-schema.org/" in schema_uri:
            normalized = {"$schema": schema_uri, **normalized}  # keywords have different meanings in different drafts
        if self._definitions:
            normalized["$defs"] = self._definitions
        return normalized

    def _close_arguments(self, normalized: dict[str, Any]) -> None:
        properties = self._collect_properties(self._root, _Properties(), frozenset())
        if not (properties.is_listed or properties.is_open or properties.patterns or self._root.get("minProperties")):
            required = self._root.get("required")
            names = required if isinstance(required, list) else []
            normalized |= {"properties": dict.fromkeys(names, True), "additionalProperties": False}
        normalized.setdefault("type", "object")

    def _normalize(self, schema: Any, shared: _SharedNames, depth: int) -> Any:
        """Normalize a schema. It is closed unless `shared` is set, since then other schemas apply to the object."""
        if depth > MAX_DEPTH:
            raise SchemaError(f"it is nested deeper than {MAX_DEPTH} schemas")
        if not isinstance(schema, Mapping):
            return schema
        present = {name: value for name, value in schema.items() if value is not None or name == "const"}
        if shared is None and _num_applied_schemas(present) + _has_properties(present) > 1:
            properties = self._collect_properties(present, _Properties(), frozenset())
            inner: _SharedNames = frozenset(name for name, count in properties.counts.items() if count > 1)
        else:
            properties, inner = _Properties(), shared
        recurse = partial(self._normalize, depth=depth + 1)
        normalized: dict[str, Any] = {}
        for name, value in present.items():
            self._add_keyword(normalized, name, value, present, inner, recurse)
        if shared is None:
            _close_object(normalized, present, properties if inner is not None else None)
        return normalized

    def _add_keyword(
        self,
        normalized: dict[str, Any],
        name: str,
        value: Any,
        schema: Schema,
        shared: _SharedNames,
        recurse: Callable[[Any, _SharedNames], Any],
    ) -> None:
        # A value inside the object may also be described by several schemas.
        child: _SharedNames = None if shared is None else frozenset()
        if name == "$ref" and isinstance(value, str):
            normalized[name] = self._add_reference(value, shared)
        elif name == "format":
            if value in SUPPORTED_FORMATS:
                normalized[name] = value
        elif name in ("allOf", "anyOf", "oneOf") and isinstance(value, list):
            # With distinct constants, `oneOf` equals `anyOf`, which the library supports better.
            is_any_of = name == "oneOf" and "anyOf" not in schema and _are_distinct_constants(value)
            normalized["anyOf" if is_any_of else name] = [recurse(item, shared) for item in value]
        elif isinstance(value, list) and name in ("prefixItems", "items"):
            normalized[name] = [recurse(item, child) for item in value]
        elif name in SCHEMA_MAP_KEYWORDS and isinstance(value, Mapping):
            normalized[name] = {
                key: recurse(item, child if shared and key in shared else None) for key, item in value.items()
            }
        elif name in SCHEMA_KEYWORDS:
            normalized[name] = recurse(value, child)
        elif name in PLAIN_KEYWORDS or (name in UNSUPPORTED_KEYWORDS and not is_trivial(name, value, schema)):
            normalized[name] = value

    def _add_reference(self, reference: str, shared: _SharedNames) -> str:
        """Normalize the target of a reference as a definition, once, and return the new reference."""
        key = (reference, shared)
        if key not in self._definition_names:
            self._definition_names[key] = name = str(len(self._definition_names))
            self._definitions[name] = self._normalize(self._resolve(reference), shared, 0)
        return f"#/$defs/{self._definition_names[key]}"

    def _resolve(self, reference: str) -> Any:
        """The target of a `$ref`: a JSON pointer, an `$anchor` or an `$id`."""
        base, _, fragment = reference.partition("#")
        target: Any = self._root
        if base and base != self._root.get("$id"):
            target = next((s for _, s in iter_subschemas(self._root) if s.get("$id") == base), None)
        if fragment and not fragment.startswith("/"):
            target = next((s for _, s in iter_subschemas(self._root) if s.get("$anchor") == fragment), None)
        for token in fragment.split("/")[1:]:
            token = unquote(token).replace("~1", "/").replace("~0", "~")
            if isinstance(target, list) and token.isdecimal() and int(token) < len(target):
                target = target[int(token)]
            else:
                target = target.get(token) if isinstance(target, Mapping) else None
        if not isinstance(target, Mapping | bool):
            raise SchemaError(f"the reference '{reference[:100]}' does not point to a schema")
        return target

    def _collect_properties(self, schema: Any, properties: _Properties, seen: frozenset[str]) -> _Properties:
        """Add the properties of `schema` and of the schemas that it applies. `seen` are references on the path."""
        if not isinstance(schema, Mapping):
            return properties
        listed, patterns = schema.get("properties"), schema.get("patternProperties")
        if isinstance(listed, Mapping):
            properties.is_listed = True
            for name in listed:
                properties.counts[name] = properties.counts.get(name, 0) + 1
        if isinstance(patterns, Mapping):
            properties.patterns.update(patterns)
        if schema.get("additionalProperties") not in (None, False):
            properties.is_open = True
        applied = [item for name in ("allOf", "anyOf", "oneOf") for item in _as_list(schema.get(name))]
        applied += [schema.get("then"), schema.get("else"), *_mapping_values(schema.get("dependentSchemas"))]
        reference = schema.get("$ref")
        if isinstance(reference, str) and reference not in seen:
            seen |= {reference}
            applied.append(self._resolve(reference))
        for item in applied:
            self._collect_properties(item, properties, seen)
        return properties


def _are_distinct_constants(schemas: list[Any]) -> bool:
    """True if all schemas are constants or enums, and no value occurs in two of them."""
    seen: set[str] = set()
    for schema in schemas:
        if not isinstance(schema, Mapping) or not ({"const", "enum"} & schema.keys()):
            return False
        values = [schema["const"]] if "const" in schema else _as_list(schema["enum"])
        texts = {json.dumps(value, sort_keys=True) for value in values}
        if seen & texts or any(isinstance(value, float) for value in values):  # 1.0 equals 1
            return False
        seen |= texts
    return True


def _has_properties(schema: Schema) -> bool:
    """True if the schema itself describes the properties of an object."""
    return any(name in schema for name in ("properties", "patternProperties", "additionalProperties"))


def _num_applied_schemas(schema: Schema) -> int:
    """Number of schemas that apply to the same value in addition to the schema's own keywords."""
    keywords = ("anyOf", "oneOf", "$ref", "if", "dependentSchemas")
    return len(_as_list(schema.get("allOf"))) + sum(name in schema for name in keywords)


def _mapping_values(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, Mapping) else []


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _close_object(normalized: dict[str, Any], schema: Schema, properties: _Properties | None) -> None:
    """Allow only the listed properties. `properties` are those of all schemas, if several apply to the object."""
    if "additionalProperties" in schema:
        return
    if properties is None:
        if not isinstance(schema.get("properties"), Mapping):
            return
    elif properties.is_open or not properties.is_listed:
        return
    if normalized.get("unevaluatedProperties") is False and not ({"anyOf", "oneOf"} & schema.keys()):
        del normalized["unevaluatedProperties"]  # equivalent to the `additionalProperties` below
    allowed = dict(normalized.get("properties", {}))
    for name in (*(properties.counts if properties is not None else ()), *_as_list(schema.get("required"))):
        if isinstance(name, str):
            allowed.setdefault(name, True)
    normalized |= {"properties": allowed, "additionalProperties": False}
    if properties is not None and properties.patterns:
        normalized["patternProperties"] = dict.fromkeys(properties.patterns, True) | normalized.get(
            "patternProperties", {}
        )
