"""What a client may ask, and how it becomes a turn."""

from functools import cached_property, partial
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictStr,
    WithJsonSchema,
    create_model,
    model_validator,
)

from turnwise.chat.service import ChatRequest
from turnwise.core.errors import InvalidParameter
from turnwise.core.messages import Message
from turnwise.core.parameters import PARAMETER_SPECS
from turnwise.core.sampling_presets import SamplingPreset
from turnwise.server.schema.chat_messages import SCHEMA as MESSAGES_SCHEMA
from turnwise.server.schema.chat_messages import read_messages
from turnwise.server.schema.context_fields import SCHEMA as CONTEXT_SCHEMA
from turnwise.server.schema.context_fields import read_context_policy
from turnwise.server.schema.json_object import MAX_IDENTIFIER_CHARS
from turnwise.server.schema.metadata import SCHEMA as METADATA_SCHEMA
from turnwise.server.schema.metadata import read_metadata
from turnwise.server.schema.prediction import SCHEMA as PREDICTION_SCHEMA
from turnwise.server.schema.prediction import read_prediction
from turnwise.server.schema.pydantic_fields import guided_fields, rejected_fields, sampling_fields
from turnwise.server.schema.response_format import (
    GUIDED_SCHEMAS,
    RESPONSE_FORMAT_SCHEMA,
    read_response_format,
    resolve_format,
)
from turnwise.server.schema.tool_definitions import (
    ToolConfig,
    read_function_call,
    read_functions,
    read_tool_choice,
    read_tools,
    resolve_tool_config,
)
from turnwise.server.schema.tool_json_schemas import TOOL_SCHEMAS
from turnwise.server.schema.unsupported_fields import (
    BEST_OF_SPEC,
    CHAT_SAMPLING_FIELDS,
    N_SPEC,
    PRIORITY_SPEC,
    UNSUPPORTED_FIELDS,
    check_parameter,
    parameter_json_schema,
    resolve_best_of,
)

_TOOLS = {
    "tools": read_tools,
    "tool_choice": read_tool_choice,
    "functions": read_functions,
    "function_call": read_function_call,
}


ReasoningEffort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
Verbosity = Literal["low", "medium", "high"]


def template_variables(extra: dict[str, Any] | None, effort: str | None, verbosity: str | None) -> dict[str, Any]:
    """Values for the chat template. The published default of 'reasoning_effort' and 'verbosity' needs no template."""
    published = (("reasoning_effort", effort, "none"), ("verbosity", verbosity, "medium"))
    return dict(extra or {}) | {name: value for name, value, neutral in published if value not in (None, neutral)}


class RequestBody(BaseModel):
    """A body in which an unknown field is an error."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)


class StreamOptions(RequestBody):
    """What a stream carries besides the answer."""

    include_usage: Annotated[StrictBool | None, Field(description="A last chunk with the token counts.")] = None
    include_obfuscation: Annotated[
        StrictBool | None,
        Field(description="Fill every chunk up with random letters, so that its length does not tell its content."),
    ] = None


class _ChatCompletionRequest(RequestBody):
    messages: Annotated[Any, BeforeValidator(read_messages), WithJsonSchema(MESSAGES_SCHEMA)]
    model: Annotated[StrictStr, Field(description="A served model, or 'latest' or 'stable'.")]
    stream: Annotated[StrictBool | None, Field(description="Send the answer as it grows, as server-sent events.")] = (
        None
    )
    stream_options: Annotated[
        StreamOptions | None, Field(description="With 'stream' only; include_usage adds a last chunk of token counts.")
    ] = None
    user: Annotated[
        StrictStr | None,
        Field(max_length=MAX_IDENTIFIER_CHARS, description="Noted in the log, and kept with a stored completion."),
    ] = None
    safety_identifier: Annotated[
        StrictStr | None, Field(max_length=128, description="Kept with a stored completion.")
    ] = None
    store: Annotated[
        StrictBool | None, Field(description="Keep the completion, to be found under /v1/chat/completions.")
    ] = None
    metadata: Annotated[Any, BeforeValidator(read_metadata), WithJsonSchema(METADATA_SCHEMA)] = None
    conversation_id: Annotated[
        StrictStr | None,
        Field(min_length=1, max_length=100, description="Keep messages and answer in this conversation."),
    ] = None
    continue_final_message: Annotated[
        StrictBool | None, Field(description="Go on with the last message, which must be the assistant's.")
    ] = None

    sampling_preset: Annotated[
        SamplingPreset | None,
        Field(
            description="Values for parameters that neither the request nor the model sets: 'api' are the published "
            "defaults, 'chat' those of the chat page (its values stand in /v1/models)."
        ),
    ] = None
    context_policy: Annotated[Any, BeforeValidator(read_context_policy), WithJsonSchema(CONTEXT_SCHEMA)] = None
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
    prediction: Annotated[Any, BeforeValidator(read_prediction), WithJsonSchema(PREDICTION_SCHEMA)] = None
    prompt_cache_key: Annotated[
        StrictStr | None,
        Field(
            max_length=MAX_IDENTIFIER_CHARS,
            description="Share what was read of prompts only with requests that say the same.",
        ),
    ] = None
    echo: Annotated[
        StrictBool | None,
        Field(description="With 'continue_final_message': the answer begins with the message that it goes on with."),
    ] = None
    response_format: Annotated[Any, BeforeValidator(read_response_format), WithJsonSchema(RESPONSE_FORMAT_SCHEMA)] = (
        None
    )
    parallel_tool_calls: Annotated[
        StrictBool | None, Field(description="One answer may hold several calls, where not told otherwise.")
    ] = None
    reasoning_effort: Annotated[
        ReasoningEffort | None,
        Field(description="How long the model thinks, where its chat template has such a dial."),
    ] = None
    verbosity: Annotated[
        Verbosity | None,
        Field(description="How much the model says, where its chat template has such a dial."),
    ] = None
    chat_template_kwargs: Annotated[
        dict[StrictStr, Any] | None, Field(description="Further values for the model's chat template.")
    ] = None

    def to_chat_request(self) -> ChatRequest:
        """The request as the chat room takes it. Raises `InvalidParameter` where fields contradict each other."""
        if self.stream_options is not None and not self.stream:
            raise InvalidParameter("stream_options", "'stream_options' is only allowed together with 'stream': true.")
        messages: tuple[Message, ...] = self.messages
        if self.continue_final_message and messages[-1].role != "assistant":
            raise InvalidParameter(
                "continue_final_message",
                f"'continue_final_message' needs an assistant message at the end, not the {messages[-1].role}'s.",
            )
        if self.echo and not self.continue_final_message:
            raise InvalidParameter("echo", "'echo' repeats what 'continue_final_message' goes on with: set that too.")
        tool_config = self.tool_config
        return ChatRequest(
            messages,
            self._sampling_parameters(),
            self.conversation_id,
            bool(self.continue_final_message),
            n=self.n or 1,
            best_of=resolve_best_of(self.best_of, self.n, bool(self.stream)),
            format=resolve_format([self.response_format, *(getattr(self, name) for name in GUIDED_SCHEMAS)]),
            chat_template_kwargs=template_variables(self.chat_template_kwargs, self.reasoning_effort, self.verbosity),
            tools=tool_config.tools,
            tool_choice=tool_config.choice,
            parallel_tool_calls=tool_config.parallel_tool_calls,
            context_policy=self.context_policy,
            preset=self.sampling_preset or "api",
            echo=bool(self.echo),
            prediction=self.prediction,
            prompt_cache_key=self.prompt_cache_key or "",
            priority=self.priority or 0,
        )

    @cached_property
    def tool_config(self) -> ToolConfig:
        """The tools and the choice among them. Raises `InvalidParameter` where the fields contradict each other."""
        values = {name: getattr(self, name) for name in _TOOLS}
        return resolve_tool_config(
            values["tools"],
            values["tool_choice"],
            self.parallel_tool_calls,
            values["functions"],
            values["function_call"],
        )

    def _sampling_parameters(self) -> dict[str, Any]:
        """The generation parameters that were said; both names of the token limit mean one parameter."""
        values = {name: value for name in CHAT_SAMPLING_FIELDS if (value := getattr(self, name)) is not None}
        limit = values.pop("max_completion_tokens", None)
        if limit is not None and values.setdefault("max_tokens", limit) != limit:
            raise InvalidParameter(
                "max_tokens",
                f"'max_tokens' ({values['max_tokens']}) and 'max_completion_tokens' ({limit}) differ; "
                "send one of them.",
            )
        assert values.keys() <= PARAMETER_SPECS.keys()
        return values

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with a chunk of token counts."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    @property
    def include_obfuscation(self) -> bool:
        """Whether the chunks of a stream are filled up to lengths that tell little."""
        return self.stream_options is not None and bool(self.stream_options.include_obfuscation)


def _tool_fields() -> dict[str, Any]:
    return {
        name: (Annotated[Any, BeforeValidator(read), WithJsonSchema(TOOL_SCHEMAS[name])], None)
        for name, read in _TOOLS.items()
    }


ChatCompletionRequest: type[_ChatCompletionRequest] = create_model(
    "CompletionRequest",
    __base__=_ChatCompletionRequest,
    __doc__="A request for the next message.",
    **sampling_fields(CHAT_SAMPLING_FIELDS),
    **rejected_fields(UNSUPPORTED_FIELDS),
    **guided_fields(),
    **_tool_fields(),
)


def _title(value: Any) -> Any:
    """White space of any kind becomes single blanks: a title is one line."""
    return " ".join(value.split()) if isinstance(value, str) else value


Title = Annotated[StrictStr, BeforeValidator(_title), Field(max_length=200)]


class ConversationCreate(RequestBody):
    """A conversation to begin."""

    title: Annotated[Title, Field(description="Left empty, it is taken from the first message.")] = ""
    model: Annotated[StrictStr, Field(max_length=200)] = "latest"


class ConversationUpdate(RequestBody):
    """What may be changed of a conversation: at least one of title and head."""

    title: Annotated[Title | None, Field(min_length=1)] = None
    head: Annotated[
        StrictStr | None,
        Field(max_length=100, description="Show the branch of this message; the head becomes the latest one below it."),
    ] = None

    @model_validator(mode="after")
    def _not_empty(self) -> "ConversationUpdate":
        if self.title is None and self.head is None:
            raise InvalidParameter("title", "Send a 'title' or a 'head'; nothing else can be changed.")
        return self
