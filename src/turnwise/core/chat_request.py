"""What is asked of the chat room and what comes back: plain values."""

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
    """What an answer must look like.

    Attributes:
        kind: which notation `source` is in.
        source: the schema, pattern, choices or grammar; nothing for any JSON object.
        param: the field of the request it came in, which errors name.
    """

    kind: ResponseFormatKind
    source: Any = None
    param: str = "response_format"


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One request for the next message, or for the continuation of a text.

    Attributes:
        messages: the conversation so far; empty where there is a `prompt`.
        asked: generation parameters that were said, by name as in `core.parameters.SPECS`.
        conversation_id: where to keep messages and reply; None keeps nothing.
        continue_final: go on with the last message instead of starting a new one.
        answers: how many different answers are wanted.
        format: what they must look like.
        variables: further values for the model's chat template.
        tools: what the model may call.
        tool_choice: whether it may or must, and which of them.
        parallel_tool_calls: one answer may hold several calls.
        prompt: a text, or its ids, to go on from as it is, without a chat template.
        reading: what to report of the prompt itself; with "embedding" there is no answer.
        silent: there is no answer, the prompt is only read.
        best_of: how many answers to generate, of which the likeliest `answers` are given back.
        context_policy: what to do where the messages do not fit (`chat.context`); None: as the service does.
        echo: an answer that goes on with a message begins with that message.
        prediction: what the answer will perhaps say; saves time where it does.
        tenant: whose request it is: what was read for one is not shared with another, and they take turns.
        cache_key: a part of the tenant's requests that share what was read among each other only.
        priority: among the tenant's requests, the lower the sooner.
        window: only the first and the last so many tokens of the messages are read.
        preset: values for parameters that neither the request nor the model sets (`core.presets`).
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
        """Whether the answer goes on in the middle of a text."""
        return self.continue_final_message or self.prompt is not None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens read and written.

    Attributes:
        prompt_tokens: of what was put before the model.
        completion_tokens: of all answers.
        cached_tokens: those of the prompt that an earlier request had read.
        accepted_tokens: those of the prediction that turned out to be said.
        rejected_tokens: those that were tried and did not.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    accepted_prediction_tokens: int = 0
    rejected_prediction_tokens: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        """Both together."""
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cached_tokens + other.cached_tokens,
            self.accepted_prediction_tokens + other.accepted_prediction_tokens,
            self.rejected_prediction_tokens + other.rejected_prediction_tokens,
        )


@dataclass(frozen=True, slots=True)
class ConversationSummary:
    """What stands for messages that were dropped.

    Attributes:
        text: the summary; empty where the model wrote none, or one that does not fit.
        messages: how many of the dropped messages it tells of.
        usage: what writing it took; nothing where it was written for an earlier turn.
    """

    text: str
    num_messages: int
    usage: Usage


@dataclass(frozen=True, slots=True)
class ContextReport:
    """What a context policy did so that the messages fit.

    Attributes:
        policy: its name.
        dropped_messages: how many the model does not read.
        summary: what stands for them.
        dropped_tokens: how many it does not read of messages that it reads otherwise.
    """

    policy: str
    dropped_messages: int
    summary: ConversationSummary | None = None
    dropped_tokens: int = 0

    @property
    def description(self) -> str:
        """A sentence for people."""
        if self.dropped_tokens:
            return f"{self.dropped_tokens} older tokens were left out"
        many = "1 older message was" if self.dropped_messages == 1 else f"{self.dropped_messages} older messages were"
        return f"{many} {'summarised' if self.summary is not None and self.summary.text else 'left out'}"

    @property
    def usage(self) -> Usage:
        """What it took beside the answer."""
        return Usage(0, 0) if self.summary is None else self.summary.usage


@dataclass(frozen=True, slots=True)
class DecodedToken:
    """A token with its log-probability. `bytes` is what it adds to an answer: perhaps a part of a character, which
    `text` cannot show, and nothing for a special token, whose name is its `text`."""

    text: str
    bytes: bytes
    logprob: float


@dataclass(frozen=True, slots=True)
class DecodedLogprobs:
    """The token that was chosen, and the likeliest ones in its place."""

    token: DecodedToken
    top: tuple[DecodedToken, ...] = ()


@dataclass(frozen=True, slots=True)
class ChatDelta:
    """A piece of one of the answers. `finish` comes with its last one, `usage` and `context` with the last of all.

    `context` says what a context policy did, where it did something; `prompt` are the reports on the prompt's tokens,
    from the second on; where log-probabilities were asked for, `mean_logprob` comes with `finish`, and `end`, the
    report on the token that ended the answer and is no part of it; `embedding` is the prompt's.
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
    """A whole answer. `mean_logprob` is over all its tokens, also those that are not shown; `end` as in `Delta`."""

    text: str
    finish_reason: FinishReason
    logprobs: tuple[DecodedLogprobs, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    prompt_logprobs: tuple[DecodedLogprobs, ...] = ()
    mean_logprob: float | None = None
    stop_token_logprobs: DecodedLogprobs | None = None


@dataclass(frozen=True, slots=True)
class ChatResponse:
    """All answers to one request."""

    choices: tuple[ChatChoice, ...]
    usage: Usage
    context: ContextReport | None = None

    @property
    def text(self) -> str:
        """The first answer's text."""
        return self.choices[0].text

    @property
    def finish_reason(self) -> FinishReason:
        """How the first answer ended."""
        return self.choices[0].finish_reason
