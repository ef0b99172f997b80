"""Context policies over HTTP: the field that chooses one, and what an answer says of what was done."""

from typing import Any

from pydantic import BaseModel

from turnwise.chat.context_policies import get_context_policy, load_context_policies
from turnwise.chat.service import ContextReport, ConversationSummary
from turnwise.core.errors import InvalidParameter

FIELD = "context_policy"
SCHEMA: dict[str, Any] = {
    "enum": sorted(load_context_policies()),
    "description": "What to do where the messages do not fit the context; unset: as the server was told.",
}


def read_context_policy(value: Any) -> str | None:
    """The policy of a request; None where nothing was said. Raises `InvalidParameter`."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidParameter(
            FIELD, f"'{FIELD}' must be one of {', '.join(load_context_policies())}.", code="invalid_type"
        )
    get_context_policy(value)
    return value


class SummaryBody(BaseModel):
    """What stands for dropped messages, how many of them it tells of, and the part of the usage that went into it."""

    text: str
    messages: int
    prompt_tokens: int
    completion_tokens: int

    @classmethod
    def of(cls, summary: ConversationSummary) -> "SummaryBody":
        """The chat room's summary as JSON."""
        return cls(
            text=summary.text, messages=summary.num_messages, prompt_tokens=summary.usage.prompt_tokens,
            completion_tokens=summary.usage.completion_tokens,
        )  # fmt: skip


class ContextBody(BaseModel):
    """What a context policy did so that the messages fit."""

    policy: str
    dropped_messages: int
    dropped_tokens: int | None = None
    summary: SummaryBody | None = None

    @classmethod
    def of(cls, report: ContextReport | None) -> "ContextBody | None":
        """The chat room's report as JSON; None where nothing was done."""
        if report is None:
            return None
        summary = None if report.summary is None else SummaryBody.of(report.summary)
        return cls(
            policy=report.policy, dropped_messages=report.dropped_messages, summary=summary,
            dropped_tokens=report.dropped_tokens or None,
        )  # fmt: skip


def with_context(answer: dict[str, Any], context: ContextBody | None) -> dict[str, Any]:
    """A dumped completion or chunk; what is null of `context` is left out, and the field where nothing was done."""
    if context is None:
        return {name: value for name, value in answer.items() if name != "context"}
    return answer | {"context": context.model_dump(exclude_none=True)}
