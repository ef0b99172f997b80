"""Request fields that several routes have."""

from typing import Annotated, Any, Literal

from pydantic import Field, StrictBool, StrictStr

from turnwise.core.collected_answers import Consent
from turnwise.core.errors import InvalidParameter
from turnwise.core.parameter_spec import ParameterSpec
from turnwise.server.schema.json_object import MAX_IDENTIFIER_CHARS
from turnwise.server.schema.request_field import EXTENSION, Parameter, RequestBody, Target

ReasoningEffort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
Verbosity = Literal["low", "medium", "high"]

ServedModelName = Annotated[StrictStr, Field(description="A served model, or 'latest' or 'stable'.")]
LoggedUser = Annotated[
    StrictStr | None, Field(max_length=MAX_IDENTIFIER_CHARS, description="Id of the end user; written to the log.")
]

# Parameters of the server; the engine does not know them.
N_SPEC = ParameterSpec(
    "n", int, 1, "Number of choices to generate.", minimum=1, maximum=128, neutral=1,
    group="basic", label="Number of answers", help="Writes several answers side by side, to choose from.",
)  # fmt: skip
BEST_OF_SPEC = ParameterSpec(
    "best_of", int, 1,
    "Number of choices to generate; the 'n' with the highest average log-probability per token are returned, or those "
    "that the model's discriminator prefers (`turnwise serve --best-of discriminator`).",
    minimum=1, maximum=128, neutral=1,
)  # fmt: skip
PRIORITY_SPEC = ParameterSpec(
    "priority", int, 0, "Priority among the requests of one API key; the lowest number runs first.",
    minimum=-100, maximum=100, neutral=0,
)  # fmt: skip

BestOf = Annotated[int | None, Parameter(BEST_OF_SPEC), Target("output.best_of")]


class SchedulingFields(RequestBody):
    """Order of requests."""

    priority: Annotated[int | None, Parameter(PRIORITY_SPEC), EXTENSION, Target("scheduling.priority")] = None


class ConsentFields(RequestBody):
    """Consent to the use of a request."""

    collect: Annotated[
        Consent | None,
        Field(
            description="What may be collected of the request to improve the model: 'off', 'metadata' (ratings and "
            "counts) or 'full' (also texts). The stricter of this, the API key's and the server's holds."
        ),
        EXTENSION,
        Target("consent"),
    ] = None


class PromptCacheFields(RequestBody):
    """Use of the prompt cache."""

    prompt_cache_key: Annotated[
        StrictStr | None,
        Field(
            max_length=MAX_IDENTIFIER_CHARS,
            description="Share the prompt cache only with requests that send the same key.",
        ),
        Target("scheduling.prompt_cache_key"),
    ] = None


class ChatTemplateFields(RequestBody):
    """Variables of the chat template."""

    chat_template_kwargs: Annotated[
        dict[StrictStr, Any] | None, Field(description="Additional variables for the model's chat template."), EXTENSION
    ] = None

    def template_variables(self, effort: str | None, verbosity: str | None) -> dict[str, Any]:
        """Return the variables for the chat template: `chat_template_kwargs`, `reasoning_effort` and `verbosity`.

        The published defaults of the last two are left out, because most templates do not know these variables.
        """
        published = (("reasoning_effort", effort, "none"), ("verbosity", verbosity, "medium"))
        variables = {name: value for name, value, default in published if value not in (None, default)}
        return dict(self.chat_template_kwargs or {}) | variables


class StreamOptions(RequestBody):
    """Options of a stream."""

    include_usage: Annotated[StrictBool | None, Field(description="Send a last chunk with the usage.")] = None
    include_obfuscation: Annotated[
        StrictBool | None, Field(description="Pad chunks with random letters, so that their lengths tell little.")
    ] = None


class CompletionFields(SchedulingFields, ConsentFields):
    """Optional fields of chat completions and completions."""

    stream: Annotated[
        StrictBool | None, Field(description="Send the answer as server-sent events while it is generated.")
    ] = None
    stream_options: Annotated[StreamOptions | None, Field(description="Only with 'stream'.")] = None
    n: Annotated[int | None, Parameter(N_SPEC), Target("output.n")] = None
    best_of: BestOf = None

    def check_stream_options(self) -> None:
        """Raise `InvalidParameter` if there are `stream_options` without `stream`."""
        if self.stream_options is not None and not self.stream:
            raise stream_options_error()

    def check_best_of(self) -> None:
        """Raise `InvalidParameter` if `best_of` contradicts `n` or `stream`."""
        best_of, n = self.best_of, self.n or 1
        if best_of is None:
            return
        if best_of < n:
            raise InvalidParameter("best_of", f"'best_of' ({best_of}) must not be less than 'n' ({n}).")
        if self.stream and best_of > n:
            raise InvalidParameter(
                "best_of", "'best_of' cannot be streamed: the best choices are known only when all are complete. "
                "Leave 'stream' out.", code="unsupported_value",
            )  # fmt: skip

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
