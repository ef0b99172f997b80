"""Finds the keywords of a JSON schema that cannot be enforced, and the reasons, for error messages."""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from turnwise.text.constraints.json_schema import normalize_schema
from turnwise.text.constraints.schema_keywords import UNSUPPORTED_KEYWORDS, SchemaError, is_trivial, iter_subschemas

MAX_SECONDS = 1.0  # CPU time of the search
OVERLAP = "its alternatives overlap, so it is not certain that exactly one of them matches; use 'anyOf'"


@dataclass(frozen=True, slots=True)
class UnsupportedKeyword:
    """A keyword that cannot be enforced.

    Attributes:
        path: path of the schema that contains it; empty for the root.
        keyword: name of the keyword.
        reason: reason, as the end of a sentence.
    """

    path: str
    keyword: str
    reason: str

    @property
    def keyword_path(self) -> str:
        """Path of the keyword."""
        return f"{self.path}.{self.keyword}" if self.path else self.keyword


def find_unsupported_keywords(schema: Any) -> Iterator[UnsupportedKeyword]:
    """Keywords of `schema` that cannot be enforced, those of inner schemas first. Stops after `MAX_SECONDS`."""
    start = time.thread_time()
    for path, subschema in iter_subschemas(schema):
        if time.thread_time() - start > MAX_SECONDS:
            return
        for keyword, value in subschema.items():
            if (reason := _find_reason(keyword, value, subschema, schema)) is not None:
                yield UnsupportedKeyword(path, keyword, reason)


def drop_unsupported_keywords(schema: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[str]]:
    """`schema` without the keywords that cannot be enforced, and their paths. `oneOf` becomes `anyOf`."""
    unsupported = list(find_unsupported_keywords(schema))
    if not unsupported:
        return schema, []
    keywords_by_path: dict[str, set[str]] = {}
    for item in unsupported:
        keywords_by_path.setdefault(item.path, set()).add(item.keyword)
    copy = json.loads(json.dumps(schema))
    for path, subschema in list(iter_subschemas(copy)):
        assert isinstance(subschema, dict), "a copy of JSON"
        for keyword in keywords_by_path.get(path, ()):
            value = subschema.pop(keyword)
            if keyword == "oneOf":
                subschema.setdefault("anyOf", value)
            elif keyword == "patternProperties" and "additionalProperties" not in subschema:
                subschema["additionalProperties"] = True
    return copy, [item.keyword_path for item in unsupported]


def _find_reason(keyword: str, value: Any, schema: Mapping[str, Any], root: Any) -> str | None:
    """The reason why a keyword cannot be enforced; None if it can be."""
    if keyword in UNSUPPORTED_KEYWORDS:
        return None if is_trivial(keyword, value, schema) else "it is not supported"
    if keyword == "pattern":
        return _compile_error({"type": "string", "pattern": value})
    if keyword == "patternProperties" and isinstance(value, Mapping):
        errors = (_compile_error({"type": "string", "pattern": pattern}) for pattern in value)
        return next((error for error in errors if error is not None), None)
    if keyword == "oneOf" and isinstance(value, list):
        root = root if isinstance(root, Mapping) else {}
        definitions = {name: root[name] for name in ("$defs", "definitions", "$id") if name in root}
        error = _compile_error({**definitions, "oneOf": value})
        return error if error == OVERLAP else None
    return None


def _compile_error(schema: Mapping[str, Any]) -> str | None:
    """The error of the grammar library for a schema; None if it can be enforced."""
    from llguidance import LLMatcher

    try:
        grammar = LLMatcher.grammar_from_json_schema(json.dumps(normalize_schema(schema)))
        error = LLMatcher.validate_grammar(grammar)
    except SchemaError:
        return None  # a reference that can only be resolved in the complete schema
    except (ValueError, RecursionError) as compile_error:
        error = str(compile_error)
    return summarize_error(error) if error else None


def summarize_error(error: str) -> str:
    """One line of an error of the grammar library, without its internal names."""
    lines = [line.strip() for line in error.strip().splitlines()] or [""]
    line = next((line.removeprefix("error: ") for line in lines if line.startswith("error: ")), lines[0])
    if "coerce_one_of" in line:
        return OVERLAP
    if line.startswith("Unimplemented keys: "):
        keywords = line.removeprefix("Unimplemented keys: ").strip("[].").replace('"', "'")
        return f"{keywords} is not supported"
    return line[:200].rstrip(".")
