"""The bodies of `POST /v1/responses` and `/v1/responses/input_tokens`, and how they become chat turns."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StrictBool, StrictInt, StrictStr, WithJsonSchema, create_model

from turnwise.chat.service import ChatRequest
from turnwise.core.errors import InvalidParameter
from turnwise.core.messages import Message
from turnwise.core.parameters import PARAMETER_SPECS
from turnwise.server.responses.input_items import SCHEMA as INPUT_SCHEMA
from turnwise.server.responses.input_items import InputItem, read_input
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
    context_policy,
    read_effort,
    read_include,
    read_text_config,
    read_truncation,
)
from turnwise.server.responses.response_tools import CHOICE_SCHEMA, TOOLS_SCHEMA, read_tool_choice, read_tools
from turnwise.server.schema.chat_completion_request import RequestBody, template_variables
from turnwise.server.schema.context_fields import SCHEMA as CONTEXT_SCHEMA
from turnwise.server.schema.context_fields import read_context_policy
from turnwise.server.schema.json_object import MAX_IDENTIFIER_CHARS
from turnwise.server.schema.metadata import SCHEMA as METADATA_SCHEMA
from turnwise.server.schema.metadata import read_metadata
from turnwise.server.schema.pydantic_fields import guided_fields, rejected_fields, sampling_fields
from turnwise.server.schema.response_format import GUIDED_SCHEMAS, resolve_format
from turnwise.server.schema.tool_definitions import ToolConfig, resolve_tool_config
from turnwise.server.schema.unsupported_fields import PRIORITY_SPEC, check_parameter, parameter_json_schema
from turnwise.server.served_models import LATEST


class ResponseStreamOptions(RequestBody):
    """Options of a stream."""

    include_obfuscation: Annotated[
        StrictBool | None, Field(description="Pad delta events with random letters, so that lengths tell little.")
    ] = None


class PromptFields(RequestBody):
    """The fields that decide what the model reads."""

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
        StrictBool | None, Field(description="One response may hold several calls; default true.")
    ] = None
    reasoning: Annotated[Any, BeforeValidator(read_effort), WithJsonSchema(REASONING_SCHEMA)] = None
    truncation: Annotated[
        Any, BeforeValidator(read_truncation),
        WithJsonSchema({
            "enum": [*TRUNCATION_POLICIES, None],
            "description": "Where the input does not fit the context: 'auto' drops the oldest messages, 'disabled' "
            "refuses the request; unset: the context policy of the server.",
        }),
    ] = None  # fmt: skip
    context_policy: Annotated[Any, BeforeValidator(read_context_policy), WithJsonSchema(CONTEXT_SCHEMA)] = None
    chat_template_kwargs: Annotated[
        dict[StrictStr, Any] | None, Field(description="Further values for the model's chat template.")
    ] = None

    def to_chat_request(self, items: Sequence[InputItem]) -> ChatRequest:
        """The request as the chat service takes it.

        Args:
            items: those of earlier responses and of the input.

        Raises:
            InvalidParameter: fields contradict each other, or the items are no conversation.
        """
        messages = to_messages(items)
        if not messages:
            raise InvalidParameter("input", "'input' is empty; send a text or at least one message.")
        if self.instructions is not None:
            messages = (Message("system", self.instructions), *messages)
        return ChatRequest(
            messages,
            format=self.text.format,
            chat_template_kwargs=template_variables(self.chat_template_kwargs, self.reasoning, self.text.verbosity),
            tools=self.tool_config.tools,
            tool_choice=self.tool_config.choice,
            parallel_tool_calls=self.tool_config.parallel_tool_calls,
            context_policy=context_policy(self.truncation, self.context_policy),
        )

    @cached_property
    def tool_config(self) -> ToolConfig:
        """The tools and the choice among them. Raises `InvalidParameter` where the fields contradict each other."""
        return resolve_tool_config(self.tools, self.tool_choice, self.parallel_tool_calls, None, None)


class _ResponseRequest(PromptFields):
    model: Annotated[StrictStr, Field(description="A served model, or 'latest' or 'stable'.")]
    store: Annotated[
        StrictBool | None, Field(description="Store the response, so that it can be continued; default true.")
    ] = None
    stream: Annotated[StrictBool | None, Field(description="Send the response as server-sent events.")] = None
    stream_options: Annotated[ResponseStreamOptions | None, Field(description="Only with 'stream'.")] = None
    max_tool_calls: Annotated[
        StrictInt | None, Field(ge=1, description="Bounds calls of tools that the server runs; there are none here.")
    ] = None
    include: Annotated[Any, BeforeValidator(read_include), WithJsonSchema(INCLUDE_SCHEMA)] = ()
    metadata: Annotated[Any, BeforeValidator(read_metadata), WithJsonSchema(METADATA_SCHEMA)] = None
    user: Annotated[
        StrictStr | None, Field(max_length=MAX_IDENTIFIER_CHARS, description="Noted in the log and in the response.")
    ] = None
    safety_identifier: Annotated[StrictStr | None, Field(max_length=128, description="Sent back.")] = None
    prompt_cache_key: Annotated[
        StrictStr | None,
        Field(
            max_length=MAX_IDENTIFIER_CHARS,
            description="Share the prompt cache only with requests that send the same key.",
        ),
    ] = None
    priority: Annotated[
        Any,
        BeforeValidator(partial(check_parameter, PRIORITY_SPEC)),
        WithJsonSchema(parameter_json_schema(PRIORITY_SPEC)),
    ] = None

    def to_chat_request(self, items: Sequence[InputItem]) -> ChatRequest:
        """As of `PromptFields`, with what decides how the answer is generated."""
        if self.stream_options is not None and not self.stream:
            raise InvalidParameter("stream_options", "'stream_options' is only allowed together with 'stream': true.")
        return replace(
            super().to_chat_request(items),
            sampling=self._sampling_parameters(),
            format=resolve_format([self.text.format, *(getattr(self, name) for name in GUIDED_SCHEMAS)]),
            prompt_cache_key=self.prompt_cache_key or "",
            priority=self.priority or 0,
        )

    def _sampling_parameters(self) -> dict[str, Any]:
        """Generation parameters by the names of the chat service."""
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
    model: Annotated[StrictStr, Field(description="A served model; default 'latest'.")] = LATEST


ResponseRequest: type[_ResponseRequest] = create_model(
    "ResponseRequest",
    __base__=_ResponseRequest,
    __doc__="A request for a response.",
    **sampling_fields(RESPONSE_SAMPLING),
    **rejected_fields(RESPONSE_UNSUPPORTED),
    **guided_fields(),
)
InputTokensRequest: type[_InputTokensRequest] = create_model(
    "InputTokensRequest",
    __base__=_InputTokensRequest,
    __doc__="A request for the number of tokens of a response request.",
    **rejected_fields(INPUT_TOKENS_UNSUPPORTED),
)
