"""`POST /v1/completions`, the older interface: what may be asked of it, and how that becomes turns."""

from functools import partial
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StrictBool, StrictStr, WithJsonSchema, create_model

from turnwise.chat.service import ChatRequest
from turnwise.core.errors import InvalidParameter
from turnwise.core.parameters import PARAMETER_SPECS, ParameterSpec
from turnwise.server.schema.chat_completion_request import RequestBody, StreamOptions
from turnwise.server.schema.json_object import MAX_IDENTIFIER_CHARS, invalid_field
from turnwise.server.schema.pydantic_fields import guided_fields, rejected_fields, sampling_fields
from turnwise.server.schema.response_format import GUIDED_SCHEMAS, resolve_format
from turnwise.server.schema.unsupported_fields import (
    BEST_OF_SPEC,
    N_SPEC,
    PRIORITY_SPEC,
    UnsupportedField,
    check_parameter,
    parameter_json_schema,
    resolve_best_of,
)

MAX_PROMPTS = 2048  # as published for the inputs of embeddings
Prompt = str | tuple[int, ...]

DEFAULT_MAX_TOKENS = 16  # as published
MAX_TOKENS_SPEC = ParameterSpec(
    "max_tokens",
    int,
    DEFAULT_MAX_TOKENS,
    "Most tokens to generate; 0, with 'echo', generates none.",
    low=0,
    optional=True,
)
LOGPROBS_SPEC = ParameterSpec(
    "logprobs", int, None, "Report the log-probability of every token and of so many of the likeliest in its place.",
    low=0, high=5, optional=True,
)  # fmt: skip
# Everything that shapes the distribution, and these three in the older interface's own words.
_RENAMED_SPECS = {"max_tokens": MAX_TOKENS_SPEC, "logprobs": LOGPROBS_SPEC}
COMPLETION_SAMPLING_FIELDS = {
    name: spec for name, spec in PARAMETER_SPECS.items() if name not in ("top_logprobs", *_RENAMED_SPECS)
} | _RENAMED_SPECS
COMPLETION_UNSUPPORTED_FIELDS = {
    "suffix": UnsupportedField("suffix", ("",), "the models here write on from a text and fill no gap in one"),
}


def read_prompts(value: Any) -> tuple[Prompt, ...]:
    """The prompts of a completion; one that is missing, null or "" begins a new document. Raises `InvalidParameter`."""
    return read_prompt_list("" if value is None else value, "prompt", allow_empty=True)


def read_prompt_list(value: Any, name: str, *, allow_empty: bool = False) -> tuple[Prompt, ...]:
    """One text or several, as strings or as token ids. Raises `InvalidParameter`."""

    def is_text(entry: Any) -> bool:
        if isinstance(entry, str):
            return allow_empty or entry != ""
        return isinstance(entry, list) and bool(entry) and all(type(id) is int and 0 <= id < 2**31 for id in entry)

    entries = [value] if is_text(value) else value
    if not isinstance(entries, list) or not entries or not all(map(is_text, entries)):
        raise invalid_field(name, "must be a string, a list of token ids, or a list of either, and not empty")
    if len(entries) > MAX_PROMPTS:
        raise invalid_field(name, f"takes at most {MAX_PROMPTS} entries, got {len(entries)}")
    return tuple(entry if isinstance(entry, str) else tuple(entry) for entry in entries)


_IDS: dict[str, Any] = {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 0}}


def prompt_list_schema(description: str, text: dict[str, Any]) -> dict[str, Any]:
    """The schema of a field that `read_texts` reads; `text` is that of a string in it."""
    several = {"type": "array", "minItems": 1, "maxItems": MAX_PROMPTS, "items": {"anyOf": [text, _IDS]}}
    return {"description": description, "anyOf": [text, _IDS, several]}


PROMPTS_SCHEMA = prompt_list_schema(
    f"A text or its token ids, or a list of up to {MAX_PROMPTS} of either; left out or empty: a new document.",
    {"type": "string"},
)


class _CompletionRequest(RequestBody):
    prompt: Annotated[
        Any, Field(validate_default=True), BeforeValidator(read_prompts), WithJsonSchema(PROMPTS_SCHEMA)
    ] = None
    model: Annotated[StrictStr, Field(description="A served model, or 'latest' or 'stable'.")]
    echo: Annotated[StrictBool | None, Field(description="Put the prompt before its continuation.")] = None
    stream: Annotated[StrictBool | None, Field(description="Send the text as it grows, as server-sent events.")] = None
    stream_options: Annotated[
        StreamOptions | None, Field(description="With 'stream' only; include_usage adds a last chunk of token counts.")
    ] = None
    user: Annotated[StrictStr | None, Field(max_length=MAX_IDENTIFIER_CHARS, description="Noted in the log.")] = None
    n: Annotated[
        Any, BeforeValidator(partial(check_parameter, N_SPEC)), WithJsonSchema(parameter_json_schema(N_SPEC))
    ] = None
    best_of: Annotated[
        Any,
        BeforeValidator(partial(check_parameter, BEST_OF_SPEC)),
        WithJsonSchema(parameter_json_schema(BEST_OF_SPEC)),
    ] = None

    priority: Annotated[
        Any,
        BeforeValidator(partial(check_parameter, PRIORITY_SPEC)),
        WithJsonSchema(parameter_json_schema(PRIORITY_SPEC)),
    ] = None

    def to_chat_requests(self) -> list[ChatRequest]:
        """A turn for every prompt. Raises `InvalidParameter` where fields contradict each other."""
        if self.stream_options is not None and not self.stream:
            raise InvalidParameter("stream_options", "'stream_options' is only allowed together with 'stream': true.")
        values = {name: value for name in COMPLETION_SAMPLING_FIELDS if (value := getattr(self, name)) is not None}
        most = values.pop("max_tokens", DEFAULT_MAX_TOKENS)
        if most == 0 and not self.echo:
            raise invalid_field("max_tokens", "can only be 0 together with 'echo': true, which sends the prompt back")
        top = values.pop("logprobs", None)
        asked = values | ({"max_tokens": most} if most else {})
        if top is not None:
            asked |= {"logprobs": True, "top_logprobs": top}
        best_of = resolve_best_of(self.best_of, self.n, bool(self.stream))
        if len(self.prompt) * max(best_of, self.n or 1) > MAX_PROMPTS:
            raise invalid_field("n", f"times the number of prompts is more than {MAX_PROMPTS} texts")
        format = resolve_format([getattr(self, name) for name in GUIDED_SCHEMAS])
        reads = most == 0 or (self.echo and top is not None)
        return [
            ChatRequest(
                (),
                asked,
                prompt=prompt,
                n=self.n or 1,
                best_of=best_of,
                format=format,
                prompt_output="logprobs" if reads else "nothing",
                prompt_only=most == 0,
                priority=self.priority or 0,
            )
            for prompt in self.prompt
        ]

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with a chunk of token counts."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    @property
    def include_obfuscation(self) -> bool:
        """Whether the chunks of a stream are filled up to lengths that tell little."""
        return self.stream_options is not None and bool(self.stream_options.include_obfuscation)


CompletionRequest: type[_CompletionRequest] = create_model(
    "TextCompletionRequest",
    __base__=_CompletionRequest,
    __doc__="A request for the continuation of a text.",
    **sampling_fields(COMPLETION_SAMPLING_FIELDS),
    **rejected_fields(COMPLETION_UNSUPPORTED_FIELDS),
    **guided_fields(),
)
