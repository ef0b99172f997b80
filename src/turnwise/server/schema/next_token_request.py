"""Body of `POST /v1/next_token`: a chat completion request of which only the next token's distribution is computed."""

from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field, create_model

from turnwise.core.chat_request import ChatRequest
from turnwise.core.token_distributions import DistributionQuery
from turnwise.server.schema.answer_tokens import read_token_ids
from turnwise.server.schema.chat_completion_request import ChatCompletionFields
from turnwise.server.schema.request_field import EXTENSION, Reader
from turnwise.server.schema.sampling_parameters import PUBLISHED_PARAMETERS, sampling_fields
from turnwise.server.schema.unsupported_fields import (
    CHAT_UNSUPPORTED_FIELDS,
    UnsupportedField,
    unsupported_fields,
)

MAX_TOP, DEFAULT_TOP, MAX_TOKEN_IDS = 50, 20, 50
_TOKEN_IDS_SCHEMA: dict[str, Any] = {
    "description": "Further tokens to return, by id.",
    "type": "array",
    "items": {"type": "integer", "minimum": 0},
    "maxItems": MAX_TOKEN_IDS,
}


def _read_token_ids(value: Any) -> tuple[int, ...] | None:
    return read_token_ids(value, "token_ids", MAX_TOKEN_IDS)


class _NextTokenRequest(ChatCompletionFields):
    top: Annotated[
        int | None,
        Field(
            strict=True,
            ge=1,
            le=MAX_TOP,
            description=f"Number of tokens to return: the most likely ones before or after the sampling stages. "
            f"Default: {DEFAULT_TOP}.",
        ),
        EXTENSION,
    ] = None
    token_ids: Annotated[tuple[int, ...] | None, Reader(_read_token_ids, _TOKEN_IDS_SCHEMA), EXTENSION] = None

    def to_chat_request(self) -> ChatRequest:
        """Convert to a request for a distribution. Raises `InvalidParameter` if fields contradict each other."""
        request = super().to_chat_request()
        query = DistributionQuery(self.top or DEFAULT_TOP, self.token_ids or ())
        output = replace(request.output, prompt_output="distribution", distribution=query)
        return replace(request, output=output)


_NOTHING_DRAWN = "no token is drawn"
_MODEL_ALONE = "the distribution is that of the model alone"
_NOTHING_STORED = "nothing is stored"
NEXT_TOKEN_UNSUPPORTED_FIELDS: dict[str, UnsupportedField] = {
    field.name: field
    for field in (
        UnsupportedField("stream", (False,), "there is one distribution"),
        UnsupportedField("stream_options", (), "there is one distribution"),
        UnsupportedField("background", (False,), "there is no answer to generate", is_extension=True),
        UnsupportedField("n", (1,), "there is one distribution"),
        UnsupportedField("best_of", (1,), "there is one distribution", is_extension=True),
        UnsupportedField("echo", (False,), "there is no answer to return", is_extension=True),
        UnsupportedField("logprobs", (False,), "'top' is the number of tokens to return"),
        UnsupportedField("top_logprobs", (0,), "'top' is the number of tokens to return"),
        UnsupportedField("max_tokens", (), _NOTHING_DRAWN),
        UnsupportedField("max_completion_tokens", (), _NOTHING_DRAWN),
        UnsupportedField("seed", (), _NOTHING_DRAWN),
        UnsupportedField("stop", (), _NOTHING_DRAWN),
        UnsupportedField("prediction", (), _NOTHING_DRAWN),
        UnsupportedField("num_beams", (1,), "a search draws no token from a distribution", is_extension=True),
        UnsupportedField("penalty_alpha", (0,), "a search draws no token from a distribution", is_extension=True),
        UnsupportedField("beam_tree", (False,), "there is no search", is_extension=True),
        UnsupportedField("scenario", (), _MODEL_ALONE, is_extension=True),
        UnsupportedField("knowledge", ([],), _MODEL_ALONE, is_extension=True),
        UnsupportedField("store", (False,), _NOTHING_STORED),
        UnsupportedField("metadata", ({},), _NOTHING_STORED),
        UnsupportedField("conversation_id", (), _NOTHING_STORED, is_extension=True),
        UnsupportedField("safety_identifier", (), _NOTHING_STORED),
        UnsupportedField("collect", ("off", "metadata", "full"), _NOTHING_STORED, is_extension=True),
    )
}

NextTokenRequest: type[_NextTokenRequest] = create_model(
    "NextTokenRequest",
    __base__=_NextTokenRequest,
    __doc__="A request for the distribution of the next token: a chat completion request without what follows it.",
    **sampling_fields(published=PUBLISHED_PARAMETERS, without=("max_tokens", *NEXT_TOKEN_UNSUPPORTED_FIELDS)),
    **unsupported_fields(CHAT_UNSUPPORTED_FIELDS | NEXT_TOKEN_UNSUPPORTED_FIELDS),
)
