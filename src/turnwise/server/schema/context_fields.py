"""Context policies: the request field `context_policy` and the response field `context`, both extensions."""

from typing import Annotated, Any

from pydantic import BaseModel

from turnwise.chat.context_policies import CONTEXT_POLICIES
from turnwise.core.chat_response import ContextReport, ConversationSummary
from turnwise.core.errors import InvalidParameter
from turnwise.server.schema.request_field import EXTENSION, PageControl, Reader, RequestBody, Target

FIELD = "context_policy"
_SCHEMA: dict[str, Any] = {
    "enum": sorted(CONTEXT_POLICIES.names()),
    "description": "What to do if the messages do not fit the model's context. Default: the policy of the server.",
}


def read_context_policy(value: Any) -> str | None:
    """Return the name of a context policy; None for null. Raises `InvalidParameter`."""
    if value is None:
        return None
    if not isinstance(value, str):
        names = ", ".join(CONTEXT_POLICIES.names())
        raise InvalidParameter(FIELD, f"'{FIELD}' must be one of {names}.", code="invalid_type")
    CONTEXT_POLICIES.load(value)
    return value


class ContextFields(RequestBody):
    """Use of the context."""

    context_policy: Annotated[
        str | None,
        Reader(read_context_policy, _SCHEMA),
        EXTENSION,
        Target("context.policy"),
        PageControl("context", "What happens to the oldest messages of a chat that is too long.", "choice"),
    ] = None


class SummaryBody(BaseModel):
    """A summary of dropped messages: its text, the number of messages, and its share of the usage."""

    text: str
    messages: int
    prompt_tokens: int
    completion_tokens: int

    @classmethod
    def of(cls, summary: ConversationSummary) -> "SummaryBody":
        """Convert the summary of the chat service."""
        return cls(
            text=summary.text, messages=summary.num_messages, prompt_tokens=summary.usage.prompt_tokens,
            completion_tokens=summary.usage.completion_tokens,
        )  # fmt: skip


class ContextBody(BaseModel):
    """What a context policy dropped or summarized."""

    policy: str
    dropped_messages: int
    dropped_tokens: int | None = None
    recalled: int | None = None
    summary: SummaryBody | None = None

    @classmethod
    def of(cls, report: ContextReport | None) -> "ContextBody | None":
        """Convert the report of the chat service; None if nothing was dropped."""
        if report is None:
            return None
        summary = None if report.summary is None else SummaryBody.of(report.summary)
        return cls(
            policy=report.policy, dropped_messages=report.dropped_messages, summary=summary,
            dropped_tokens=report.dropped_tokens or None, recalled=report.recalled or None,
        )  # fmt: skip
