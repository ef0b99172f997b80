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

from turnwise.chat.service import Turn
from turnwise.core.errors import InvalidParameter
from turnwise.core.messages import Message
from turnwise.core.parameters import SPECS
from turnwise.core.sampling_presets import Preset
from turnwise.server.schema.context_fields import SCHEMA as CONTEXT_SCHEMA
from turnwise.server.schema.context_fields import read_context_policy
from turnwise.server.schema.pydantic_fields import guided_fields, refused_fields, sampling_fields
from turnwise.server.schema.chat_messages import SCHEMA as MESSAGES_SCHEMA
from turnwise.server.schema.chat_messages import read_messages
from turnwise.server.schema.unsupported_fields import (
    BEST_OF,
    PRIORITY,
    SAMPLING,
    UNSUPPORTED,
    N,
    check_sampling,
    read_best_of,
    sampling_schema,
)
from turnwise.server.schema.response_format import GUIDED_SCHEMAS, RESPONSE_FORMAT_SCHEMA, one_format, read_response_format
from turnwise.server.schema.metadata import SCHEMA as METADATA_SCHEMA
from turnwise.server.schema.metadata import read_metadata
from turnwise.server.schema.json_object import MAX_IDENTIFIER
from turnwise.server.schema.prediction import SCHEMA as PREDICTION_SCHEMA
from turnwise.server.schema.prediction import read_prediction
from turnwise.server.schema.tool_json_schemas import TOOL_SCHEMAS
from turnwise.server.schema.tool_definitions import (
    Offer,
    one_offer,
    read_function_call,
    read_functions,
    read_tool_choice,
    read_tools,
)

_TOOLS = {
    "tools": read_tools,
    "tool_choice": read_tool_choice,
    "functions": read_functions,
    "function_call": read_function_call,
}


Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
Verbosity = Literal["low", "medium", "high"]


def template_variables(extra: dict[str, Any] | None, effort: str | None, verbosity: str | None) -> dict[str, Any]:
    """Values for the chat template. The published default of 'reasoning_effort' and 'verbosity' needs no template."""
    published = (("reasoning_effort", effort, "none"), ("verbosity", verbosity, "medium"))
    return dict(extra or {}) | {name: value for name, value, neutral in published if value not in (None, neutral)}


class Strict(BaseModel):
    """A body in which an unknown field is an error."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)


class StreamOptions(Strict):
    """What a stream carries besides the answer."""

    include_usage: Annotated[StrictBool | None, Field(description="A last chunk with the token counts.")] = None
    include_obfuscation: Annotated[
        StrictBool | None,
        Field(description="Fill every chunk up with random letters, so that its length does not tell its content."),
    ] = None


class _Request(Strict):
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
        Field(max_length=MAX_IDENTIFIER, description="Noted in the log, and kept with a stored completion."),
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
        Preset | None,
        Field(
            description="Values for parameters that neither the request nor the model sets: 'api' are the published "
            "defaults, 'chat' those of the chat page (its values stand in /v1/models)."
        ),
    ] = None
    context_policy: Annotated[Any, BeforeValidator(read_context_policy), WithJsonSchema(CONTEXT_SCHEMA)] = None
    n: Annotated[Any, BeforeValidator(partial(check_sampling, N)), WithJsonSchema(sampling_schema(N))] = None
    best_of: Annotated[
        Any, BeforeValidator(partial(check_sampling, BEST_OF)), WithJsonSchema(sampling_schema(BEST_OF))
    ] = None
    priority: Annotated[
        Any, BeforeValidator(partial(check_sampling, PRIORITY)), WithJsonSchema(sampling_schema(PRIORITY))
    ] = None
    prediction: Annotated[Any, BeforeValidator(read_prediction), WithJsonSchema(PREDICTION_SCHEMA)] = None
    prompt_cache_key: Annotated[
        StrictStr | None,
        Field(
            max_length=MAX_IDENTIFIER,
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
        Effort | None,
        Field(description="How long the model thinks, where its chat template has such a dial."),
    ] = None
    verbosity: Annotated[
        Verbosity | None,
        Field(description="How much the model says, where its chat template has such a dial."),
    ] = None
    chat_template_kwargs: Annotated[
        dict[StrictStr, Any] | None, Field(description="Further values for the model's chat template.")
    ] = None

    def to_chat_request(self) -> Turn:
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
        offer = self.offer
        return Turn(
            messages,
            self._asked(),
            self.conversation_id,
            bool(self.continue_final_message),
            n=self.n or 1,
            best_of=read_best_of(self.best_of, self.n, bool(self.stream)),
            format=one_format([self.response_format, *(getattr(self, name) for name in GUIDED_SCHEMAS)]),
            chat_template_kwargs=template_variables(self.chat_template_kwargs, self.reasoning_effort, self.verbosity),
            tools=offer.tools,
            tool_choice=offer.choice,
            parallel_tool_calls=offer.parallel,
            context_policy=self.context_policy,
            preset=self.sampling_preset or "api",
            echo=bool(self.echo),
            prediction=self.prediction,
            cache_key=self.prompt_cache_key or "",
            priority=self.priority or 0,
        )

    @cached_property
    def offer(self) -> Offer:
        """The tools and the choice among them. Raises `InvalidParameter` where the fields contradict each other."""
        said = {name: getattr(self, name) for name in _TOOLS}
        return one_offer(
            said["tools"], said["tool_choice"], self.parallel_tool_calls, said["functions"], said["function_call"]
        )

    def _asked(self) -> dict[str, Any]:
        """The generation parameters that were said; both names of the token limit mean one parameter."""
        said = {name: value for name in SAMPLING if (value := getattr(self, name)) is not None}
        limit = said.pop("max_completion_tokens", None)
        if limit is not None and said.setdefault("max_tokens", limit) != limit:
            raise InvalidParameter(
                "max_tokens",
                f"'max_tokens' ({said['max_tokens']}) and 'max_completion_tokens' ({limit}) differ; send one of them.",
            )
        assert said.keys() <= SPECS.keys()
        return said

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with a chunk of token counts."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    @property
    def obfuscated(self) -> bool:
        """Whether the chunks of a stream are filled up to lengths that tell little."""
        return self.stream_options is not None and bool(self.stream_options.include_obfuscation)


def _tool_fields() -> dict[str, Any]:
    return {
        name: (Annotated[Any, BeforeValidator(read), WithJsonSchema(TOOL_SCHEMAS[name])], None)
        for name, read in _TOOLS.items()
    }


CompletionRequest: type[_Request] = create_model(
    "CompletionRequest",
    __base__=_Request,
    __doc__="A request for the next message.",
    **sampling_fields(SAMPLING),
    **refused_fields(UNSUPPORTED),
    **guided_fields(),
    **_tool_fields(),
)


def _title(value: Any) -> Any:
    """White space of any kind becomes single blanks: a title is one line."""
    return " ".join(value.split()) if isinstance(value, str) else value


Title = Annotated[StrictStr, BeforeValidator(_title), Field(max_length=200)]


class NewConversation(Strict):
    """A conversation to begin."""

    title: Annotated[Title, Field(description="Left empty, it is taken from the first message.")] = ""
    model: Annotated[StrictStr, Field(max_length=200)] = "latest"


class ChangedConversation(Strict):
    """What may be changed of a conversation: at least one of title and head."""

    title: Annotated[Title | None, Field(min_length=1)] = None
    head: Annotated[
        StrictStr | None,
        Field(max_length=100, description="Show the branch of this message; the head becomes the latest one below it."),
    ] = None

    @model_validator(mode="after")
    def _not_empty(self) -> "ChangedConversation":
        if self.title is None and self.head is None:
            raise InvalidParameter("title", "Send a 'title' or a 'head'; nothing else can be changed.")
        return self
