"""Combines the deltas of a stream into a complete response."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from turnwise.chat.best_of import expand_best_of, select_best
from turnwise.chat.tool_calling import merge_tool_call_deltas
from turnwise.core.chat_request import ChatRequest, OutputOptions
from turnwise.core.chat_response import ChatChoice, ChatDelta, ChatResponse, DecodedLogprobs, Usage
from turnwise.core.inference import FinishReason
from turnwise.core.tools import ToolCallDelta


class DeltaAccumulator:
    """Collects deltas up to the last one, which has the usage."""

    def __init__(self, num_choices: int) -> None:
        self._texts: list[list[str]] = [[] for _ in range(num_choices)]
        self._logprobs: list[list[DecodedLogprobs]] = [[] for _ in range(num_choices)]
        self._tool_calls: list[list[ToolCallDelta]] = [[] for _ in range(num_choices)]
        self._prompt_logprobs: list[tuple[DecodedLogprobs, ...]] = [()] * num_choices
        self._endings: dict[int, tuple[FinishReason, float | None, DecodedLogprobs | None]] = {}

    def add(self, delta: ChatDelta) -> ChatResponse | None:
        """Add a delta. Returns the response after the last one, else None."""
        self._texts[delta.index].append(delta.text)
        self._logprobs[delta.index].extend(delta.logprobs)
        self._tool_calls[delta.index].extend(delta.tool_calls)
        self._prompt_logprobs[delta.index] += delta.prompt_logprobs
        if delta.finish_reason is not None:
            self._endings[delta.index] = (delta.finish_reason, delta.mean_logprob, delta.stop_token_logprobs)
        if delta.usage is None:
            return None
        choices = (
            ChatChoice(
                "".join(text),
                finish_reason,
                tuple(self._logprobs[i]),
                merge_tool_call_deltas(self._tool_calls[i]),
                self._prompt_logprobs[i],
                mean_logprob,
                stop_token_logprobs,
            )
            for i, text in enumerate(self._texts)
            for finish_reason, mean_logprob, stop_token_logprobs in [self._endings[i]]
        )
        return ChatResponse(
            tuple(choices), delta.usage, delta.context, delta.service, delta.choice_scores, delta.distribution,
            delta.beams,
        )  # fmt: skip


Stream = Callable[[ChatRequest], AsyncGenerator[ChatDelta, None]]


async def collect_response(stream: Stream, request: ChatRequest) -> ChatResponse:
    """Consume a stream and return the response, with `best_of` applied."""
    expanded = expand_best_of(request)
    accumulator = DeltaAccumulator(expanded.output.n)
    async with aclosing(stream(expanded)) as deltas:
        async for delta in deltas:
            if (response := accumulator.add(delta)) is not None:
                return select_best(response, request)
    raise AssertionError("a stream ends with the usage")


async def collect_embedding(stream: Stream, prompt: str | tuple[int, ...]) -> tuple[tuple[float, ...], Usage]:
    """Embedding of a text or of token ids, and the usage."""
    async with aclosing(stream(ChatRequest(prompt=prompt, output=OutputOptions(prompt_output="embedding")))) as deltas:
        async for delta in deltas:
            if delta.embedding is not None and delta.usage is not None:
                return delta.embedding, delta.usage
    raise AssertionError("the engine returns an embedding or an error")
