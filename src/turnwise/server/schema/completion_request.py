"""Body of `POST /v1/completions`, and its conversion to one `ChatRequest` per prompt."""

from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field, StrictBool, create_model

from turnwise.core.chat_request import ChatRequest
from turnwise.core.parameter_spec import ParameterSpec
from turnwise.server.schema.common_fields import CompletionFields, LoggedUser, ServedModelName
from turnwise.server.schema.json_object import invalid_field
from turnwise.server.schema.request_field import Parameter, Reader, build_chat_request
from turnwise.server.schema.response_format import GuidedFields
from turnwise.server.schema.sampling_parameters import PUBLISHED_PARAMETERS, sampling_fields
from turnwise.server.schema.unsupported_fields import UnsupportedField, unsupported_fields

MAX_PROMPTS = 2048  # the published limit for the inputs of embeddings
Prompt = str | tuple[int, ...]

DEFAULT_MAX_TOKENS = 16  # as published
# These differ from the parameters of chat completions.
MAX_TOKENS_SPEC = ParameterSpec(
    "max_tokens", int, DEFAULT_MAX_TOKENS, "Maximum number of tokens to generate; 0 is allowed with 'echo'.", minimum=0,
    nullable=True,
)  # fmt: skip
LOGPROBS_SPEC = ParameterSpec(
    "logprobs", int, None,
    "Return the log-probability of every token, and of this number of the most likely tokens at its position.",
    minimum=0, maximum=5, nullable=True,
)  # fmt: skip
UNSUPPORTED_FIELDS = {
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


class _CompletionRequest(GuidedFields, CompletionFields):
    prompt: Annotated[tuple[Prompt, ...], Reader(read_prompts, PROMPTS_SCHEMA)] = ("",)
    model: ServedModelName
    max_tokens: Annotated[int | None, Parameter(MAX_TOKENS_SPEC)] = None
    logprobs: Annotated[int | None, Parameter(LOGPROBS_SPEC)] = None
    echo: Annotated[StrictBool | None, Field(description="Return the prompt before its continuation.")] = None
    user: LoggedUser = None

    def to_chat_requests(self) -> list[ChatRequest]:
        """Convert to one request of the chat service per prompt.

        Raises `InvalidParameter` if fields contradict each other.
        """
        self.check_stream_options()
        max_tokens = DEFAULT_MAX_TOKENS if self.max_tokens is None else self.max_tokens
        if max_tokens == 0 and not self.echo:
            raise invalid_field("max_tokens", "can only be 0 together with 'echo': true, which returns the prompt")
        self.check_best_of()
        if len(self.prompt) * max(self.best_of or 1, self.n or 1) > MAX_PROMPTS:
            raise invalid_field("n", f"times the number of prompts is more than {MAX_PROMPTS} choices")
        needs_prompt_logprobs = max_tokens == 0 or (self.echo and self.logprobs is not None)
        computed: dict[str, Any] = {
            "output.format": self.resolve_format(),
            "output.prompt_output": "logprobs" if needs_prompt_logprobs else "nothing",
            "output.prompt_only": max_tokens == 0,
            "user": self.user,
        }
        if max_tokens:
            computed["sampling.max_tokens"] = max_tokens
        if self.logprobs is not None:
            computed |= {"sampling.logprobs": True, "sampling.top_logprobs": self.logprobs}
        chat_request = build_chat_request(self, computed)
        return [replace(chat_request, prompt=prompt) for prompt in self.prompt]


CompletionRequest: type[_CompletionRequest] = create_model(
    "CompletionRequest",
    __base__=_CompletionRequest,
    __doc__="A text completion request.",
    **sampling_fields(published=PUBLISHED_PARAMETERS, without=("max_tokens", "logprobs", "top_logprobs")),
    **unsupported_fields(UNSUPPORTED_FIELDS),
)
