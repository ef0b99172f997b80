"""Responses of `POST /v1/next_token` and `POST /v1/answer_tokens`."""

import math
from typing import Any

from pydantic import BaseModel

from turnwise.core.chat_response import ChatResponse, DecodedDistribution, DecodedLogprobs, DecodedToken
from turnwise.core.chat_service import ChatService
from turnwise.core.served_versions import AnsweringVersion
from turnwise.core.token_distributions import TokenTrace
from turnwise.server.schema.response_extensions import ResponseExtensions, collect_extensions
from turnwise.server.schema.usage import UsageBody


class ScoringModel(ResponseExtensions):
    """The model whose probabilities these are. `version` and `weights` are null if it has no versions.

    A stored answer has the version and the digest of the weights that gave it in its `meta`: if they differ, another
    version gave the answer.
    """

    model: str
    system_fingerprint: str
    version: str | None = None
    weights: str | None = None

    @classmethod
    def fields_of(cls, service: ChatService, version: AnsweringVersion | None) -> dict[str, Any]:
        """The fields for a service and the version that answers, if it has versions."""
        fields = {"model": service.name, "system_fingerprint": service.fingerprint}
        if version is not None:
            fields |= {"version": version.reference, "weights": version.weights_sha256}
        return fields


class TokenBody(BaseModel):
    """A token. It may be a part of a character; special tokens have no `bytes`."""

    id: int
    token: str
    bytes: list[int] | None

    @classmethod
    def fields_of(cls, token: DecodedToken) -> dict[str, Any]:
        """The fields of a token of the chat service."""
        return {"id": token.id, "token": token.text, "bytes": list(token.bytes) or None}


class StageBody(BaseModel):
    """A sampling stage: the parameter or constraint, its value, and how many tokens are left after it.

    `rest` is the probability after it of all tokens that are not in `tokens`.
    """

    name: str
    value: float | None
    num_kept: int
    rest: float


class NextTokenBody(TokenBody):
    """A token that may come next.

    `logprob` and `probability` are those of the model, `probabilities` those after each stage. `removed_by` is the
    stage that removed it, `reason` a sentence that says why; both are null if it can be drawn. The answer ends with it
    if `ends_answer` is true.
    """

    rank: int
    logprob: float
    probability: float
    probabilities: list[float]
    removed_by: str | None
    reason: str | None
    ends_answer: bool

    @classmethod
    def of(cls, token: DecodedToken, trace: TokenTrace, distribution: DecodedDistribution) -> "NextTokenBody":
        """Convert a token of the chat service."""
        stage = None if trace.removed_by is None else distribution.trace.stages[trace.removed_by]
        return cls(
            **cls.fields_of(token), rank=trace.rank, logprob=token.logprob, probability=math.exp(trace.logprob),
            probabilities=[math.exp(logprob) for logprob in trace.stage_logprobs],
            removed_by=None if stage is None else stage.name, reason=None if stage is None else stage.reason,
            ends_answer=trace.ends_answer,
        )  # fmt: skip


class NextTokenResponse(ScoringModel):
    """The distribution of the next token: the stages in order, and tokens by rank.

    `rest` is the model's probability of all tokens that are not in `tokens`. After the last stage, the probabilities
    are those that the sampler draws from.
    """

    stages: list[StageBody]
    tokens: list[NextTokenBody]
    rest: float
    vocab_size: int
    usage: UsageBody

    @classmethod
    def of(
        cls,
        service: ChatService,
        version: AnsweringVersion | None,
        distribution: DecodedDistribution,
        response: ChatResponse,
    ) -> "NextTokenResponse":
        """Convert a response of the chat service."""
        trace = distribution.trace
        tokens = [
            NextTokenBody.of(token, entry, distribution)
            for token, entry in zip(distribution.tokens, trace.tokens, strict=True)
        ]
        stages = [
            StageBody(
                name=stage.name, value=stage.value, num_kept=stage.num_kept,
                rest=_rest([token.probabilities[index] for token in tokens]),
            )
            for index, stage in enumerate(trace.stages)
        ]  # fmt: skip
        return cls(
            **cls.fields_of(service, version), stages=stages, tokens=tokens,
            rest=_rest([token.probability for token in tokens]), vocab_size=trace.vocab_size,
            usage=UsageBody.of(response.usage), **dict(collect_extensions(response)),
        )  # fmt: skip


class ScoredTokenBody(TokenBody):
    """A token with its log-probability."""

    logprob: float


class AnswerTokenBody(ScoredTokenBody):
    """A token of the answer, and the most likely tokens at its place."""

    top_logprobs: list[ScoredTokenBody]

    @classmethod
    def of(cls, logprobs: DecodedLogprobs) -> "AnswerTokenBody":
        """Convert log-probabilities of the chat service."""
        token = logprobs.token
        top = [ScoredTokenBody(**cls.fields_of(entry), logprob=entry.logprob) for entry in logprobs.top]
        return cls(**cls.fields_of(token), logprob=token.logprob, top_logprobs=top)


class AnswerTokensResponse(ScoringModel):
    """The tokens of an answer with the log-probabilities that the model gives them now, before all sampling stages.

    `is_encoded_again` is true if the tokens follow from the text: another division may have been generated.
    """

    tokens: list[AnswerTokenBody]
    is_encoded_again: bool
    usage: UsageBody


def _rest(probabilities: list[float]) -> float:
    return max(0.0, 1.0 - math.fsum(probabilities))
