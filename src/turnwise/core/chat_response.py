"""Chat responses: deltas of a stream, complete responses, and their usage."""

from dataclasses import asdict, dataclass, field
from typing import Any

from turnwise.core.inference import FinishReason
from turnwise.core.messages import ToolCall
from turnwise.core.service_report import ServiceReport
from turnwise.core.token_distributions import BeamTree, DistributionTrace
from turnwise.core.tools import ToolCallDelta


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of a request.

    Attributes:
        prompt_tokens: tokens of the prompt.
        completion_tokens: generated tokens, summed over all choices.
        cached_tokens: prompt tokens served from the prefix cache.
        accepted_prediction_tokens: tokens of `prediction` that the model confirmed.
        rejected_prediction_tokens: tokens of `prediction` that were tried and discarded.
        accepted_draft_tokens: tokens that a draft of any source had right.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    accepted_prediction_tokens: int = 0
    rejected_prediction_tokens: int = 0
    accepted_draft_tokens: int = field(default=0, compare=False)  # the answer does not depend on it

    def stored_meta(self) -> dict[str, int]:
        """The counts as metadata of the stored answer, without those that are 0."""
        return {name: count for name, count in asdict(self).items() if count}

    def __add__(self, usage: "Usage") -> "Usage":
        return Usage(
            self.prompt_tokens + usage.prompt_tokens,
            self.completion_tokens + usage.completion_tokens,
            self.cached_tokens + usage.cached_tokens,
            self.accepted_prediction_tokens + usage.accepted_prediction_tokens,
            self.rejected_prediction_tokens + usage.rejected_prediction_tokens,
            self.accepted_draft_tokens + usage.accepted_draft_tokens,
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
        recalled: number of earlier facts and turns that a note before the last user message repeats.
    """

    policy: str
    dropped_messages: int
    summary: ConversationSummary | None = None
    dropped_tokens: int = 0
    recalled: int = 0

    @property
    def description(self) -> str:
        """One sentence for the user interface."""
        if self.dropped_tokens:
            return f"{self.dropped_tokens} older tokens were left out"
        count = self.dropped_messages
        if not count and self.recalled:
            return f"{self.recalled} earlier statement{'s were' if self.recalled > 1 else ' was'} repeated"
        subject = "1 older message was" if count == 1 else f"{count} older messages were"
        return f"{subject} {'summarised' if self.summary is not None and self.summary.text else 'left out'}"

    def stored_meta(self) -> dict[str, Any]:
        """The report as metadata of the stored answer, without the text of a summary."""
        return {
            "policy": self.policy,
            "dropped_messages": self.dropped_messages,
            "dropped_tokens": self.dropped_tokens,
            "recalled": self.recalled,
            "is_summarized": self.summary is not None and bool(self.summary.text),
        }

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
        id: token id.
    """

    text: str
    bytes: bytes
    logprob: float
    id: int = 0


@dataclass(frozen=True, slots=True)
class DecodedLogprobs:
    """The generated token and the most likely tokens at its position."""

    token: DecodedToken
    top: tuple[DecodedToken, ...] = ()


@dataclass(frozen=True, slots=True)
class DecodedDistribution:
    """The distribution of the next token, with the tokens of `trace.tokens`."""

    trace: DistributionTrace
    tokens: tuple[DecodedToken, ...]


@dataclass(frozen=True, slots=True)
class DecodedBeamTree:
    """The tree of a beam search, with the tokens of `tree.nodes`."""

    tree: BeamTree
    tokens: tuple[DecodedToken, ...]


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
        service: report of the service path, in the last delta of the response, if a scenario or documents answered.
        usage_so_far: tokens of the choice up to here, for callers that stop early; set by services that generate.
        choice_scores: scores of all choices by the service's `ChoiceRanker`, in the last delta of the response, if the
            request asked for them.
        distribution: distribution of the next token, if the request asked for it.
        beams: tree of the beam search, in the last delta of the response, if the request asked for it.
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
    service: ServiceReport | None = None
    usage_so_far: Usage | None = None
    choice_scores: tuple[float, ...] = ()
    distribution: DecodedDistribution | None = None
    beams: DecodedBeamTree | None = None


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
    """A complete response with all choices. The fields after `usage` are as in `ChatDelta`."""

    choices: tuple[ChatChoice, ...]
    usage: Usage
    context: ContextReport | None = None
    service: ServiceReport | None = None
    choice_scores: tuple[float, ...] = ()
    distribution: DecodedDistribution | None = None
    beams: DecodedBeamTree | None = None

    @property
    def text(self) -> str:
        """Text of the first choice."""
        return self.choices[0].text

    @property
    def finish_reason(self) -> FinishReason:
        """Finish reason of the first choice."""
        return self.choices[0].finish_reason
