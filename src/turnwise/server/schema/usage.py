"""Token counts of completions."""

from collections.abc import Sequence

from pydantic import BaseModel

from turnwise.core.chat_response import Usage


class PromptTokensDetails(BaseModel):
    """Prompt tokens served from the prefix cache."""

    cached_tokens: int


class CompletionTokensDetails(BaseModel):
    """Tokens of `prediction` that the answer has, and tokens of it that were tried in vain."""

    accepted_prediction_tokens: int
    rejected_prediction_tokens: int


class UsageBody(BaseModel):
    """Token counts."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails
    completion_tokens_details: CompletionTokensDetails

    @classmethod
    def of(cls, usage: Usage) -> "UsageBody":
        """Convert the counts of the chat service."""
        return cls(
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            total_tokens=usage.prompt_tokens + usage.completion_tokens,
            prompt_tokens_details=PromptTokensDetails(cached_tokens=usage.cached_tokens),
            completion_tokens_details=CompletionTokensDetails(
                accepted_prediction_tokens=usage.accepted_prediction_tokens,
                rejected_prediction_tokens=usage.rejected_prediction_tokens,
            ),
        )

    @classmethod
    def of_sum(cls, usages: Sequence[Usage]) -> "UsageBody":
        """Convert the sum of the counts of several prompts."""
        return cls.of(
            Usage(
                sum(usage.prompt_tokens for usage in usages),
                sum(usage.completion_tokens for usage in usages),
                sum(usage.cached_tokens for usage in usages),
                sum(usage.accepted_prediction_tokens for usage in usages),
                sum(usage.rejected_prediction_tokens for usage in usages),
            )
        )
