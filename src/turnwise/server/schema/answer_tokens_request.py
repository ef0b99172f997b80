"""Body of `POST /v1/answer_tokens`: messages and an answer whose tokens are scored."""

from typing import Annotated

from pydantic import Field, StrictStr, model_validator

from turnwise.core.chat_request import ChatRequest
from turnwise.core.errors import InvalidParameter
from turnwise.core.messages import Message
from turnwise.server.schema.answer_tokens import AnswerTokens
from turnwise.server.schema.chat_messages import MESSAGES_SCHEMA, read_messages
from turnwise.server.schema.common_fields import (
    ChatTemplateFields,
    LoggedUser,
    PromptCacheFields,
    SchedulingFields,
    ServedModelName,
)
from turnwise.server.schema.context_fields import ContextFields
from turnwise.server.schema.request_field import Reader, Target, build_chat_request

MAX_TOP_LOGPROBS = 20


class AnswerTokensRequest(ContextFields, ChatTemplateFields, PromptCacheFields, SchedulingFields):
    """An answer as text or as token ids, and the messages before it."""

    messages: Annotated[tuple[Message, ...], Reader(read_messages, MESSAGES_SCHEMA), Target("messages")]
    model: ServedModelName
    answer: Annotated[
        StrictStr | None,
        Field(min_length=1, description="Text of the answer. It is divided into tokens as texts for training are."),
    ] = None
    answer_tokens: AnswerTokens = None
    top_logprobs: Annotated[
        int | None,
        Field(
            strict=True, ge=0, le=MAX_TOP_LOGPROBS, description="Number of most likely tokens to return at each place."
        ),
    ] = None
    user: LoggedUser = None

    @model_validator(mode="after")
    def _check_exactly_one(self) -> "AnswerTokensRequest":
        if (self.answer is None) == (not self.answer_tokens):
            raise InvalidParameter("answer", "Send either 'answer' or 'answer_tokens'.")
        return self

    def to_chat_request(self) -> ChatRequest:
        """Convert to a request that scores `answer_tokens` and generates nothing."""
        return build_chat_request(
            self,
            {
                "context.chat_template_kwargs": self.template_variables(None, None),
                "output.prompt_output": "logprobs",
                "output.prompt_only": True,
                "sampling.logprobs": True,
                "sampling.top_logprobs": self.top_logprobs or 0,
                "user": self.user,
            },
        )
