"""Body of `POST /v1/completions`, and its conversion to one `ChatRequest` per prompt."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StrictBool, WithJsonSchema, create_model

from turnwise.core.chat_request import ChatRequest, OutputOptions, SchedulingOptions
from turnwise.core.parameter_spec import ParameterSpec
from turnwise.core.parameters import PARAMETER_SPECS
from turnwise.server.schema.common_fields import CompletionFields, LoggedUser, ServedModelName
from turnwise.server.schema.json_object import invalid_field
from turnwise.server.schema.response_format import GUIDED_SCHEMAS, guided_fields, resolve_format
from turnwise.server.schema.sampling_parameters import resolve_best_of, sampling_fields
from turnwise.server.schema.unsupported_fields import UnsupportedField, unsupported_fields

MAX_PROMPTS = 2048  # the published limit for the inputs of embeddings
Prompt = str | tuple[int, ...]

DEFAULT_MAX_TOKENS = 16  # as published
MAX_TOKENS_SPEC = ParameterSpec(
    "max_tokens", int, DEFAULT_MAX_TOKENS, "Maximum number of tokens to generate; 0 is allowed with 'echo'.", minimum=0,
    nullable=True,
)  # fmt: skip
LOGPROBS_SPEC = ParameterSpec(
    "logprobs", int, None,
    "Return the log-probability of every token, and of this number of the most likely tokens at its position.",
    minimum=0, maximum=5, nullable=True,
)  # fmt: skip
_RENAMED_SPECS = {"max_tokens": MAX_TOKENS_SPEC, "logprobs": LOGPROBS_SPEC}  # they differ from chat completions
COMPLETION_SAMPLING_FIELDS = {
    name: spec for name, spec in PARAMETER_SPECS.items() if name not in ("top_logprobs", *_RENAMED_SPECS)
} | _RENAMED_SPECS
COMPLETION_UNSUPPORTED_FIELDS = {
    "suffix": UnsupportedField("suffix", ("",), "the models here continue a text and cannot fill in the middle"),
}


def read_prompts(value: Any) -> tuple[Prompt, ...]:
    """Return the prompts of a completion; null or "" starts a new document. Raises `InvalidParameter`."""
    return read_prompt_list("" if value is None else value, "prompt", allow_empty=True)


def read_prompt_list(value: Any, name: str, *, allow_empty: bool = False) -> tuple[Prompt, ...]:
    """Return one or several prompts, as strings or token ids. Raises `InvalidParameter`."""

    def is_prompt(entry: Any) -> bool:
        if isinstance(entry, str):
            return allow_empty or entry != ""
        return isinstance(entry, list) and bool(entry) and all(type(id) is int and 0 <= id < 2**31 for id in entry)

    entries = [value] if is_prompt(value) else value
    if not isinstance(entries, list) or not entries or not all(map(is_prompt, entries)):
        raise invalid_field(name, "must be a string, a list of token ids, or a list of either, and not empty")
    if len(entries) > MAX_PROMPTS:
        raise invalid_field(name, f"takes at most {MAX_PROMPTS} entries, got {len(entries)}")
    return tuple(entry if isinstance(entry, str) else tuple(entry) for entry in entries)


_TOKEN_IDS_SCHEMA: dict[str, Any] = {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 0}}


def prompt_list_schema(description: str, string_schema: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON schema of a field that `read_prompt_list` reads."""
    entry = {"anyOf": [string_schema, _TOKEN_IDS_SCHEMA]}
    several = {"type": "array", "minItems": 1, "maxItems": MAX_PROMPTS, "items": entry}
    return {"description": description, "anyOf": [string_schema, _TOKEN_IDS_SCHEMA, several]}


PROMPTS_SCHEMA = prompt_list_schema(
    f"A text or its token ids, or a list of up to {MAX_PROMPTS} of either. Default: the start of a new document.",
    {"type": "string"},
)


class _CompletionRequest(CompletionFields):
    prompt: Annotated[
        Any, Field(validate_default=True), BeforeValidator(read_prompts), WithJsonSchema(PROMPTS_SCHEMA)
    ] = None
    model: ServedModelName
    echo: Annotated[StrictBool | None, Field(description="Return the prompt before its continuation.")] = None
    user: LoggedUser = None

    def to_chat_requests(self) -> list[ChatRequest]:
        """Convert to one request of the chat service per prompt.

        Raises `InvalidParameter` if fields contradict each other.
        """
        self.check_stream_options()
        sampling = {name: value for name in COMPLETION_SAMPLING_FIELDS if (value := getattr(self, name)) is not None}
        max_tokens = sampling.pop("max_tokens", DEFAULT_MAX_TOKENS)
        if max_tokens == 0 and not self.echo:
            raise invalid_field("max_tokens", "can only be 0 together with 'echo': true, which returns the prompt")
        top_logprobs = sampling.pop("logprobs", None)
        if max_tokens:
            sampling["max_tokens"] = max_tokens
        if top_logprobs is not None:
            sampling |= {"logprobs": True, "top_logprobs": top_logprobs}
        best_of = resolve_best_of(self.best_of, self.n, bool(self.stream))
        if len(self.prompt) * max(best_of, self.n or 1) > MAX_PROMPTS:
            raise invalid_field("n", f"times the number of prompts is more than {MAX_PROMPTS} choices")
        format = resolve_format([getattr(self, name) for name in GUIDED_SCHEMAS])
        needs_prompt_logprobs = max_tokens == 0 or (self.echo and top_logprobs is not None)
        output = OutputOptions(
            n=self.n or 1,
            best_of=best_of,
            format=format,
            prompt_output="logprobs" if needs_prompt_logprobs else "nothing",
            prompt_only=max_tokens == 0,
        )
        scheduling = SchedulingOptions(priority=self.priority or 0)
        return [
            ChatRequest(sampling=sampling, prompt=prompt, output=output, scheduling=scheduling)
            for prompt in self.prompt
        ]


CompletionRequest: type[_CompletionRequest] = create_model(
    "CompletionRequest",
    __base__=_CompletionRequest,
    __doc__="A text completion request.",
    **sampling_fields(COMPLETION_SAMPLING_FIELDS),
    **unsupported_fields(COMPLETION_UNSUPPORTED_FIELDS),
    **guided_fields(),
)
