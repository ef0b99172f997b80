"""Chat requests and responses: plain values, shared by the chat service and its callers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from turnwise.core.messages import Message, ToolCall
from turnwise.core.ports import FinishReason, PromptOutput
from turnwise.core.sampling_presets import SamplingPreset
from turnwise.core.tools import AUTO_TOOL_CHOICE, Tool, ToolCallDelta, ToolChoice

ResponseFormatKind = Literal["json_object", "json_schema", "regex", "choice", "lark"]


@dataclass(frozen=True, slots=True)
class ResponseFormat:
    """The format that a response must have.

    Attributes:
        kind: notation of `source`.
        source: JSON schema, regular expression, list of choices or Lark grammar; None for any JSON object.
        param: request field that sets the format. Error messages name it.
    """

    kind: ResponseFormatKind
    source: Any = None
    param: str = "response_format"


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A request for the next message of a conversation, or for the continuation of a text.

    Attributes:
        messages: the conversation; empty if `prompt` is set.
        sampling: generation parameters that the request sets, by their names in `core.parameters.PARAMETER_SPECS`.
        conversation_id: stored conversation that receives the messages and the response. None: store nothing.
        continue_final_message: continue the last message instead of starting a new one.
        n: number of choices to return.
        format: response format.
        chat_template_kwargs: extra variables for the chat template.
        tools: tools that the model may call.
        tool_choice: whether the model may or must call a tool, and which ones.
        parallel_tool_calls: allow several tool calls in one choice.
        prompt: text or token ids to continue without a chat template.
        prompt_output: what to return for the prompt itself. With "embedding" nothing is generated.
        prompt_only: process the prompt and generate nothing.
        best_of: number of choices to generate; the `n` with the highest mean log-probability are returned.
        context_policy: policy for conversations longer than the context (`chat.context_policies`). None: the
            service's default.
        echo: start the continuation of a message with the message itself.
        prediction: expected response text. A correct prediction makes generation faster.
        tenant: owner of the request. Tenants do not share the prefix cache and are served round-robin.
        prompt_cache_key: restricts prefix-cache sharing to the tenant's requests with the same key.
        priority: order among the tenant's requests; lower values run first.
        window: (first, last): use only the first and the last so many tokens of the rendered messages.
        preset: defaults for parameters that neither the request nor the model sets (`core.sampling_presets`).
    """

    messages: tuple[Message, ...]
    sampling: Mapping[str, Any] = field(default_factory=dict)
    conversation_id: str | None = None
    continue_final_message: bool = False
    n: int = 1
    format: ResponseFormat | None = None
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = AUTO_TOOL_CHOICE
    parallel_tool_calls: bool = True
    prompt: str | tuple[int, ...] | None = None
    prompt_output: PromptOutput = "nothing"
    prompt_only: bool = False
    best_of: int = 1
    context_policy: str | None = None
    echo: bool = False
    prediction: str | None = None
    tenant: str = ""
    prompt_cache_key: str = ""
    priority: int = 0
    window: tuple[int, int] | None = None
    preset: SamplingPreset = "api"

    @property
    def is_continuation(self) -> bool:
        """True if generation continues an existing text."""
        return self.continue_final_message or self.prompt is not None


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of a request.

    Attributes:
        prompt_tokens: tokens of the prompt.
        completion_tokens: generated tokens, summed over all choices.
        cached_tokens: prompt tokens served from the prefix cache.
        accepted_prediction_tokens: tokens of `prediction` that the model confirmed.
        rejected_prediction_tokens: tokens of `prediction` that were tried and discarded.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    accepted_prediction_tokens: int = 0
    rejected_prediction_tokens: int = 0

    def __add__(self, usage: "Usage") -> "Usage":
        return Usage(
            self.prompt_tokens + usage.prompt_tokens,
            self.completion_tokens + usage.completion_tokens,
            self.cached_tokens + usage.cached_tokens,
            self.accepted_prediction_tokens + usage.accepted_prediction_tokens,
            self.rejected_prediction_tokens + usage.rejected_prediction_tokens,
        )


@dataclass(frozen=True, slots=True)
class ConversationSummary:
    """A summary that replaces dropped messages.

    Attributes:
        text: the summary; empty if the model wrote none or the text did not fit.
        num_messages: number of dropped messages that the summary covers.
        usage: tokens spent on writing it; zero if it came from the summary cache.
    """

    text: str
    num_messages: int
    usage: Usage


@dataclass(frozen=True, slots=True)
class ContextReport:
    """How a context policy shortened the conversation.

    Attributes:
        policy: name of the policy.
        dropped_messages: number of messages left out of the prompt.
        summary: summary of the dropped messages, if any.
        dropped_tokens: number of tokens left out of the remaining messages.
    """

    policy: str
    dropped_messages: int
    summary: ConversationSummary | None = None
    dropped_tokens: int = 0

    @property
    def description(self) -> str:
        """One sentence for the user interface."""
        if self.dropped_tokens:
            return f"{self.dropped_tokens} older tokens were left out"
        count = self.dropped_messages
        subject = "1 older message was" if count == 1 else f"{count} older messages were"
        return f"{subject} {'summarised' if self.summary is not None and self.summary.text else 'left out'}"

    @property
    def usage(self) -> Usage:
        """Tokens spent on the summary."""
        return Usage(0, 0) if self.summary is None else self.summary.usage


@dataclass(frozen=True, slots=True)
class DecodedToken:
    """A token with its log-probability.

    Attributes:
        text: the token as text; the name of a special token.
        bytes: UTF-8 bytes that the token adds to the response. They may be part of a character, which `text` cannot
            show. Empty for special tokens.
        logprob: log-probability.
    """

    text: str
    bytes: bytes
    logprob: float


@dataclass(frozen=True, slots=True)
class DecodedLogprobs:
    """The generated token and the most likely tokens at its position."""

    token: DecodedToken
    top: tuple[DecodedToken, ...] = ()


@dataclass(frozen=True, slots=True)
class ChatDelta:
    """A part of one choice of a streamed response.

    Attributes:
        text: text to append to the choice.
        finish_reason: set in the last delta of the choice.
        usage: set in the last delta of the response.
        index: index of the choice.
        logprobs: one entry per token, if the request asked for log-probabilities.
        tool_calls: tool-call deltas.
        prompt_logprobs: log-probabilities of the prompt tokens, from the second one on.
        mean_logprob: mean over the tokens of the choice; set together with `finish_reason`.
        embedding: embedding of the prompt.
        context: report of the context policy, in the last delta of the response, if the policy changed anything.
        stop_token_logprobs: log-probability of the stop token, which is not part of the text.
    """

    text: str = ""
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    index: int = 0
    logprobs: tuple[DecodedLogprobs, ...] = ()
    tool_calls: tuple[ToolCallDelta, ...] = ()
    prompt_logprobs: tuple[DecodedLogprobs, ...] = ()
    mean_logprob: float | None = None
    embedding: tuple[float, ...] | None = None
    context: ContextReport | None = None
    stop_token_logprobs: DecodedLogprobs | None = None


@dataclass(frozen=True, slots=True)
class ChatChoice:
    """One complete choice of a response. Fields as in `ChatDelta`; `mean_logprob` includes hidden tokens."""

    text: str
    finish_reason: FinishReason
    logprobs: tuple[DecodedLogprobs, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    prompt_logprobs: tuple[DecodedLogprobs, ...] = ()
    mean_logprob: float | None = None
    stop_token_logprobs: DecodedLogprobs | None = None


@dataclass(frozen=True, slots=True)
class ChatResponse:
    """A complete response with all choices."""

    choices: tuple[ChatChoice, ...]
    usage: Usage
    context: ContextReport | None = None

    @property
    def text(self) -> str:
        """Text of the first choice."""
        return self.choices[0].text

    @property
    def finish_reason(self) -> FinishReason:
        """Finish reason of the first choice."""
        return self.choices[0].finish_reason
