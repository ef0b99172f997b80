"""Body of `POST /v1/chat/completions`, and its conversion to a `ChatRequest`."""

from functools import cached_property
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StrictBool, StrictStr, WithJsonSchema, create_model

from turnwise.core.chat_request import ChatRequest, ContextOptions, OutputOptions, SchedulingOptions
from turnwise.core.errors import InvalidParameter
from turnwise.core.messages import Message
from turnwise.core.parameters import PARAMETER_SPECS
from turnwise.core.sampling_presets import SamplingPreset
from turnwise.server.schema.chat_messages import MESSAGES_SCHEMA, read_messages
from turnwise.server.schema.common_fields import (
    ChatTemplateKwargs,
    CompletionFields,
    PromptCacheKey,
    ReasoningEffort,
    ServedModelName,
    Verbosity,
    template_variables,
)
from turnwise.server.schema.context_fields import CONTEXT_POLICY_SCHEMA, read_context_policy
from turnwise.server.schema.json_object import MAX_IDENTIFIER_CHARS
from turnwise.server.schema.metadata import METADATA_SCHEMA, read_metadata
from turnwise.server.schema.prediction import PREDICTION_SCHEMA, read_prediction
from turnwise.server.schema.response_format import (
    GUIDED_SCHEMAS,
    RESPONSE_FORMAT_SCHEMA,
    guided_fields,
    read_response_format,
    resolve_format,
)
from turnwise.server.schema.sampling_parameters import CHAT_SAMPLING_FIELDS, resolve_best_of, sampling_fields
from turnwise.server.schema.tool_choice import ToolConfig, read_function_call, read_tool_choice, resolve_tool_config
from turnwise.server.schema.tool_definitions import read_functions, read_tools
from turnwise.server.schema.tool_json_schemas import TOOL_SCHEMAS
from turnwise.server.schema.unsupported_fields import CHAT_UNSUPPORTED_FIELDS, unsupported_fields


class _ChatCompletionRequest(CompletionFields):
    messages: Annotated[Any, BeforeValidator(read_messages), WithJsonSchema(MESSAGES_SCHEMA)]
    model: ServedModelName
    user: Annotated[
        StrictStr | None,
        Field(
            max_length=MAX_IDENTIFIER_CHARS,
            description="Id of the end user; written to the log, and stored with a stored completion.",
        ),
    ] = None
    safety_identifier: Annotated[
        StrictStr | None, Field(max_length=128, description="Stored with a stored completion.")
    ] = None
    store: Annotated[
        StrictBool | None, Field(description="Store the completion; GET /v1/chat/completions lists it.")
    ] = None
    metadata: Annotated[Any, BeforeValidator(read_metadata), WithJsonSchema(METADATA_SCHEMA)] = None
    conversation_id: Annotated[
        StrictStr | None,
        Field(min_length=1, max_length=100, description="Store messages and answer in this conversation."),
    ] = None
    continue_final_message: Annotated[
        StrictBool | None, Field(description="Continue the last message, which must be from the assistant.")
    ] = None
    echo: Annotated[
        StrictBool | None,
        Field(description="With 'continue_final_message': the answer starts with the message that it continues."),
    ] = None
    sampling_preset: Annotated[
        SamplingPreset | None,
        Field(
            description="Defaults for parameters that neither the request nor the model sets: 'api' has the published "
            "defaults, 'chat' those of the chat page (GET /v1/models lists them)."
        ),
    ] = None
    context_policy: Annotated[Any, BeforeValidator(read_context_policy), WithJsonSchema(CONTEXT_POLICY_SCHEMA)] = None
    prediction: Annotated[Any, BeforeValidator(read_prediction), WithJsonSchema(PREDICTION_SCHEMA)] = None
    prompt_cache_key: PromptCacheKey = None
    response_format: Annotated[
        Any, BeforeValidator(read_response_format), WithJsonSchema(RESPONSE_FORMAT_SCHEMA)
    ] = None  # fmt: skip
    tools: Annotated[Any, BeforeValidator(read_tools), WithJsonSchema(TOOL_SCHEMAS["tools"])] = None
    tool_choice: Annotated[Any, BeforeValidator(read_tool_choice), WithJsonSchema(TOOL_SCHEMAS["tool_choice"])] = None
    functions: Annotated[Any, BeforeValidator(read_functions), WithJsonSchema(TOOL_SCHEMAS["functions"])] = None
    function_call: Annotated[
        Any, BeforeValidator(read_function_call), WithJsonSchema(TOOL_SCHEMAS["function_call"])
    ] = None  # fmt: skip
    parallel_tool_calls: Annotated[
        StrictBool | None, Field(description="Allow several calls in one answer. Default: true.")
    ] = None
    reasoning_effort: Annotated[
        ReasoningEffort | None, Field(description="Reasoning effort, if the chat template supports it.")
    ] = None
    verbosity: Annotated[Verbosity | None, Field(description="Verbosity, if the chat template supports it.")] = None
    chat_template_kwargs: ChatTemplateKwargs = None

    def to_chat_request(self) -> ChatRequest:
        """Convert to a request of the chat service. Raises `InvalidParameter` if fields contradict each other."""
        self.check_stream_options()
        messages: tuple[Message, ...] = self.messages
        self._check_continuation(messages)
        return ChatRequest(
            messages,
            self._sampling_parameters(),
            self.conversation_id,
            preset=self.sampling_preset or "api",
            output=OutputOptions(
                n=self.n or 1,
                best_of=resolve_best_of(self.best_of, self.n, bool(self.stream)),
                format=resolve_format([self.response_format, *(getattr(self, name) for name in GUIDED_SCHEMAS)]),
                echo=bool(self.echo),
                prediction=self.prediction,
            ),
            tools=self.tool_config.options,
            context=ContextOptions(
                policy=self.context_policy,
                chat_template_kwargs=template_variables(
                    self.chat_template_kwargs, self.reasoning_effort, self.verbosity
                ),
                continue_final_message=bool(self.continue_final_message),
            ),
            scheduling=SchedulingOptions(prompt_cache_key=self.prompt_cache_key or "", priority=self.priority or 0),
        )

    @cached_property
    def tool_config(self) -> ToolConfig:
        """Tools and tool choice. Raises `InvalidParameter` if the fields contradict each other."""
        return resolve_tool_config(
            self.tools, self.tool_choice, self.parallel_tool_calls, self.functions, self.function_call
        )

    def _check_continuation(self, messages: tuple[Message, ...]) -> None:
        if self.continue_final_message and messages[-1].role != "assistant":
            raise InvalidParameter(
                "continue_final_message",
                "'continue_final_message' needs the last message to be from the assistant, not the "
                f"{messages[-1].role}.",
            )
        if self.echo and not self.continue_final_message:
            raise InvalidParameter("echo", "'echo' is only allowed together with 'continue_final_message': true.")

    def _sampling_parameters(self) -> dict[str, Any]:
        """The generation parameters that are set. Both names of the token limit are one parameter."""
        values = {name: value for name in CHAT_SAMPLING_FIELDS if (value := getattr(self, name)) is not None}
        limit = values.pop("max_completion_tokens", None)
        if limit is not None and values.setdefault("max_tokens", limit) != limit:
            raise InvalidParameter(
                "max_tokens",
                f"'max_tokens' ({values['max_tokens']}) and 'max_completion_tokens' ({limit}) differ; send one.",
            )
        assert values.keys() <= PARAMETER_SPECS.keys()
        return values


ChatCompletionRequest: type[_ChatCompletionRequest] = create_model(
    "ChatCompletionRequest",
    __base__=_ChatCompletionRequest,
    __doc__="A chat completion request.",
    **sampling_fields(CHAT_SAMPLING_FIELDS),
    **unsupported_fields(CHAT_UNSUPPORTED_FIELDS),
    **guided_fields(),
)
