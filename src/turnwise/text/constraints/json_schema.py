"""JSON schemas as grammars need them: only what decides about the answer, with objects closed that list properties.

* Annotations (`description`, `default`, …), unknown keywords, unknown formats and keywords that assert nothing are
  removed, so they neither count towards limits nor make a schema unusable.
* An object that lists its properties gets no others unless its schema says `additionalProperties`. JSON Schema would
  allow any, and a model held to that may invent properties until its tokens run out. What follows the result still
  follows the schema as it was sent.
* Every `$ref` leads to a definition of the result's own, of which there may be two: a definition that an `allOf`
  combines with others stays open there and is closed elsewhere.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import unquote

MAX_DEPTH = 100  # of nested schemas; the library refuses what is nested deeper

# What a keyword holds: one schema, a list of schemas, or schemas by name. All others hold plain data.
ONE = frozenset({"items", "additionalItems", "additionalProperties"})
LISTS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
MAPS = frozenset({"properties", "patternProperties"})
DATA = frozenset({
    "type", "enum", "const", "required", "minLength", "maxLength", "pattern", "format", "minimum", "maximum",
    "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minItems", "maxItems", "minProperties", "maxProperties",
})  # fmt: skip
# Keywords that assert something which the grammar library cannot enforce.
UNSUPPORTED = frozenset({
    "not", "if", "contains", "minContains", "maxContains", "uniqueItems", "propertyNames", "dependentRequired",
    "dependentSchemas", "dependencies", "unevaluatedProperties", "unevaluatedItems", "$dynamicRef", "$recursiveRef",
})  # fmt: skip
FORMATS = frozenset({
    "date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri",
})  # fmt: skip
DEFINITIONS = frozenset({"$defs", "definitions"})

Schema = Mapping[str, Any]


class SchemaError(ValueError):
    """A schema that is broken in a way that shows without a grammar."""


def normalize_schema(schema: Any, *, arguments: bool = False) -> Any:
    """`schema` as a grammar needs it.

    With `arguments`, it describes the arguments of a tool: then a schema that lists no properties at all means that
    there are none, as published; elsewhere it means any object.

    Raises:
        SchemaError: a reference leads nowhere, or schemas are nested too deeply.
    """
    return _Normalizer(schema).run(arguments) if isinstance(schema, Mapping) else schema


def is_trivial(keyword: str, value: Any, schema: Schema) -> bool:
    """Whether a keyword of `schema` allows everything, so that it can be left out."""
    if keyword in ("uniqueItems", "minContains", "maxContains"):
        return value is False or (keyword != "uniqueItems" and "contains" not in schema)
    if keyword == "propertyNames":
        return value is True or (isinstance(value, Mapping) and _asserted(value) in ({}, {"type": "string"}))
    if keyword in ("unevaluatedProperties", "unevaluatedItems"):
        return value is True or (isinstance(value, Mapping) and not _asserted(value))
    if keyword == "not":
        return value is False
    if keyword == "if":
        return "then" not in schema and "else" not in schema
    return keyword in ("dependentRequired", "dependentSchemas", "dependencies") and not value


def _asserted(schema: Schema) -> dict[str, Any]:
    known = DATA | ONE | LISTS | MAPS | UNSUPPORTED | {"$ref"}
    return {name: value for name, value in schema.items() if name in known}


def iter_subschemas(schema: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, Schema]]:
    """Every schema in `schema` with its path, the inner ones first; none below `MAX_DEPTH`."""
    if not isinstance(schema, Mapping) or depth > MAX_DEPTH:
        return
    for keyword, value in schema.items():
        here = f"{path}.{keyword}" if path else keyword
        if keyword in ONE and isinstance(value, Mapping):
            yield from iter_subschemas(value, here, depth + 1)
        elif (keyword in LISTS or keyword == "items") and isinstance(value, list):
            for i, part in enumerate(value):
                yield from iter_subschemas(part, f"{here}[{i}]", depth + 1)
        elif keyword in MAPS | DEFINITIONS and isinstance(value, Mapping):
            for name, part in value.items():
                yield from iter_subschemas(part, f"{here}.{name}", depth + 1)
    yield path, schema


@dataclass
class _Listing:
    """The properties that a schema and the schemas applied with it list for one object."""

    counts: dict[str, int] = field(default_factory=dict)  # by name: how many of the schemas describe it
    patterns: set[str] = field(default_factory=set)
    is_listed: bool = False
    is_open: bool = False


# Names that several of the schemas for one object describe; None for an object that one schema describes alone.
_Shared = frozenset[str] | None


class _Normalizer:
    def __init__(self, root: Schema) -> None:
        self._root = root
        self._definitions: dict[str, Any] = {}
        self._keys: dict[tuple[str, _Shared], str] = {}

    def run(self, arguments: bool) -> dict[str, Any]:
        made: dict[str, Any] = self._schema(self._root, None, 0)
        if arguments:
            self._close_arguments(made)
        schema_uri = self._root.get("$schema")
        if isinstance(schema_uri, str) and "json-schema.org/" in schema_uri:
            made = {"$schema": schema_uri, **made}  # drafts differ in what keywords mean
        if self._definitions:
            made["$defs"] = self._definitions
        return made

    def _close_arguments(self, made: dict[str, Any]) -> None:
        listing = self._listing(self._root, _Listing(), frozenset())
        if not (listing.is_listed or listing.is_open or listing.patterns or self._root.get("minProperties")):
            required = self._root.get("required")
            names = required if isinstance(required, list) else []
            made |= {"properties": dict.fromkeys(names, True), "additionalProperties": False}
        made.setdefault("type", "object")

    def _schema(self, schema: Any, shared: _Shared, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise SchemaError(f"it is nested deeper than {MAX_DEPTH} schemas")
        if not isinstance(schema, Mapping):
            return schema
        present = {name: value for name, value in schema.items() if value is not None or name == "const"}
        if shared is None and _parts(present) + _lists(present) > 1:
            listing = self._listing(present, _Listing(), frozenset())
            inner: _Shared = frozenset(name for name, count in listing.counts.items() if count > 1)
        else:
            listing, inner = _Listing(), shared
        step = partial(self._schema, depth=depth + 1)
        made: dict[str, Any] = {}
        for name, value in present.items():
            self._keyword(made, name, value, present, inner, step)
        if shared is None:
            _close(made, present, listing if inner is not None else None)
        return made

    def _keyword(
        self,
        made: dict[str, Any],
        name: str,
        value: Any,
        schema: Schema,
        shared: _Shared,
        step: Callable[[Any, _Shared], Any],
    ) -> None:
        child: _Shared = (
            None if shared is None else frozenset()
        )  # of a schema that others of the object may describe too
        if name == "$ref" and isinstance(value, str):
            made[name] = self._reference(value, shared)
        elif name == "format":
            if value in FORMATS:
                made[name] = value
        elif name in ("allOf", "anyOf", "oneOf") and isinstance(value, list):
            exclusive = name == "oneOf" and "anyOf" not in schema and _are_distinct(value)
            made["anyOf" if exclusive else name] = [step(part, shared) for part in value]
        elif isinstance(value, list) and name in ("prefixItems", "items"):
            made[name] = [step(part, child) for part in value]
        elif name in MAPS and isinstance(value, Mapping):
            made[name] = {key: step(part, child if shared and key in shared else None) for key, part in value.items()}
        elif name in ONE:
            made[name] = step(value, child)
        elif name in DATA | LISTS | MAPS | {"$ref"} or (name in UNSUPPORTED and not is_trivial(name, value, schema)):
            made[name] = value

    def _reference(self, reference: str, shared: _Shared) -> str:
        key = (reference, shared)
        if key not in self._keys:
            self._keys[key] = name = str(len(self._keys))
            self._definitions[name] = self._schema(self._resolve(reference), shared, 0)
        return f"#/$defs/{self._keys[key]}"

    def _resolve(self, reference: str) -> Any:
        base, _, fragment = reference.partition("#")
        target: Any = self._root
        if base and base != self._root.get("$id"):
            target = next((s for _, s in iter_subschemas(self._root) if s.get("$id") == base), None)
        if fragment and not fragment.startswith("/"):
            named = (s for _, s in iter_subschemas(self._root) if s.get("$anchor") == fragment)
            target = next(named, None)
        for step in fragment.split("/")[1:]:
            step = unquote(step).replace("~1", "/").replace("~0", "~")
            if isinstance(target, list) and step.isdecimal() and int(step) < len(target):
                target = target[int(step)]
            else:
                target = target.get(step) if isinstance(target, Mapping) else None
        if not isinstance(target, Mapping | bool):
            raise SchemaError(f"the reference '{reference[:100]}' leads to no schema")
        return target

    def _listing(self, schema: Any, listing: _Listing, seen: frozenset[str]) -> _Listing:
        """Adds what `schema` and the schemas applied with it list to `listing`."""
        if not isinstance(schema, Mapping):
            return listing
        properties, patterns = schema.get("properties"), schema.get("patternProperties")
        if isinstance(properties, Mapping):
            listing.is_listed = True
            for name in properties:
                listing.counts[name] = listing.counts.get(name, 0) + 1
        if isinstance(patterns, Mapping):
            listing.patterns.update(patterns)
        if schema.get("additionalProperties") not in (None, False):
            listing.is_open = True
        parts = [part for name in ("allOf", "anyOf", "oneOf") for part in _list(schema.get(name))]
        parts += [schema.get("then"), schema.get("else"), *_values(schema.get("dependentSchemas"))]
        reference = schema.get("$ref")
        if isinstance(reference, str) and reference not in seen:
            seen |= {reference}
            parts.append(self._resolve(reference))
        for part in parts:
            self._listing(part, listing, seen)
        return listing


def _are_distinct(schemas: list[Any]) -> bool:
    """Whether schemas are lists of constants of which none is in two of them."""
    seen: set[str] = set()
    for schema in schemas:
        if not isinstance(schema, Mapping) or not ({"const", "enum"} & schema.keys()):
            return False
        values = [schema["const"]] if "const" in schema else _list(schema["enum"])
        written = {json.dumps(value, sort_keys=True) for value in values}
        if seen & written or any(isinstance(value, float) for value in values):  # 1.0 equals 1
            return False
        seen |= written
    return True


def _lists(schema: Schema) -> int:
    """1 where a schema says itself which properties an object has."""
    return int(any(name in schema for name in ("properties", "patternProperties", "additionalProperties")))


def _parts(schema: Schema) -> int:
    """How many schemas are applied to the same value beside this one's own keywords."""
    others = ("anyOf", "oneOf", "$ref", "if", "dependentSchemas")
    return len(_list(schema.get("allOf"))) + sum(name in schema for name in others)


def _values(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, Mapping) else []


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _close(made: dict[str, Any], schema: Schema, listing: _Listing | None) -> None:
    """Let an object have the listed properties only; `listing` is of all schemas for it, where there are several."""
    own = schema.get("properties")
    if "additionalProperties" in schema:
        return
    if listing is None:
        if not isinstance(own, Mapping):
            return
    elif listing.is_open or not listing.is_listed:
        return
    if made.get("unevaluatedProperties") is False and not ({"anyOf", "oneOf"} & schema.keys()):
        del made["unevaluatedProperties"]  # it says the same
    properties = dict(made.get("properties", {}))
    required = schema.get("required")
    for name in (*(listing.counts if listing is not None else ()), *_list(required)):
        if isinstance(name, str):
            properties.setdefault(name, True)
    made |= {"properties": properties, "additionalProperties": False}
    if listing is not None and listing.patterns:
        made["patternProperties"] = dict.fromkeys(listing.patterns, True) | made.get("patternProperties", {})
