"""One answer on its way: tokens become text and calls of tools, stop strings end it, log-probabilities go with it.

Stop strings and log-probabilities are about what is said: calls neither end at a stop string nor have any.
"""

from collections import deque
from collections.abc import Sequence

from turnwise.chat.token_inspector import TokenInspector
from turnwise.chat.tool_calling import ToolCallReader
from turnwise.core.chat_request import ChatDelta, DecodedLogprobs, DecodedToken
from turnwise.core.errors import TurnwiseError, UserError
from turnwise.core.ports import GenerationRequest, RequestStats, TokenEvent, TokenLogprobs
from turnwise.core.tools import ToolCallDelta
from turnwise.text.streaming.detokenizer import IncrementalDetokenizer, StopStringScanner
from turnwise.text.tokenization.tokenizer import Tokenizer

NEVER = -9999.0  # the published way to say that a token was out of the question; JSON knows no infinity


class ChoiceStream:
    """Turns a request's events into deltas."""

    def __init__(
        self,
        index: int,
        request: GenerationRequest,
        tokenizer: Tokenizer,
        tokens: TokenInspector,
        prefix: Sequence[int],
        reading: ToolCallReader | None = None,
    ) -> None:
        """Begin the answer number `index`; `prefix` are the ids it goes on from, `reading` how calls are found."""
        self.index = index
        self._request = request
        self.generated = 0
        self.stats = RequestStats()
        self.done = False
        self._logprob: float | None = None  # of all tokens so far
        self._tokens = tokens
        self._decoder = IncrementalDetokenizer(tokenizer, prefix)
        self._scanner = StopStringScanner(request.params.stop)
        self._calls = reading.split() if reading else None
        self._markers = reading.markers if reading else {}
        self._decoded = self._out = 0  # characters out of the decoder, and of those past the scanner
        self._held: deque[tuple[int, DecodedLogprobs]] = deque()  # reports, by where their token's text begins

    @property
    def has_stopped(self) -> bool:
        """Whether a stop string was found."""
        return self._scanner.has_stopped

    def push(self, event: TokenEvent) -> ChatDelta | None:
        """What an event adds; None where nothing is certain yet.

        Raises:
            UserError: the request asked for what cannot be.
            TurnwiseError: the generator failed.
        """
        self.stats = event.stats
        if event.finish_reason == "error":
            raise (UserError if event.is_client_error else TurnwiseError)(
                event.error or "The model failed while generating."
            )
        text, calls = "", list[ToolCallDelta]()
        if event.token_id is not None:
            self.generated += 1
            if event.logprobs is not None:
                self._logprob = (self._logprob or 0.0) + event.logprobs.logprob
                self._held.append((self._decoded, self._report(event.token_id, event.logprobs)))
            text, calls = self._scan(self._decode(event.token_id))
        finish = event.finish_reason
        if finish is not None:
            more, further = self._scan(self._decoder.flush())
            text, calls = text + more, calls + further
            if self._calls is not None:
                text += self._scanner.push(self._calls.flush())
            text += self._scanner.flush()
        if self._scanner.has_stopped:
            finish = "stop"
        elif finish == "stop" and self._calls is not None and self._calls.is_complete:
            finish = "tool_calls"
        self._out += len(text)
        self.done = finish is not None
        reports = self._release()
        prompt = self._prompt_reports(event)
        if not (text or finish or reports or calls or prompt):
            return None
        mean = None if finish is None or self._logprob is None else self._logprob / max(1, self.generated)
        return ChatDelta(
            text, finish, None, self.index, reports, tuple(calls), prompt, mean_logprob=mean, embedding=event.embedding,
            stop_token_logprobs=self._end(event),
        )  # fmt: skip

    def _prompt_reports(self, event: TokenEvent) -> tuple[DecodedLogprobs, ...]:
        following = self._request.prompt_ids[1:]
        return tuple(self._report(id, said) for id, said in zip(following, event.prompt_logprobs, strict=False))

    def _end(self, event: TokenEvent) -> DecodedLogprobs | None:
        """The report on the model's own end of the answer; a stop string is none."""
        if event.stop_id is None or event.logprobs is None or self._scanner.has_stopped:
            return None
        return self._report(event.stop_id, event.logprobs)

    def _decode(self, id: int) -> str:
        if id in self._markers:
            return self._decoder.flush() + self._markers[id]
        return self._decoder.push(id)

    def _scan(self, piece: str) -> tuple[str, list[ToolCallDelta]]:
        self._decoded += len(piece)
        if self._calls is None:
            return self._scanner.push(piece), []
        said, calls = self._calls.push(piece)
        text = self._scanner.push(said)
        if self._scanner.has_stopped:
            return text, []  # what follows a stop string is none of the answer
        if self._calls.is_calling:
            text += self._scanner.flush()
        return text, calls

    def _release(self) -> tuple[DecodedLogprobs, ...]:
        """The reports of tokens whose text is out, at least its beginning; those of a stop string or call never are."""
        found = []
        last = self.done and not self._scanner.has_stopped and not (self._calls is not None and self._calls.is_calling)
        while self._held and (last or self._held[0][0] < self._out):
            found.append(self._held.popleft()[1])
        return tuple(found)

    def _report(self, id: int, logprobs: TokenLogprobs) -> DecodedLogprobs:
        return DecodedLogprobs(
            self._likely(id, logprobs.logprob),
            tuple(self._likely(other, value) for other, value in logprobs.top_logprobs),
        )

    def _likely(self, id: int, logprob: float) -> DecodedToken:
        return self._tokens.decode_token(id, max(logprob, NEVER))
