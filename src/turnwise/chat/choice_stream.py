"""One choice during generation: engine events in, deltas with text, tool calls and log-probabilities out.

Stop strings and log-probabilities apply to the text only, not to tool calls.
"""

from collections import deque
from collections.abc import Sequence

from turnwise.chat.tool_calling import ToolCallReader
from turnwise.core.chat_response import ChatDelta, DecodedDistribution, DecodedLogprobs, DecodedToken, Usage
from turnwise.core.chat_service import TokenInspector
from turnwise.core.inference import (
    ErrorEvent,
    FinishEvent,
    GenerationEvent,
    GenerationRequest,
    PromptEvent,
    RequestStats,
    TokenEvent,
    TokenLogprobs,
)
from turnwise.core.tools import ToolCallDelta
from turnwise.text.streaming.detokenizer import IncrementalDetokenizer
from turnwise.text.streaming.reply_trimmer import ReplyTrimmer
from turnwise.text.streaming.stop_string_scanner import StopStringScanner
from turnwise.text.tokenization.tokenizer import Tokenizer

MIN_LOGPROB = -9999.0  # OpenAI reference: value for very unlikely tokens; JSON has no infinity


class ChoiceStream:
    """Converts the engine events of one choice into deltas."""

    def __init__(
        self,
        index: int,
        request: GenerationRequest,
        tokenizer: Tokenizer,
        token_inspector: TokenInspector,
        prefix: Sequence[int],
        tool_call_reader: ToolCallReader | None = None,
        trimmer: ReplyTrimmer | None = None,
        incomplete_ids: Sequence[int] = (),
    ) -> None:
        """Start a choice.

        Args:
            index: index of the choice.
            request: engine request.
            tokenizer: tokenizer of the model.
            token_inspector: decodes tokens for log-probabilities.
            prefix: token ids that the choice continues.
            tool_call_reader: parses tool calls; None: all output is text.
            trimmer: removes white space around the text; None: removes none.
            incomplete_ids: ids after `prefix` that are the start of a character, which the choice completes.
        """
        self.index = index
        self._request = request
        self.num_generated_tokens = 0
        self.stats = RequestStats()
        self.is_done = False
        self._logprob_sum: float | None = None  # sum over all tokens so far
        self._token_inspector = token_inspector
        self._detokenizer = IncrementalDetokenizer(tokenizer, prefix)
        for id in incomplete_ids:
            self._detokenizer.push(id)
        self._scanner = StopStringScanner(request.stop_strings)
        self._trimmer = trimmer
        self._tool_calls = tool_call_reader.create_stream() if tool_call_reader else None
        self._markers = tool_call_reader.markers if tool_call_reader else {}
        self._num_decoded = self._num_released = 0  # characters detokenized, and characters released by the scanner
        # (position of the token's first character, log-probabilities) of tokens whose text is not released yet
        self._pending_logprobs: deque[tuple[int, DecodedLogprobs]] = deque()

    @property
    def has_stopped(self) -> bool:
        """True after a stop string."""
        return self._scanner.has_stopped

    def push(self, event: GenerationEvent) -> ChatDelta | None:
        """Process an event. Returns None while its text may still become a stop string or a tool call.

        Raises:
            TurnwiseError: the error of an `ErrorEvent`; a `UserError` if the request caused it.
        """
        self.stats = event.stats
        if isinstance(event, ErrorEvent):
            raise event.error
        text, calls = "", list[ToolCallDelta]()
        if isinstance(event, TokenEvent):
            text, calls = self._push_token(event)
        finish_reason = event.finish_reason
        if finish_reason is not None:
            last_text, last_calls = self._flush()
            text, calls = text + last_text, calls + last_calls
        if self._scanner.has_stopped:
            finish_reason = "stop"
        elif finish_reason == "stop" and self._tool_calls is not None and self._tool_calls.is_complete:
            finish_reason = "tool_calls"
        self._num_released += len(text)
        self.is_done = finish_reason is not None
        if self._trimmer is not None:
            text = self._trimmer.push(text)
        logprobs = self._release_logprobs()
        prompt_logprobs = self._decode_prompt_logprobs(event)
        if not (text or finish_reason or logprobs or calls or prompt_logprobs):
            return None
        return ChatDelta(
            text,
            finish_reason,
            index=self.index,
            logprobs=logprobs,
            tool_calls=tuple(calls),
            prompt_logprobs=prompt_logprobs,
            mean_logprob=self._mean_logprob() if self.is_done else None,
            embedding=event.embedding if isinstance(event, PromptEvent) else None,
            distribution=self._decode_distribution(event),
            stop_token_logprobs=self._stop_token_logprobs(event),
            usage_so_far=self.usage,
        )

    @property
    def usage(self) -> Usage:
        """Tokens of this choice so far."""
        stats = self.stats
        return Usage(
            len(self._request.prompt_ids), self.num_generated_tokens, stats.cached_tokens,
            stats.accepted_prediction_tokens, stats.rejected_prediction_tokens, stats.accepted_draft_tokens,
        )  # fmt: skip

    def _push_token(self, event: TokenEvent) -> tuple[str, list[ToolCallDelta]]:
        """Decode a token. Returns the text and the tool-call deltas that are certain now."""
        self.num_generated_tokens += 1
        if event.logprobs is not None:
            self._logprob_sum = (self._logprob_sum or 0.0) + event.logprobs.logprob
            self._pending_logprobs.append((self._num_decoded, self._decode_logprobs(event.token_id, event.logprobs)))
        return self._scan(self._decode(event.token_id))

    def _flush(self) -> tuple[str, list[ToolCallDelta]]:
        """Text and tool-call deltas that are still buffered at the end of the answer."""
        text, calls = self._scan(self._detokenizer.flush())
        if self._tool_calls is not None:
            text += self._scanner.push(self._tool_calls.flush())
        return text + self._scanner.flush(), calls

    def _mean_logprob(self) -> float | None:
        return None if self._logprob_sum is None else self._logprob_sum / max(1, self.num_generated_tokens)

    def _decode_prompt_logprobs(self, event: GenerationEvent) -> tuple[DecodedLogprobs, ...]:
        if not isinstance(event, PromptEvent):
            return ()
        prompt_ids = self._request.prompt_ids[max(1, self._request.prompt_logprobs_start) :]
        return tuple(
            self._decode_logprobs(id, logprobs) for id, logprobs in zip(prompt_ids, event.prompt_logprobs, strict=False)
        )

    def _decode_distribution(self, event: GenerationEvent) -> DecodedDistribution | None:
        if not isinstance(event, PromptEvent) or event.distribution is None:
            return None
        tokens = (self._decode_token(token.token_id, token.logprob) for token in event.distribution.tokens)
        return DecodedDistribution(event.distribution, tuple(tokens))

    def _stop_token_logprobs(self, event: GenerationEvent) -> DecodedLogprobs | None:
        """Log-probability of the stop token. None after a stop string."""
        if not isinstance(event, FinishEvent) or self._scanner.has_stopped:
            return None
        if event.stop_id is None or event.logprobs is None:
            return None
        return self._decode_logprobs(event.stop_id, event.logprobs)

    def _decode(self, id: int) -> str:
        if id in self._markers:
            return self._detokenizer.flush() + self._markers[id]
        return self._detokenizer.push(id)

    def _scan(self, text: str) -> tuple[str, list[ToolCallDelta]]:
        self._num_decoded += len(text)
        if self._tool_calls is None:
            return self._scanner.push(text), []
        content, calls = self._tool_calls.push(text)
        text = self._scanner.push(content)
        if self._scanner.has_stopped:
            return text, []  # discard everything after a stop string
        if self._tool_calls.is_calling:
            text += self._scanner.flush()
        return text, calls

    def _release_logprobs(self) -> tuple[DecodedLogprobs, ...]:
        """Log-probabilities of tokens whose text has been released at least partly. Excludes stop strings and calls."""
        released = []
        release_all = (
            self.is_done
            and not self._scanner.has_stopped
            and not (self._tool_calls is not None and self._tool_calls.is_calling)
        )
        while self._pending_logprobs and (release_all or self._pending_logprobs[0][0] < self._num_released):
            released.append(self._pending_logprobs.popleft()[1])
        return tuple(released)

    def _decode_logprobs(self, id: int, logprobs: TokenLogprobs) -> DecodedLogprobs:
        return DecodedLogprobs(
            self._decode_token(id, logprobs.logprob),
            tuple(self._decode_token(top_id, value) for top_id, value in logprobs.top_logprobs),
        )

    def _decode_token(self, id: int, logprob: float) -> DecodedToken:
        return self._token_inspector.decode_token(id, max(logprob, MIN_LOGPROB))
