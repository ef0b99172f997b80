"""The bodies of `POST /v1/responses` and `/v1/responses/input_tokens`, and how they become chat turns."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StrictBool, StrictInt, StrictStr, WithJsonSchema, create_model

from turnwise.chat.service import Turn
from turnwise.core.errors import InvalidParameter
from turnwise.core.messages import Message
from turnwise.core.parameters import SPECS
from turnwise.server.schema.context_fields import SCHEMA as CONTEXT_SCHEMA
from turnwise.server.schema.context_fields import read_context_policy
from turnwise.server.schema.pydantic_fields import guided_fields, refused_fields, sampling_fields
from turnwise.server.schema.unsupported_fields import PRIORITY, check_sampling, sampling_schema
from turnwise.server.schema.response_format import GUIDED_SCHEMAS, one_format
from turnwise.server.schema.metadata import SCHEMA as METADATA_SCHEMA
from turnwise.server.schema.metadata import read_metadata
from turnwise.server.schema.json_object import MAX_IDENTIFIER
from turnwise.server.schema.chat_completion_request import Strict, template_variables
from turnwise.server.responses.response_fields import (
    INCLUDE_SCHEMA,
    INPUT_TOKENS_UNSUPPORTED,
    LOGPROBS,
    POLICIES,
    REASONING_SCHEMA,
    RESPONSE_SAMPLING,
    RESPONSE_UNSUPPORTED,
    TEXT_SCHEMA,
    TextConfig,
    context_policy,
    read_effort,
    read_include,
    read_text,
    read_truncation,
)
from turnwise.server.responses.input_items import SCHEMA as INPUT_SCHEMA
from turnwise.server.responses.input_items import InputItem, read_input
from turnwise.server.responses.item_messages import to_messages
from turnwise.server.responses.response_tools import CHOICE_SCHEMA, TOOLS_SCHEMA, read_tool_choice, read_tools
from turnwise.server.served_models import LATEST
from turnwise.server.schema.tool_definitions import Offer, one_offer


class ResponseStreamOptions(Strict):
    """Options of a stream."""

    include_obfuscation: Annotated[
        StrictBool | None, Field(description="Pad delta events with random letters, so that lengths tell little.")
    ] = None


class PromptFields(Strict):
    """The fields that decide what the model reads."""

    input: Annotated[Any, BeforeValidator(read_input), WithJsonSchema(INPUT_SCHEMA)] = ()
    instructions: Annotated[
        StrictStr | None, Field(description="A system message for this response only; later ones do not inherit it.")
    ] = None
    previous_response_id: Annotated[
        StrictStr | None,
        Field(max_length=100, description="Continue this stored response."),
    ] = None
    text: Annotated[Any, BeforeValidator(read_text), WithJsonSchema(TEXT_SCHEMA)] = TextConfig()
    tools: Annotated[Any, BeforeValidator(read_tools), WithJsonSchema(TOOLS_SCHEMA)] = None
    tool_choice: Annotated[Any, BeforeValidator(read_tool_choice), WithJsonSchema(CHOICE_SCHEMA)] = None
    parallel_tool_calls: Annotated[
        StrictBool | None, Field(description="One response may hold several calls; default true.")
    ] = None
    reasoning: Annotated[Any, BeforeValidator(read_effort), WithJsonSchema(REASONING_SCHEMA)] = None
    truncation: Annotated[
        Any, BeforeValidator(read_truncation),
        WithJsonSchema({
            "enum": [*POLICIES, None],
            "description": "Where the input does not fit the context: 'auto' drops the oldest messages, 'disabled' "
            "refuses the request; unset: the context policy of the server.",
        }),
    ] = None  # fmt: skip
    context_policy: Annotated[Any, BeforeValidator(read_context_policy), WithJsonSchema(CONTEXT_SCHEMA)] = None
    chat_template_kwargs: Annotated[
        dict[StrictStr, Any] | None, Field(description="Further values for the model's chat template.")
    ] = None

    def turn(self, items: Sequence[InputItem]) -> Turn:
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
        return Turn(
            messages,
            format=self.text.format,
            chat_template_kwargs=template_variables(self.chat_template_kwargs, self.reasoning, self.text.verbosity),
            tools=self.offer.tools,
            tool_choice=self.offer.choice,
            parallel_tool_calls=self.offer.parallel,
            context_policy=context_policy(self.truncation, self.context_policy),
        )

    @cached_property
    def offer(self) -> Offer:
        """The tools and the choice among them. Raises `InvalidParameter` where the fields contradict each other."""
        return one_offer(self.tools, self.tool_choice, self.parallel_tool_calls, None, None)


class _Request(PromptFields):
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
        StrictStr | None, Field(max_length=MAX_IDENTIFIER, description="Noted in the log and in the response.")
    ] = None
    safety_identifier: Annotated[StrictStr | None, Field(max_length=128, description="Sent back.")] = None
    prompt_cache_key: Annotated[
        StrictStr | None,
        Field(
            max_length=MAX_IDENTIFIER, description="Share the prompt cache only with requests that send the same key."
        ),
    ] = None
    priority: Annotated[
        Any, BeforeValidator(partial(check_sampling, PRIORITY)), WithJsonSchema(sampling_schema(PRIORITY))
    ] = None

    def turn(self, items: Sequence[InputItem]) -> Turn:
        """As of `PromptFields`, with what decides how the answer is generated."""
        if self.stream_options is not None and not self.stream:
            raise InvalidParameter("stream_options", "'stream_options' is only allowed together with 'stream': true.")
        return replace(
            super().turn(items),
            asked=self._sampling(),
            format=one_format([self.text.format, *(getattr(self, name) for name in GUIDED_SCHEMAS)]),
            cache_key=self.prompt_cache_key or "",
            priority=self.priority or 0,
        )

    def _sampling(self) -> dict[str, Any]:
        """Generation parameters by the names of the chat service."""
        values = {name: value for name in RESPONSE_SAMPLING if (value := getattr(self, name)) is not None}
        if "max_output_tokens" in values:
            values["max_tokens"] = values.pop("max_output_tokens")
        if LOGPROBS in self.include or values.get("top_logprobs"):
            values["logprobs"] = True
        assert values.keys() <= SPECS.keys()
        return values

    @property
    def is_padded(self) -> bool:
        """Whether the delta events of a stream are padded."""
        return self.stream_options is not None and bool(self.stream_options.include_obfuscation)


class _InputTokensRequest(PromptFields):
    model: Annotated[StrictStr, Field(description="A served model; default 'latest'.")] = LATEST


ResponseRequest: type[_Request] = create_model(
    "ResponseRequest",
    __base__=_Request,
    __doc__="A request for a response.",
    **sampling_fields(RESPONSE_SAMPLING),
    **refused_fields(RESPONSE_UNSUPPORTED),
    **guided_fields(),
)
InputTokensRequest: type[_InputTokensRequest] = create_model(
    "InputTokensRequest",
    __base__=_InputTokensRequest,
    __doc__="A request for the number of tokens of a response request.",
    **refused_fields(INPUT_TOKENS_UNSUPPORTED),
)
