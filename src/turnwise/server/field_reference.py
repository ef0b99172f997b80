"""Generates `docs/http.md`, the reference of all request fields, from the request models.

python -m turnwise.server.field_reference > docs/http.md
"""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from turnwise.core.parameter_spec import MAX_LOGIT_BIAS_ENTRIES, MAX_STRING, ParameterSpec
from turnwise.server.responses.response_fields import INPUT_TOKENS_UNSUPPORTED, RESPONSE_SAMPLING, RESPONSE_UNSUPPORTED
from turnwise.server.responses.response_request import InputTokensRequest, ResponseRequest
from turnwise.server.schema.chat_completion_request import ChatCompletionRequest
from turnwise.server.schema.completion_request import (
    COMPLETION_SAMPLING_FIELDS,
    COMPLETION_UNSUPPORTED_FIELDS,
    MAX_PROMPTS,
    CompletionRequest,
)
from turnwise.server.schema.embedding_bodies import EmbeddingRequest
from turnwise.server.schema.json_object import MAX_IDENTIFIER_CHARS
from turnwise.server.schema.json_parser import MAX_JSON_NODES, MAX_VALUES
from turnwise.server.schema.sampling_parameters import BEST_OF_SPEC, CHAT_SAMPLING_FIELDS, N_SPEC, PRIORITY_SPEC
from turnwise.server.schema.unsupported_fields import CHAT_UNSUPPORTED_FIELDS, UnsupportedField

# Fields that are in no published API.
EXTENSION_FIELDS = frozenset({
    "top_k", "min_p", "typical_p", "repetition_penalty", "no_repeat_ngram_size", "min_tokens", "num_beams",
    "penalty_alpha", "num_beam_groups", "diversity_penalty", "length_penalty", "early_stopping", "best_of",
    "stop_token_ids", "ignore_eos", "bad_words", "guided_regex", "guided_grammar", "guided_choice",
    "chat_template_kwargs", "scenario", "knowledge", "priority", "echo", "conversation_id", "continue_final_message",
    "epsilon_cutoff", "eta_cutoff", "top_n_sigma", "context_policy", "sampling_preset",
})  # fmt: skip

# Published for /v1/completions, or for chat completions but not for responses.
COMPLETIONS_API_FIELDS = frozenset({"best_of", "echo"})
CHAT_API_FIELDS = frozenset({"frequency_penalty", "presence_penalty", "logit_bias", "seed", "stop"})

Specs = Mapping[str, ParameterSpec]
ROUTES: dict[str, tuple[type[BaseModel], Specs, Mapping[str, UnsupportedField]]] = {
    "/v1/chat/completions": (ChatCompletionRequest, CHAT_SAMPLING_FIELDS, CHAT_UNSUPPORTED_FIELDS),
    "/v1/responses": (ResponseRequest, RESPONSE_SAMPLING, RESPONSE_UNSUPPORTED),
    "/v1/responses/input_tokens": (InputTokensRequest, {}, INPUT_TOKENS_UNSUPPORTED),
    "/v1/completions": (CompletionRequest, COMPLETION_SAMPLING_FIELDS, COMPLETION_UNSUPPORTED_FIELDS),
    "/v1/embeddings": (EmbeddingRequest, {}, {}),
}
_EXTENSIONS_OF: Mapping[type[BaseModel], frozenset[str]] = {
    CompletionRequest: EXTENSION_FIELDS - COMPLETIONS_API_FIELDS,
    ResponseRequest: EXTENSION_FIELDS | CHAT_API_FIELDS,
}
_COLUMNS = ("| field | support | values |", "| --- | --- | --- |")

PAGE_HEADER = f"""# Request fields

Every field takes effect exactly as documented or is rejected with status 400 and an error that names the field. No
field is accepted and ignored. `null` is the same as an absent field, at every depth of the body. The error for an
unknown field names the most similar known field.

Messages that this server returned are accepted as input: a message of a response or of a stored conversation may have
the fields that the response had or that a client library added (`id`, `index`, `finish_reason`, `logprobs`,
`annotations`, `refusal`, `reasoning_content`, `parsed`, `index` of a tool call, and others that are null or empty). Of
these fields, only `refusal` reaches the model, as text of the assistant.

All limits are the published ones or wider, except:

* limits that are not published: the number of prompts of a completion ({MAX_PROMPTS}), the length of `name`, `user`
  and `prompt_cache_key` ({MAX_IDENTIFIER_CHARS} characters), the length of a string of `stop` ({MAX_STRING}
  characters), and the number of tokens in `logit_bias` ({MAX_LOGIT_BIAS_ENTRIES});
* the minimum of `best_of` is 1; the published minimum is 0;
* the size of a body, which is set with an option of `turnwise serve`, and its structure: at most {MAX_JSON_NODES:,}
  arrays, objects and fields, and at most {MAX_VALUES:,} values.

*Generated with `python -m turnwise.server.field_reference`; a test checks that this page is up to date.*
"""


def render_markdown() -> str:
    """The Markdown text of the page."""
    sections = [PAGE_HEADER]
    for route, (model, specs, unsupported) in ROUTES.items():
        fields = model.model_json_schema()["properties"]
        extension_names = _EXTENSIONS_OF.get(model, EXTENSION_FIELDS)
        published = [name for name in sorted(fields) if name not in extension_names]
        extensions = [name for name in sorted(fields) if name in extension_names]
        sections.append(f"## `POST {route}`\n")
        for title, names in (("Published fields", published), ("Extensions", extensions)):
            if names:
                rows = [_row(name, fields[name], specs, unsupported) for name in names]
                sections += [f"### {title}\n", "\n".join([*_COLUMNS, *rows]) + "\n"]
    return "\n".join(sections)


def _row(name: str, schema: dict[str, Any], specs: Specs, unsupported: Mapping[str, UnsupportedField]) -> str:
    if name in unsupported:
        return _unsupported_row(unsupported[name])
    spec = {"n": N_SPEC, "best_of": BEST_OF_SPEC, "priority": PRIORITY_SPEC, **specs}.get(name)
    values = _bounds(spec) if spec is not None else _json_types(schema)
    return f"| `{name}` | {schema.get('description', 'Supported.')} | {values} |"


def _unsupported_row(field: UnsupportedField) -> str:
    accepted = ", ".join(f"`{json.dumps(value)}`" for value in field.neutral_values)
    return f"| `{field.name}` | *Not supported: {field.reason}.* | {f'only {accepted}' if accepted else '—'} |"


def _bounds(spec: ParameterSpec) -> str:
    """The bounds and the default in words."""
    terms = [spec.bounds] if spec.bounds and not spec.is_list and abs(spec.maximum or 0) < 1e9 else []
    if spec.kind is bool:
        terms = ["true, false or " + ", ".join(map(repr, spec.literals)) if spec.literals else "true or false"]
    if spec.is_list:
        terms = [f"one value or a list of up to {spec.maximum:g}"]
    if spec.default not in (None, (), False):
        terms.append(f"default {spec.default:g}")
    return ", ".join(terms) or "an integer"


def _json_types(schema: dict[str, Any]) -> str:
    types = [option.get("type") or ("enum" in option and _enum(option)) for option in schema.get("anyOf", [schema])]
    return ", ".join(str(name) for name in types if name and name != "null") or "see the description"


def _enum(option: dict[str, Any]) -> str:
    return " ".join(f"`{json.dumps(value)}`" for value in option["enum"])


if __name__ == "__main__":
    print(render_markdown(), end="")
