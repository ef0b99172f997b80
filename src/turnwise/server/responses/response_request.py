"""Bodies of `POST /v1/responses` and `POST /v1/responses/input_tokens`, and their conversion to a `ChatRequest`."""

from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any

from pydantic import Field, StrictBool, StrictInt, StrictStr, create_model

from turnwise.core.chat_request import ChatRequest
from turnwise.core.errors import InvalidParameter
from turnwise.core.messages import Message
from turnwise.core.tools import Tool
from turnwise.server.responses.input_items import INPUT_SCHEMA, InputItem, read_input
from turnwise.server.responses.item_messages import to_messages
from turnwise.server.responses.response_fields import (
    INCLUDE_LOGPROBS,
    INCLUDE_SCHEMA,
    INPUT_TOKENS_UNSUPPORTED,
    MAX_OUTPUT_TOKENS_SPEC,
    REASONING_SCHEMA,
    RESPONSE_PUBLISHED_PARAMETERS,
    RESPONSE_UNSUPPORTED,
    TEXT_SCHEMA,
    TOP_LOGPROBS_SPEC,
    TRUNCATION_SCHEMA,
    TextConfig,
    read_include,
    read_reasoning_effort,
    read_text_config,
    read_truncation,
    resolve_context_policy,
)
from turnwise.server.responses.response_tools import CHOICE_SCHEMA, TOOLS_SCHEMA, read_tool_choice, read_tools
from turnwise.server.schema.common_fields import (
    ChatTemplateFields,
    PromptCacheFields,
    SchedulingFields,
    ServedModelName,
    stream_options_error,
)
from turnwise.server.schema.context_fields import ContextFields
from turnwise.server.schema.json_object import MAX_IDENTIFIER_CHARS
from turnwise.server.schema.metadata import METADATA_SCHEMA, read_metadata
from turnwise.server.schema.request_field import Parameter, Reader, RequestBody, Target, build_chat_request
from turnwise.server.schema.response_format import GuidedFields
from turnwise.server.schema.sampling_parameters import sampling_fields
from turnwise.server.schema.tool_choice import ParsedToolChoice, ToolConfig, resolve_tool_config
from turnwise.server.schema.unsupported_fields import unsupported_fields
from turnwise.server.served_models import LATEST


class ResponseStreamOptions(RequestBody):
    """Options of a stream."""

    include_obfuscation: Annotated[
        StrictBool | None, Field(description="Pad delta events with random letters, so that their lengths tell little.")
    ] = None


class PromptFields(ContextFields, ChatTemplateFields):
    """The fields that determine the prompt."""

    input: Annotated[tuple[InputItem, ...], Reader(read_input, INPUT_SCHEMA)] = ()
    instructions: Annotated[
        StrictStr | None, Field(description="A system message for this response only; later ones do not inherit it.")
    ] = None
    previous_response_id: Annotated[
        StrictStr | None,
        Field(max_length=100, description="Continue this stored response."),
    ] = None
    text: Annotated[TextConfig, Reader(read_text_config, TEXT_SCHEMA)] = TextConfig()
    tools: Annotated[tuple[Tool, ...] | None, Reader(read_tools, TOOLS_SCHEMA)] = None
    tool_choice: Annotated[ParsedToolChoice | None, Reader(read_tool_choice, CHOICE_SCHEMA)] = None
    parallel_tool_calls: Annotated[
        StrictBool | None, Field(description="Allow several calls in one response. Default: true.")
    ] = None
    reasoning: Annotated[str | None, Reader(read_reasoning_effort, REASONING_SCHEMA)] = None
    truncation: Annotated[str | None, Reader(read_truncation, TRUNCATION_SCHEMA)] = None

    def to_chat_request(self, items: Sequence[InputItem]) -> ChatRequest:
        """Convert to a request of the chat service.

        Args:
            items: items of earlier responses and of the input.

        Raises:
            InvalidParameter: fields contradict each other, or the items are not a valid conversation.
        """
        messages = to_messages(items)
        if not messages:
            raise InvalidParameter("input", "'input' is empty; send a text or at least one message.")
        if self.instructions is not None:
            messages = (Message("system", self.instructions), *messages)
        return build_chat_request(self, {"messages": messages, **self._computed_values()})

    def _computed_values(self) -> dict[str, Any]:
        """Values of the chat request that follow from several fields, by their paths."""
        return {
            "output.format": self.text.format,
            "tools": self.tool_config.options,
            "context.policy": resolve_context_policy(self.truncation, self.context_policy),
            "context.chat_template_kwargs": self.template_variables(self.reasoning, self.text.verbosity),
        }

    @cached_property
    def tool_config(self) -> ToolConfig:
        """Tools and tool choice. Raises `InvalidParameter` if the fields contradict each other."""
        return resolve_tool_config(self.tools, self.tool_choice, self.parallel_tool_calls)


class _ResponseRequest(PromptFields, GuidedFields, PromptCacheFields, SchedulingFields):
    model: ServedModelName
    store: Annotated[
        StrictBool | None, Field(description="Store the response, so that it can be continued. Default: true.")
    ] = None
    stream: Annotated[StrictBool | None, Field(description="Send the response as server-sent events.")] = None
    stream_options: Annotated[ResponseStreamOptions | None, Field(description="Only with 'stream'.")] = None
    max_output_tokens: Annotated[int | None, Parameter(MAX_OUTPUT_TOKENS_SPEC), Target("sampling.max_tokens")] = None
    top_logprobs: Annotated[int | None, Parameter(TOP_LOGPROBS_SPEC), Target("sampling.top_logprobs")] = None
    max_tool_calls: Annotated[
        StrictInt | None,
        Field(ge=1, description="Maximum number of calls of tools that the server runs; this server runs none."),
    ] = None
    include: Annotated[tuple[str, ...], Reader(read_include, INCLUDE_SCHEMA)] = ()
    metadata: Annotated[dict[str, str] | None, Reader(read_metadata, METADATA_SCHEMA)] = None
    user: Annotated[
        StrictStr | None,
        Field(
            max_length=MAX_IDENTIFIER_CHARS,
            description="Id of the end user; written to the log, and returned in the response.",
        ),
    ] = None
    safety_identifier: Annotated[
        StrictStr | None, Field(max_length=128, description="Returned in the response.")
    ] = None  # fmt: skip

    def to_chat_request(self, items: Sequence[InputItem]) -> ChatRequest:
        """Convert to a request of the chat service, including generation parameters. Raises as `PromptFields` does."""
        if self.stream_options is not None and not self.stream:
            raise stream_options_error()
        return super().to_chat_request(items)

    def _computed_values(self) -> dict[str, Any]:
        values = super()._computed_values() | {"output.format": self.resolve_format(self.text.format)}
        if INCLUDE_LOGPROBS in self.include or self.top_logprobs:
            values["sampling.logprobs"] = True
        return values

    @property
    def include_obfuscation(self) -> bool:
        """Whether the delta events of a stream are padded."""
        return self.stream_options is not None and bool(self.stream_options.include_obfuscation)


class _InputTokensRequest(PromptFields):
    model: Annotated[StrictStr, Field(description="A served model. Default: 'latest'.")] = LATEST


ResponseRequest: type[_ResponseRequest] = create_model(
    "ResponseRequest",
    __base__=_ResponseRequest,
    __doc__="A response request.",
    **sampling_fields(published=RESPONSE_PUBLISHED_PARAMETERS, without=("max_tokens", "logprobs", "top_logprobs")),
    **unsupported_fields(RESPONSE_UNSUPPORTED),
)
InputTokensRequest: type[_InputTokensRequest] = create_model(
    "InputTokensRequest",
    __base__=_InputTokensRequest,
    __doc__="A request to count the prompt tokens of a response.",
    **unsupported_fields(INPUT_TOKENS_UNSUPPORTED),
)
