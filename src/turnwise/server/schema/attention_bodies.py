"""Bodies of `POST /v1/attention`: messages and a place in the answer, and what the model attends to there."""

from typing import Annotated

from pydantic import Field

from turnwise.core.attention import AttentionQuery, AttentionWeights
from turnwise.core.chat_request import ChatRequest
from turnwise.core.chat_response import DecodedToken
from turnwise.core.chat_service import ChatService
from turnwise.core.messages import Message
from turnwise.core.served_versions import AnsweringVersion
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
from turnwise.server.schema.distribution_bodies import ScoringModel, TokenBody
from turnwise.server.schema.request_field import Reader, Target, build_chat_request


class AttentionRequest(ContextFields, ChatTemplateFields, PromptCacheFields, SchedulingFields):
    """Messages, and the start of the answer up to the place whose next token the model would choose."""

    messages: Annotated[tuple[Message, ...], Reader(read_messages, MESSAGES_SCHEMA), Target("messages")]
    model: ServedModelName
    answer_tokens: AnswerTokens = None
    layer: Annotated[
        int | None, Field(strict=True, ge=0, description="Index of the layer, from 0. Default: the last one.")
    ] = None
    head: Annotated[
        int | None,
        Field(strict=True, ge=0, description="Index of the head, from 0. Default: the mean of all heads of the layer."),
    ] = None
    user: LoggedUser = None

    @property
    def query(self) -> AttentionQuery:
        """Layer and head."""
        return AttentionQuery(self.layer, self.head)

    def to_chat_request(self) -> ChatRequest:
        """Convert to a request that generates nothing."""
        return build_chat_request(
            self,
            {
                "context.chat_template_kwargs": self.template_variables(None, None),
                "output.prompt_only": True,
                "user": self.user,
            },
        )


class AttentionTokenBody(TokenBody):
    """A token of the context, and the weight that the last one gives it."""

    weight: float


class AttentionResponse(ScoringModel):
    """What the last token of the context attends to. The weights of a head, and their mean, have the sum 1.

    `head` is null for the mean of all heads.
    """

    layer: int
    head: int | None
    num_layers: int
    num_heads: int
    tokens: list[AttentionTokenBody]

    @classmethod
    def of(
        cls, service: ChatService, version: AnsweringVersion | None, attention: AttentionWeights
    ) -> "AttentionResponse":
        """Convert weights of the chat service. Decodes the tokens, so not for the event loop."""
        texts: dict[int, DecodedToken] = {id: service.tokens.decode_token(id) for id in set(attention.token_ids)}
        return cls(
            **cls.fields_of(service, version), layer=attention.layer, head=attention.head,
            num_layers=attention.num_layers, num_heads=attention.num_heads,
            tokens=[
                AttentionTokenBody(**TokenBody.fields_of(texts[id]), weight=weight)
                for id, weight in zip(attention.token_ids, attention.weights, strict=True)
            ],
        )  # fmt: skip
