"""What the server sends: the published shapes of a response, its output items and its usage."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel

from turnwise.chat.service import ChatRequest, ChatService, DecodedLogprobs, DecodedToken, Usage
from turnwise.core.errors import TurnwiseError
from turnwise.core.parameters import PARAMETER_SPECS
from turnwise.server.error_responses import error_body
from turnwise.server.responses.response_fields import TRUNCATION_POLICIES
from turnwise.server.responses.response_request import ResponseRequest
from turnwise.server.schema.context_fields import ContextBody, with_context

ResponseStatus = Literal["in_progress", "completed", "incomplete", "failed"]
ItemStatus = Literal["in_progress", "completed", "incomplete"]


class ResponseTopLogprob(BaseModel):
    """A token with its log-probability. The bytes may be part of a character; special tokens have none."""

    token: str
    bytes: list[int]
    logprob: float

    @classmethod
    def of(cls, likely: DecodedToken) -> "ResponseTopLogprob":
        """From the chat service's value."""
        return cls(token=likely.text, bytes=list(likely.bytes), logprob=likely.logprob)


class ResponseLogprob(ResponseTopLogprob):
    """The sampled token and the likeliest ones at its position."""

    top_logprobs: list[ResponseTopLogprob]

    @classmethod
    def of_report(cls, report: DecodedLogprobs) -> "ResponseLogprob":
        """From the chat service's report."""
        chosen = ResponseTopLogprob.of(report.token)
        return cls(**chosen.model_dump(), top_logprobs=[ResponseTopLogprob.of(likely) for likely in report.top])


class OutputText(BaseModel):
    """The text of a message."""

    type: Literal["output_text"] = "output_text"
    text: str = ""
    annotations: list[None] = []
    logprobs: list[ResponseLogprob] = []


class MessageItem(BaseModel):
    """A message of the assistant."""

    type: Literal["message"] = "message"
    id: str
    status: ItemStatus = "in_progress"
    role: Literal["assistant"] = "assistant"
    content: list[OutputText] = []


class FunctionCallItem(BaseModel):
    """A call of a function; `arguments` is JSON."""

    type: Literal["function_call"] = "function_call"
    id: str
    status: ItemStatus = "in_progress"
    call_id: str
    name: str
    arguments: str = ""


class CustomToolCallItem(BaseModel):
    """A call of a custom tool; `input` is free text."""

    type: Literal["custom_tool_call"] = "custom_tool_call"
    id: str
    status: ItemStatus = "in_progress"
    call_id: str
    name: str
    input: str = ""


OutputItem = MessageItem | FunctionCallItem | CustomToolCallItem


class InputTokensDetails(BaseModel):
    """Prompt tokens served from the prefix cache. No client pays for writing to it, so none are counted as written."""

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
        """From the chat service's counts."""
        return cls(
            input_tokens=usage.prompt_tokens,
            input_tokens_details=InputTokensDetails(cached_tokens=usage.cached_tokens),
            output_tokens=usage.completion_tokens,
            total_tokens=usage.prompt_tokens + usage.completion_tokens,
        )


ErrorCode = Literal["server_error", "rate_limit_exceeded", "invalid_prompt"]
_ERROR_CODES: Mapping[str, ErrorCode] = {  # by the type of the error
    "rate_limit_error": "rate_limit_exceeded",
    "invalid_request_error": "invalid_prompt",
}


class ResponseErrorBody(BaseModel):
    """Why a response failed."""

    code: ErrorCode
    message: str

    @classmethod
    def of(cls, error: TurnwiseError) -> "ResponseErrorBody":
        """The published code for an error; every other error is a `server_error`."""
        detail = error_body(error)["error"]
        return cls(code=_ERROR_CODES.get(detail["type"], "server_error"), message=detail["message"])


class IncompleteDetails(BaseModel):
    """Why a response ended early."""

    reason: Literal["max_output_tokens"] = "max_output_tokens"


class InputTokensBody(BaseModel):
    """How many tokens a response request has."""

    object: Literal["response.input_tokens"] = "response.input_tokens"
    input_tokens: int


class ResponseBody(BaseModel):
    """A response with the settings that it was generated with. `context` is an extension, there only where a context
    policy changed something."""

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
    context: ContextBody | None = None

    def dump(self) -> dict[str, Any]:
        """As JSON; `context` only where there is one."""
        return with_context(self.model_dump(), self.context)


def new_response(
    id: str, created: int, service: ChatService, request: ResponseRequest, content: Mapping[str, Any],
    turn: ChatRequest,
    *, is_stored: bool,
) -> ResponseBody:  # fmt: skip
    """The response as it begins: every setting, no output.

    Args:
        id: its id.
        created: seconds since 1970.
        service: what generates it.
        request: the body of the request.
        content: the same body as JSON, for settings that are sent back as they came.
        turn: what the service is asked for.
        is_stored: whether the response will be stored.
    """
    used = {"temperature": PARAMETER_SPECS["temperature"].default, "top_p": PARAMETER_SPECS["top_p"].default}
    used |= {name: value for name, value in service.defaults.items() if name in used and value is not None}
    used |= {name: value for name, value in turn.sampling.items() if name in used}
    policy = turn.context_policy or service.context_policy
    text = dict(content.get("text") or {})
    return ResponseBody(
        id=id, created_at=created, model=service.name, store=is_stored, **used,
        instructions=request.instructions, max_output_tokens=turn.sampling.get("max_tokens"),
        max_tool_calls=request.max_tool_calls, parallel_tool_calls=request.parallel_tool_calls is not False,
        previous_response_id=request.previous_response_id, prompt_cache_key=request.prompt_cache_key,
        reasoning={"effort": request.reasoning, "summary": None}, safety_identifier=request.safety_identifier,
        text={"format": text.get("format") or {"type": "text"}, "verbosity": text.get("verbosity") or "medium"},
        tool_choice=content.get("tool_choice") or "auto", tools=_tools(content.get("tools") or ()),
        top_logprobs=turn.sampling.get("top_logprobs", 0),
        truncation="disabled" if policy == TRUNCATION_POLICIES["disabled"] else "auto",
        user=request.user, metadata=dict(request.metadata or {}),
    )  # fmt: skip


def _tools(tools: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The tools as they came, with what is published of every function."""
    always = {"description": None, "parameters": None, "strict": True}
    return [always | dict(tool) if tool["type"] == "function" else dict(tool) for tool in tools]
