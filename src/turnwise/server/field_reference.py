"""Generates `docs/http.md`, the reference of all request fields, from the request models.

python -m turnwise.server.field_reference > docs/http.md
"""

import json
from typing import Any

from pydantic.fields import FieldInfo

from turnwise.core.parameter_spec import MAX_LOGIT_BIAS_ENTRIES, MAX_STRING, ParameterSpec
from turnwise.server.responses.response_request import InputTokensRequest, ResponseRequest
from turnwise.server.schema.answer_tokens_request import AnswerTokensRequest
from turnwise.server.schema.attention_bodies import AttentionRequest
from turnwise.server.schema.chat_completion_request import ChatCompletionRequest
from turnwise.server.schema.classification_bodies import MAX_INPUTS, MAX_SCORES, ClassifyRequest, TagRequest
from turnwise.server.schema.completion_request import MAX_PROMPTS, CompletionRequest
from turnwise.server.schema.embedding_bodies import EmbeddingRequest
from turnwise.server.schema.json_object import MAX_IDENTIFIER_CHARS
from turnwise.server.schema.json_parser import MAX_JSON_NODES, MAX_VALUES
from turnwise.server.schema.knowledge_bodies import KnowledgeSearchRequest
from turnwise.server.schema.next_token_request import NextTokenRequest
from turnwise.server.schema.request_field import Extension, Parameter, RequestBody, find_metadata
from turnwise.server.schema.unsupported_fields import UnsupportedField

BODIES: dict[str, type[RequestBody]] = {
    "/v1/chat/completions": ChatCompletionRequest,
    "/v1/responses": ResponseRequest,
    "/v1/responses/input_tokens": InputTokensRequest,
    "/v1/completions": CompletionRequest,
    "/v1/embeddings": EmbeddingRequest,
    "/v1/classify": ClassifyRequest,
    "/v1/tag": TagRequest,
    "/v1/knowledge/{name}/search": KnowledgeSearchRequest,
    "/v1/next_token": NextTokenRequest,
    "/v1/answer_tokens": AnswerTokensRequest,
    "/v1/attention": AttentionRequest,
}
OWN_ROUTES = frozenset(
    {"/v1/classify", "/v1/tag", "/v1/knowledge/{name}/search", "/v1/next_token", "/v1/answer_tokens", "/v1/attention"}
)  # OpenAI's API has no such route
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

Classification (`/v1/classify`, `/v1/tag`) is not in OpenAI's API. A request has at most {MAX_INPUTS} texts,
a response at most {MAX_SCORES:,} scores.

Knowledge bases (`/v1/knowledge`) are not in OpenAI's API. A document is sent as the body of `POST
/v1/knowledge/{{name}}/documents?filename=NAME`, or as the field `file` of a form; its size is set with an option of
`turnwise serve`. `metadata[KEY]=VALUE` in the query sets its metadata. The routes are listed in the
[guide](guide/knowledge.md#serve).

`POST /v1/next_token`, `POST /v1/answer_tokens` and `POST /v1/attention` are not in OpenAI's API. The first has the
fields of a chat completion; those that affect only what follows the next token are rejected. All are described in the
[guide](guide/see_and_steer.md).

Data sets (`/v1/datasets`) are not in OpenAI's API. A file is sent as the body of `POST
/v1/datasets?filename=NAME`, or as the field `file` of a form; its size is set with an option of `turnwise serve`. The
other routes have no body; they are listed in the [guide](guide/data_page.md#routes).

The text monitor (`GET /v1/monitor/…`) is not in OpenAI's API either. Its requests have no body; their parameters are
listed in the [guide](guide/monitor.md#the-page) and at `/docs`.

*Generated with `python -m turnwise.server.field_reference`; a test checks that this page is up to date.*
"""


def render_markdown() -> str:
    """The Markdown text of the page."""
    return "\n".join([PAGE_HEADER, *(render_route(route, body_model) for route, body_model in BODIES.items())])


def render_route(route: str, body_model: type[RequestBody]) -> str:
    """The section of a route: one table of its published fields and one of its extensions; one for an own route."""
    fields, schemas = body_model.model_fields, body_model.model_json_schema()["properties"]
    extensions = [name for name in sorted(fields) if find_metadata(fields[name], Extension) is not None]
    published = [name for name in sorted(fields) if name not in extensions]
    sections = [f"## `POST {route}`\n"]
    title_of_published = "Fields" if route in OWN_ROUTES else "Published fields"
    for title, names in ((title_of_published, published), ("Extensions", extensions)):
        if names:
            rows = [_row(name, fields[name], schemas[name]) for name in names]
            sections += [f"### {title}\n", "\n".join([*_COLUMNS, *rows]) + "\n"]
    return "\n".join(sections)


def _row(name: str, field: FieldInfo, schema: dict[str, Any]) -> str:
    if (unsupported := find_metadata(field, UnsupportedField)) is not None:
        return _unsupported_row(unsupported)
    parameter = find_metadata(field, Parameter)
    values = _json_types(schema) if parameter is None else _bounds(parameter.spec)
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
