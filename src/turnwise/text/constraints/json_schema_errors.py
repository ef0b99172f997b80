"""Why a JSON schema cannot be enforced: which keyword of which part, and what is wrong with it."""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from turnwise.text.constraints.json_schema import (
    UNSUPPORTED,
    SchemaError,
    is_trivial,
    iter_subschemas,
    normalize_schema,
)

MAX_SECONDS = 1.0  # of work to name the keyword
OVERLAP = "its alternatives overlap, so that one and only one of them cannot be guaranteed; use 'anyOf'"


@dataclass(frozen=True, slots=True)
class UnsupportedKeyword:
    """A keyword that cannot be enforced. `path` is that of its schema, "" for the whole."""

    path: str
    keyword: str
    reason: str

    @property
    def keyword_path(self) -> str:
        """The path of the keyword."""
        return f"{self.path}.{self.keyword}" if self.path else self.keyword


def find_unsupported_keywords(schema: Any) -> Iterator[UnsupportedKeyword]:
    """The keywords of `schema` that cannot be enforced, those of inner schemas first."""
    began = time.thread_time()
    for path, part in iter_subschemas(schema):
        if time.thread_time() - began > MAX_SECONDS:
            return
        for keyword, value in part.items():
            if (reason := _reason(keyword, value, part, schema)) is not None:
                yield UnsupportedKeyword(path, keyword, reason)


def drop_unsupported_keywords(schema: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[str]]:
    """`schema` without the keywords that cannot be enforced, and their paths; `oneOf` is weakened to `anyOf`."""
    found = list(find_unsupported_keywords(schema))
    if not found:
        return schema, []
    dropped: dict[str, set[str]] = {}
    for fault in found:
        dropped.setdefault(fault.path, set()).add(fault.keyword)
    copy = json.loads(json.dumps(schema))
    for path, part in list(iter_subschemas(copy)):
        for keyword in dropped.get(path, ()):
            value = part.pop(keyword)  # type: ignore[attr-defined]  # of our own copy
            if keyword == "oneOf":
                part.setdefault("anyOf", value)  # type: ignore[attr-defined]
            elif keyword == "patternProperties" and "additionalProperties" not in part:
                part["additionalProperties"] = True  # type: ignore[index]
    return copy, [fault.keyword_path for fault in found]


def _reason(keyword: str, value: Any, schema: Mapping[str, Any], root: Any) -> str | None:
    if keyword in UNSUPPORTED:
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
    """What the library says against a schema; None where it can be enforced."""
    from llguidance import LLMatcher

    try:
        grammar = LLMatcher.grammar_from_json_schema(json.dumps(normalize_schema(schema)))
        error = LLMatcher.validate_grammar(grammar)
    except SchemaError:
        return None  # a reference that only leads somewhere in the whole schema
    except (ValueError, RecursionError) as mistake:
        error = str(mistake)
    return summarize_error(error) if error else None


def summarize_error(error: str) -> str:
    """One line of an error of the library, which may have many: what is wrong, without its internal names."""
    lines = [line.strip() for line in error.strip().splitlines()] or [""]
    line = next((line.removeprefix("error: ") for line in lines if line.startswith("error: ")), lines[0])
    if "coerce_one_of" in line:
        return OVERLAP
    if line.startswith("Unimplemented keys: "):
        keywords = line.removeprefix("Unimplemented keys: ").strip("[].").replace('"', "'")
        return f"{keywords} is not supported"
    return line[:200].rstrip(".")
