"""Body of `POST /v1/chat/completions`, and its conversion to a `ChatRequest`."""

from dataclasses import replace
from functools import cached_property
from typing import Annotated

from pydantic import Field, StrictBool, StrictStr, create_model

from turnwise.core.chat_request import ChatRequest, ResponseFormat
from turnwise.core.errors import InvalidParameter
from turnwise.core.messages import Message
from turnwise.core.parameters import PARAMETER_SPECS
from turnwise.core.sampling_presets import SamplingPreset
from turnwise.core.tools import Tool
from turnwise.server.schema.answer_tokens import AnswerTokens
from turnwise.server.schema.chat_messages import MESSAGES_SCHEMA, read_messages
from turnwise.server.schema.common_fields import (
    BestOf,
    ChatTemplateFields,
    CompletionFields,
    PromptCacheFields,
    ReasoningEffort,
    ServedModelName,
    Verbosity,
)
from turnwise.server.schema.context_fields import ContextFields
from turnwise.server.schema.json_object import MAX_IDENTIFIER_CHARS
from turnwise.server.schema.metadata import METADATA_SCHEMA, read_metadata
from turnwise.server.schema.prediction import PREDICTION_SCHEMA, read_prediction
from turnwise.server.schema.request_field import (
    EXTENSION,
    PageControl,
    Parameter,
    Reader,
    Target,
    build_chat_request,
)
from turnwise.server.schema.response_format import RESPONSE_FORMAT_SCHEMA, GuidedFields, read_response_format
from turnwise.server.schema.sampling_parameters import PUBLISHED_PARAMETERS, sampling_fields
from turnwise.server.schema.service_fields import ServiceFields
from turnwise.server.schema.tool_choice import (
    ParsedToolChoice,
    ToolConfig,
    read_function_call,
    read_tool_choice,
    resolve_tool_config,
)
from turnwise.server.schema.tool_definitions import read_functions, read_tools
from turnwise.server.schema.tool_json_schemas import TOOL_SCHEMAS
from turnwise.server.schema.unsupported_fields import CHAT_UNSUPPORTED_FIELDS, unsupported_fields

_MAX_TOKENS_SPEC = PARAMETER_SPECS["max_tokens"]
_MAX_COMPLETION_TOKENS_SPEC = replace(_MAX_TOKENS_SPEC, name="max_completion_tokens")


class ChatCompletionFields(
    GuidedFields, ContextFields, ServiceFields, ChatTemplateFields, PromptCacheFields, CompletionFields
):
    """The fields of a chat completion, without generation parameters and fields that are not supported."""

    messages: Annotated[
        tuple[Message, ...], Reader(read_messages, MESSAGES_SCHEMA), Target("messages")
    ]  # fmt: skip
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
    metadata: Annotated[dict[str, str] | None, Reader(read_metadata, METADATA_SCHEMA)] = None
    conversation_id: Annotated[
        StrictStr | None,
        Field(min_length=1, max_length=100, description="Store messages and answer in this conversation."),
        EXTENSION,
        Target("conversation_id"),
    ] = None
    continue_final_message: Annotated[
        StrictBool | None,
        Field(description="Continue the last message, which must be from the assistant."),
        EXTENSION,
        Target("context.continue_final_message"),
    ] = None
    answer_tokens: AnswerTokens = None
    background: Annotated[
        StrictBool | None,
        Field(
            description="Generate the answer to its end, also if the client disconnects. Only with 'stream' and "
            "'conversation_id', where the answer is stored. GET and DELETE "
            "/v1/conversations/{id}/answers/{x-request-id} attach to it and stop it."
        ),
        EXTENSION,
    ] = None
    echo: Annotated[
        StrictBool | None,
        Field(
            description="With 'continue_final_message' or 'answer_tokens': the answer starts with the text that it "
            "continues."
        ),
        EXTENSION,
        Target("output.echo"),
    ] = None
    sampling_preset: Annotated[
        SamplingPreset | None,
        Field(
            description="Defaults for parameters that neither the request nor the model sets: 'api' has the published "
            "defaults, 'chat' those of the chat page (GET /v1/models lists them)."
        ),
        EXTENSION,
        Target("preset"),
    ] = None
    beam_tree: Annotated[
        StrictBool | None,
        Field(description="With 'num_beams': return all hypotheses that the search kept, as 'beams'."),
        EXTENSION,
        Target("output.trace_search"),
    ] = None
    max_tokens: Annotated[int | None, Parameter(_MAX_TOKENS_SPEC), Target("sampling.max_tokens")] = None
    max_completion_tokens: Annotated[
        int | None, Parameter(_MAX_COMPLETION_TOKENS_SPEC), Target("sampling.max_tokens")
    ] = None
    best_of: Annotated[BestOf, EXTENSION] = None
    prediction: Annotated[
        str | None, Reader(read_prediction, PREDICTION_SCHEMA), Target("output.prediction")
    ] = None  # fmt: skip
    response_format: Annotated[
        ResponseFormat | None,
        Reader(read_response_format, RESPONSE_FORMAT_SCHEMA),
        PageControl("format", "The answer is JSON, if you like with a JSON schema.", "json"),
    ] = None
    tools: Annotated[tuple[Tool, ...] | None, Reader(read_tools, TOOL_SCHEMAS["tools"])] = None
    tool_choice: Annotated[ParsedToolChoice | None, Reader(read_tool_choice, TOOL_SCHEMAS["tool_choice"])] = None
    functions: Annotated[tuple[Tool, ...] | None, Reader(read_functions, TOOL_SCHEMAS["functions"])] = None
    function_call: Annotated[ParsedToolChoice | None, Reader(read_function_call, TOOL_SCHEMAS["function_call"])] = None
    parallel_tool_calls: Annotated[
        StrictBool | None, Field(description="Allow several calls in one answer. Default: true.")
    ] = None
    reasoning_effort: Annotated[
        ReasoningEffort | None, Field(description="Reasoning effort, if the chat template supports it.")
    ] = None
    verbosity: Annotated[Verbosity | None, Field(description="Verbosity, if the chat template supports it.")] = None

    def to_chat_request(self) -> ChatRequest:
        """Convert to a request of the chat service. Raises `InvalidParameter` if fields contradict each other."""
        self.check_stream_options()
        self._check_background()
        self._check_continuation()
        self._check_token_limits()
        self.check_best_of()
        return build_chat_request(
            self,
            {
                "output.format": self.resolve_format(self.response_format),
                "tools": self.tool_config.options,
                "user": self.user or self.safety_identifier,
                "context.chat_template_kwargs": self.template_variables(self.reasoning_effort, self.verbosity),
            },
        )

    @cached_property
    def tool_config(self) -> ToolConfig:
        """Tools and tool choice. Raises `InvalidParameter` if the fields contradict each other."""
        return resolve_tool_config(
            self.tools, self.tool_choice, self.parallel_tool_calls, self.functions, self.function_call
        )

    def _check_background(self) -> None:
        if self.background and not (self.stream and self.conversation_id):
            raise InvalidParameter(
                "background", "'background' is only allowed together with 'stream': true and a 'conversation_id'."
            )

    def _check_continuation(self) -> None:
        last_role = self.messages[-1].role
        if self.continue_final_message and last_role != "assistant":
            raise InvalidParameter(
                "continue_final_message",
                f"'continue_final_message' needs the last message to be from the assistant, not the {last_role}.",
            )
        if self.echo and not self.continue_final_message and not self.answer_tokens:
            raise InvalidParameter(
                "echo",
                "'echo' is only allowed together with 'continue_final_message': true or with 'answer_tokens'.",
            )

    def _check_token_limits(self) -> None:
        """Both names of the token limit are one parameter."""
        if None not in (limits := {self.max_tokens, self.max_completion_tokens}) and len(limits) > 1:
            raise InvalidParameter(
                "max_tokens",
                f"'max_tokens' ({self.max_tokens}) and 'max_completion_tokens' ({self.max_completion_tokens}) differ; "
                "send one.",
            )


ChatCompletionRequest: type[ChatCompletionFields] = create_model(
    "ChatCompletionRequest",
    __base__=ChatCompletionFields,
    __doc__="A chat completion request.",
    **sampling_fields(published=PUBLISHED_PARAMETERS, without=("max_tokens",)),
    **unsupported_fields(CHAT_UNSUPPORTED_FIELDS),
)
