"""Bounds of the published API, which a compatible server has to accept.

Source: the documentation in the types of the official Python client, version 3.54.0 (`openai.types`), and the published
OpenAPI description (github.com/openai/openai-openapi, `openapi.yaml`) where the client says nothing. Values
`at` a bound are accepted; values `beyond` it are rejected with status 400.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Bound:
    """The bound of one field of one route.

    Attributes:
        route: the route.
        field: name of the field.
        at: request fields with a value on the bound.
        beyond: request fields with a value outside of the bound.
        difference: excerpt of the sentence in `docs/http.md` that documents a difference of this server; empty if none.
    """

    route: str
    field: str
    at: tuple[dict[str, Any], ...]
    beyond: tuple[dict[str, Any], ...] = ()
    difference: str = ""


def values(name: str, *bounds: Any, **further_fields: Any) -> tuple[dict[str, Any], ...]:
    """Return the request fields for every value of a field, together with further fields."""
    return tuple({name: bound, **further_fields} for bound in bounds)


def tools(count: int, name: str = "f") -> list[dict[str, Any]]:
    """Return `count` functions; the first is called `name`."""
    names = [name, *(f"f{number}" for number in range(1, count))]
    return [{"type": "function", "function": {"name": tool_name}} for tool_name in names]


def schema(name: str) -> dict[str, Any]:
    """Return a response format whose schema is called `name`."""
    return {"type": "json_schema", "json_schema": {"name": name, "schema": {"type": "object", "properties": {}}}}


CHAT, TEXT, EMBEDDINGS, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses"
LONG = "x" * 5000


def sampling(route: str) -> list[Bound]:
    """Return the bounds that chat completions and completions share."""
    return [
        Bound(route, "temperature", values("temperature", 0, 2), values("temperature", -0.01, 2.01)),
        Bound(route, "top_p", values("top_p", 0, 1), values("top_p", -0.01, 1.01)),
        Bound(route, "n", values("n", 1, 128), values("n", 0)),
        Bound(route, "presence_penalty", values("presence_penalty", -2, 2), values("presence_penalty", -2.1, 2.1)),
        Bound(route, "frequency_penalty", values("frequency_penalty", -2, 2), values("frequency_penalty", -2.1, 2.1)),
        Bound(route, "seed", values("seed", -(2**63), 2**63 - 1), values("seed", 2**63)),
        Bound(route, "stop", values("stop", ["a", "b", "c", "d"]), values("stop", ["a", "b", "c", "d", "e"])),
        Bound(
            route, "logit_bias", values("logit_bias", {"5": -100}, {"5": 100}),
            values("logit_bias", {"5": 101}, {str(id): 1 for id in range(1025)}), "tokens in `logit_bias` (1024)",
        ),
        Bound(route, "user", values("user", "x" * 4096), values("user", LONG), "(4096 characters)"),
    ]  # fmt: skip


BOUNDS = [
    *sampling(CHAT),
    Bound(CHAT, "top_logprobs", values("top_logprobs", 0, 20, logprobs=True),
          values("top_logprobs", -1, 21, logprobs=True)),
    Bound(CHAT, "max_completion_tokens", values("max_completion_tokens", 1), values("max_completion_tokens", 0)),
    Bound(CHAT, "metadata", values("metadata", {f"{i:064}": "v" * 512 for i in range(16)}, store=True),
          values("metadata", {str(i): "" for i in range(17)}, {"k" * 65: ""}, {"k": "v" * 513}, store=True)),
    Bound(CHAT, "safety_identifier", values("safety_identifier", "s" * 128), values("safety_identifier", "s" * 129)),
    Bound(CHAT, "prompt_cache_key", values("prompt_cache_key", "k" * 4096), values("prompt_cache_key", LONG),
          "(4096 characters)"),
    Bound(CHAT, "tools", values("tools", tools(128), tools(1, "f" * 64)),
          values("tools", tools(129), tools(1, "f" * 65), tools(1, "no blanks"))),
    Bound(CHAT, "response_format", values("response_format", schema("s" * 64)),
          values("response_format", schema("s" * 65))),
    Bound(CHAT, "name", values("messages", [{"role": "user", "content": "hi", "name": "n" * 4096}]),
          values("messages", [{"role": "user", "content": "hi", "name": LONG}]), "(4096 characters)"),
    *sampling(TEXT),
    Bound(TEXT, "logprobs", values("logprobs", 0, 5), values("logprobs", -1, 6)),
    Bound(TEXT, "max_tokens", values("max_tokens", 1), values("max_tokens", -1)),
    Bound(TEXT, "best_of", values("best_of", 1, 20), values("best_of", 0), "minimum of `best_of` is 1"),
    Bound(TEXT, "prompt", values("prompt", "", ["a"] * 2048), values("prompt", ["a"] * 2049), "(2048)"),
    Bound(EMBEDDINGS, "input", values("input", ["a"] * 2048), values("input", [], "", ["a"] * 2049)),
    Bound(EMBEDDINGS, "dimensions", (), values("dimensions", 0)),
    Bound(EMBEDDINGS, "user", values("user", "x" * 4096), values("user", LONG), "(4096 characters)"),
    Bound(RESPONSES, "temperature", values("temperature", 0, 2), values("temperature", -0.01, 2.01)),
    Bound(RESPONSES, "top_p", values("top_p", 0, 1), values("top_p", -0.01, 1.01)),
    Bound(RESPONSES, "top_logprobs", values("top_logprobs", 0, 20), values("top_logprobs", -1, 21)),
    Bound(RESPONSES, "metadata", values("metadata", {f"{i:064}": "v" * 512 for i in range(16)}),
          values("metadata", {str(i): "" for i in range(17)}, {"k" * 65: ""}, {"k": "v" * 513})),
    Bound(RESPONSES, "safety_identifier", values("safety_identifier", "s" * 128),
          values("safety_identifier", "s" * 129)),
]  # fmt: skip
