"""Bodies of `POST /v1/responses` and `POST /v1/responses/input_tokens`, and their conversion to a `ChatRequest`."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StrictBool, StrictInt, StrictStr, WithJsonSchema, create_model

from turnwise.core.chat_request import ChatRequest, ContextOptions, OutputOptions, SchedulingOptions
from turnwise.core.errors import InvalidParameter
from turnwise.core.messages import Message
from turnwise.core.parameters import PARAMETER_SPECS
from turnwise.server.responses.input_items import INPUT_SCHEMA, InputItem, read_input
from turnwise.server.responses.item_messages import to_messages
from turnwise.server.responses.response_fields import (
    INCLUDE_LOGPROBS,
    INCLUDE_SCHEMA,
    INPUT_TOKENS_UNSUPPORTED,
    REASONING_SCHEMA,
    RESPONSE_SAMPLING,
    RESPONSE_UNSUPPORTED,
    TEXT_SCHEMA,
    TRUNCATION_POLICIES,
    TextConfig,
    read_include,
    read_reasoning_effort,
    read_text_config,
    read_truncation,
    resolve_context_policy,
)
from turnwise.server.responses.response_tools import CHOICE_SCHEMA, TOOLS_SCHEMA, read_tool_choice, read_tools
from turnwise.server.schema.common_fields import (
    ChatTemplateKwargs,
    Priority,
    PromptCacheKey,
    RequestBody,
    ServedModelName,
    stream_options_error,
    template_variables,
)
from turnwise.server.schema.context_fields import CONTEXT_POLICY_SCHEMA, read_context_policy
from turnwise.server.schema.json_object import MAX_IDENTIFIER_CHARS
from turnwise.server.schema.metadata import METADATA_SCHEMA, read_metadata
from turnwise.server.schema.response_format import GUIDED_SCHEMAS, guided_fields, resolve_format
from turnwise.server.schema.sampling_parameters import sampling_fields
from turnwise.server.schema.tool_choice import ToolConfig, resolve_tool_config
from turnwise.server.schema.unsupported_fields import unsupported_fields
from turnwise.server.served_models import LATEST


class ResponseStreamOptions(RequestBody):
    """Options of a stream."""

    include_obfuscation: Annotated[
        StrictBool | None, Field(description="Pad delta events with random letters, so that their lengths tell little.")
    ] = None


class PromptFields(RequestBody):
    """The fields that determine the prompt."""

    input: Annotated[Any, BeforeValidator(read_input), WithJsonSchema(INPUT_SCHEMA)] = ()
    instructions: Annotated[
        StrictStr | None, Field(description="A system message for this response only; later ones do not inherit it.")
    ] = None
    previous_response_id: Annotated[
        StrictStr | None,
        Field(max_length=100, description="Continue this stored response."),
    ] = None
    text: Annotated[Any, BeforeValidator(read_text_config), WithJsonSchema(TEXT_SCHEMA)] = TextConfig()
    tools: Annotated[Any, BeforeValidator(read_tools), WithJsonSchema(TOOLS_SCHEMA)] = None
    tool_choice: Annotated[Any, BeforeValidator(read_tool_choice), WithJsonSchema(CHOICE_SCHEMA)] = None
    parallel_tool_calls: Annotated[
        StrictBool | None, Field(description="Allow several calls in one response. Default: true.")
    ] = None
    reasoning: Annotated[Any, BeforeValidator(read_reasoning_effort), WithJsonSchema(REASONING_SCHEMA)] = None
    truncation: Annotated[
        Any, BeforeValidator(read_truncation),
        WithJsonSchema({
            "enum": [*TRUNCATION_POLICIES, None],
            "description": "If the input does not fit the context: 'auto' drops the oldest messages, 'disabled' "
            "rejects the request. Default: the context policy of the server.",
        }),
    ] = None  # fmt: skip
    context_policy: Annotated[Any, BeforeValidator(read_context_policy), WithJsonSchema(CONTEXT_POLICY_SCHEMA)] = None
    chat_template_kwargs: ChatTemplateKwargs = None

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
        return ChatRequest(
            messages,
            output=OutputOptions(format=self.text.format),
            tools=self.tool_config.options,
            context=ContextOptions(
                policy=resolve_context_policy(self.truncation, self.context_policy),
                chat_template_kwargs=template_variables(self.chat_template_kwargs, self.reasoning, self.text.verbosity),
            ),
        )

    @cached_property
    def tool_config(self) -> ToolConfig:
        """Tools and tool choice. Raises `InvalidParameter` if the fields contradict each other."""
        return resolve_tool_config(self.tools, self.tool_choice, self.parallel_tool_calls)


class _ResponseRequest(PromptFields):
    model: ServedModelName
    store: Annotated[
        StrictBool | None, Field(description="Store the response, so that it can be continued. Default: true.")
    ] = None
    stream: Annotated[StrictBool | None, Field(description="Send the response as server-sent events.")] = None
    stream_options: Annotated[ResponseStreamOptions | None, Field(description="Only with 'stream'.")] = None
    max_tool_calls: Annotated[
        StrictInt | None,
        Field(ge=1, description="Maximum number of calls of tools that the server runs; this server runs none."),
    ] = None
    include: Annotated[Any, BeforeValidator(read_include), WithJsonSchema(INCLUDE_SCHEMA)] = ()
    metadata: Annotated[Any, BeforeValidator(read_metadata), WithJsonSchema(METADATA_SCHEMA)] = None
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
    prompt_cache_key: PromptCacheKey = None
    priority: Priority = None

    def to_chat_request(self, items: Sequence[InputItem]) -> ChatRequest:
        """Convert to a request of the chat service, including generation parameters. Raises as `PromptFields` does."""
        if self.stream_options is not None and not self.stream:
            raise stream_options_error()
        return replace(
            super().to_chat_request(items),
            sampling=self._sampling_parameters(),
            output=OutputOptions(
                format=resolve_format([self.text.format, *(getattr(self, name) for name in GUIDED_SCHEMAS)])
            ),
            scheduling=SchedulingOptions(prompt_cache_key=self.prompt_cache_key or "", priority=self.priority or 0),
        )

    def _sampling_parameters(self) -> dict[str, Any]:
        """The generation parameters that are set, by their names in chat completions."""
        values = {name: value for name in RESPONSE_SAMPLING if (value := getattr(self, name)) is not None}
        if "max_output_tokens" in values:
            values["max_tokens"] = values.pop("max_output_tokens")
        if INCLUDE_LOGPROBS in self.include or values.get("top_logprobs"):
            values["logprobs"] = True
        assert values.keys() <= PARAMETER_SPECS.keys()
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
    **sampling_fields(RESPONSE_SAMPLING),
    **unsupported_fields(RESPONSE_UNSUPPORTED),
    **guided_fields(),
)
InputTokensRequest: type[_InputTokensRequest] = create_model(
    "InputTokensRequest",
    __base__=_InputTokensRequest,
    __doc__="A request to count the prompt tokens of a response.",
    **unsupported_fields(INPUT_TOKENS_UNSUPPORTED),
)
