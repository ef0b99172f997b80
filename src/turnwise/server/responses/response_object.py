"""The response object: settings, output, usage and error of a response."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel

from turnwise.core.chat_request import ChatRequest
from turnwise.core.chat_response import Usage
from turnwise.core.chat_service import ChatService
from turnwise.core.errors import TurnwiseError
from turnwise.core.parameters import PARAMETER_SPECS
from turnwise.server.error_responses import error_body
from turnwise.server.responses.output_items import OutputItem
from turnwise.server.responses.response_fields import TRUNCATION_POLICIES
from turnwise.server.responses.response_request import ResponseRequest
from turnwise.server.schema.response_extensions import ResponseExtensions

ResponseStatus = Literal["in_progress", "completed", "incomplete", "failed"]
ErrorCode = Literal["server_error", "rate_limit_exceeded", "invalid_prompt"]
_ERROR_CODES: Mapping[str, ErrorCode] = {  # by the published type of the error
    "rate_limit_error": "rate_limit_exceeded",
    "invalid_request_error": "invalid_prompt",
}


class InputTokensDetails(BaseModel):
    """Prompt tokens served from the prefix cache. Writes to the cache are free and not counted."""

    cached_tokens: int
    cache_write_tokens: int = 0


class OutputTokensDetails(BaseModel):
    """Tokens of reasoning items; there are none here."""

    reasoning_tokens: int = 0


class ResponseUsageBody(BaseModel):
    """Token counts."""

    input_tokens: int
    input_tokens_details: InputTokensDetails
    output_tokens: int
    output_tokens_details: OutputTokensDetails = OutputTokensDetails()
    total_tokens: int

    @classmethod
    def of(cls, usage: Usage) -> "ResponseUsageBody":
        """Convert the counts of the chat service."""
        return cls(
            input_tokens=usage.prompt_tokens,
            input_tokens_details=InputTokensDetails(cached_tokens=usage.cached_tokens),
            output_tokens=usage.completion_tokens,
            total_tokens=usage.prompt_tokens + usage.completion_tokens,
        )


class ResponseErrorBody(BaseModel):
    """Why a response failed."""

    code: ErrorCode
    message: str

    @classmethod
    def of(cls, error: TurnwiseError) -> "ResponseErrorBody":
        """Convert an error. Errors without a published code are `server_error`."""
        detail = error_body(error)["error"]
        return cls(code=_ERROR_CODES.get(detail["type"], "server_error"), message=detail["message"])


class IncompleteDetails(BaseModel):
    """Why a response ended early."""

    reason: Literal["max_output_tokens"] = "max_output_tokens"


class InputTokensBody(BaseModel):
    """Number of prompt tokens of a response request."""

    object: Literal["response.input_tokens"] = "response.input_tokens"
    input_tokens: int


class _PublishedResponse(BaseModel):
    id: str
    object: Literal["response"] = "response"
    created_at: int
    completed_at: int | None = None
    status: ResponseStatus = "in_progress"
    background: Literal[False] = False
    error: ResponseErrorBody | None = None
    incomplete_details: IncompleteDetails | None = None
    instructions: str | None
    max_output_tokens: int | None
    max_tool_calls: int | None
    model: str
    output: list[OutputItem] = []
    parallel_tool_calls: bool
    previous_response_id: str | None
    prompt_cache_key: str | None
    reasoning: dict[str, str | None]
    safety_identifier: str | None
    service_tier: Literal["default"] = "default"
    store: bool
    temperature: float
    text: dict[str, Any]
    tool_choice: str | dict[str, Any]
    tools: list[dict[str, Any]]
    top_logprobs: int
    top_p: float
    truncation: Literal["auto", "disabled"]
    usage: ResponseUsageBody | None = None
    user: str | None
    metadata: dict[str, str]


class ResponseBody(ResponseExtensions, _PublishedResponse):
    """A response, with the settings that it was generated with."""


def new_response(
    id: str,
    created: int,
    service: ChatService,
    body: ResponseRequest,
    content: Mapping[str, Any],
    chat_request: ChatRequest,
    *,
    is_stored: bool,
) -> ResponseBody:
    """Return a response with all settings and without output.

    Args:
        id: id of the response.
        created: Unix time.
        service: the chat service that generates it.
        body: the request.
        content: the request as JSON, for settings that are sent back unchanged.
        chat_request: the request of the chat service.
        is_stored: whether the response will be stored.
    """
    sampling = {"temperature": PARAMETER_SPECS["temperature"].default, "top_p": PARAMETER_SPECS["top_p"].default}
    sampling |= {name: value for name, value in service.defaults.items() if name in sampling and value is not None}
    sampling |= {name: value for name, value in chat_request.sampling.items() if name in sampling}
    policy = chat_request.context.policy or service.context_policy
    text = dict(content.get("text") or {})
    return ResponseBody(
        id=id, created_at=created, model=service.name, store=is_stored, **sampling,
        instructions=body.instructions, max_output_tokens=chat_request.sampling.get("max_tokens"),
        max_tool_calls=body.max_tool_calls, parallel_tool_calls=body.parallel_tool_calls is not False,
        previous_response_id=body.previous_response_id, prompt_cache_key=body.prompt_cache_key,
        reasoning={"effort": body.reasoning, "summary": None}, safety_identifier=body.safety_identifier,
        text={"format": text.get("format") or {"type": "text"}, "verbosity": text.get("verbosity") or "medium"},
        tool_choice=content.get("tool_choice") or "auto", tools=_tool_bodies(content.get("tools") or ()),
        top_logprobs=chat_request.sampling.get("top_logprobs", 0),
        truncation="disabled" if policy == TRUNCATION_POLICIES["disabled"] else "auto",
        user=body.user, metadata=dict(body.metadata or {}),
    )  # fmt: skip


def _tool_bodies(tools: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The tools of the request; functions have all published fields."""
    defaults = {"description": None, "parameters": None, "strict": True}
    return [defaults | dict(tool) if tool["type"] == "function" else dict(tool) for tool in tools]
