"""Request fields that several routes have."""

from functools import partial
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictStr, WithJsonSchema

from turnwise.core.errors import InvalidParameter
from turnwise.server.schema.json_object import MAX_IDENTIFIER_CHARS
from turnwise.server.schema.sampling_parameters import (
    BEST_OF_SPEC,
    N_SPEC,
    PRIORITY_SPEC,
    check_parameter,
    parameter_json_schema,
)

ReasoningEffort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
Verbosity = Literal["low", "medium", "high"]

ServedModelName = Annotated[StrictStr, Field(description="A served model, or 'latest' or 'stable'.")]
LoggedUser = Annotated[
    StrictStr | None, Field(max_length=MAX_IDENTIFIER_CHARS, description="Id of the end user; written to the log.")
]
PromptCacheKey = Annotated[
    StrictStr | None,
    Field(
        max_length=MAX_IDENTIFIER_CHARS,
        description="Share the prompt cache only with requests that send the same key.",
    ),
]
ChatTemplateKwargs = Annotated[
    dict[StrictStr, Any] | None, Field(description="Additional variables for the model's chat template.")
]
Priority = Annotated[
    Any, BeforeValidator(partial(check_parameter, PRIORITY_SPEC)), WithJsonSchema(parameter_json_schema(PRIORITY_SPEC))
]


class RequestBody(BaseModel):
    """Base class of request bodies. Unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)


class StreamOptions(RequestBody):
    """Options of a stream."""

    include_usage: Annotated[StrictBool | None, Field(description="Send a last chunk with the usage.")] = None
    include_obfuscation: Annotated[
        StrictBool | None, Field(description="Pad chunks with random letters, so that their lengths tell little.")
    ] = None


class CompletionFields(RequestBody):
    """Optional fields of chat completions and completions."""

    stream: Annotated[
        StrictBool | None, Field(description="Send the answer as server-sent events while it is generated.")
    ] = None
    stream_options: Annotated[StreamOptions | None, Field(description="Only with 'stream'.")] = None
    n: Annotated[
        Any, BeforeValidator(partial(check_parameter, N_SPEC)), WithJsonSchema(parameter_json_schema(N_SPEC))
    ] = None
    best_of: Annotated[
        Any, BeforeValidator(partial(check_parameter, BEST_OF_SPEC)),
        WithJsonSchema(parameter_json_schema(BEST_OF_SPEC)),
    ] = None  # fmt: skip
    priority: Priority = None

    def check_stream_options(self) -> None:
        """Raise `InvalidParameter` if there are `stream_options` without `stream`."""
        if self.stream_options is not None and not self.stream:
            raise stream_options_error()

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with a chunk with the usage."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    @property
    def include_obfuscation(self) -> bool:
        """Whether the chunks of a stream are padded."""
        return self.stream_options is not None and bool(self.stream_options.include_obfuscation)


def stream_options_error() -> InvalidParameter:
    """Return the error for `stream_options` without `stream`."""
    return InvalidParameter("stream_options", "'stream_options' is only allowed together with 'stream': true.")


def template_variables(kwargs: dict[str, Any] | None, effort: str | None, verbosity: str | None) -> dict[str, Any]:
    """Return the variables for the chat template: `chat_template_kwargs`, `reasoning_effort` and `verbosity`.

    The published defaults of the last two are left out, because most templates do not know these variables.
    """
    published = (("reasoning_effort", effort, "none"), ("verbosity", verbosity, "medium"))
    return dict(kwargs or {}) | {name: value for name, value, default in published if value not in (None, default)}
