"""All pieces of a stream put together."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from turnwise.chat.best_of import expand_best_of, select_best
from turnwise.chat.tool_calling import merge_tool_call_deltas
from turnwise.core.chat_request import ChatChoice, ChatDelta, ChatRequest, ChatResponse, DecodedLogprobs, Usage
from turnwise.core.ports import FinishReason
from turnwise.core.tools import ToolCallDelta


class DeltaAccumulator:
    """Collects deltas until the last one, which carries the usage."""

    def __init__(self, answers: int) -> None:
        self._texts: list[list[str]] = [[] for _ in range(answers)]
        self._reports: list[list[DecodedLogprobs]] = [[] for _ in range(answers)]
        self._calls: list[list[ToolCallDelta]] = [[] for _ in range(answers)]
        self._prompts: list[tuple[DecodedLogprobs, ...]] = [()] * answers
        self._finishes: dict[int, tuple[FinishReason, float | None, DecodedLogprobs | None]] = {}

    def add(self, delta: ChatDelta) -> ChatResponse | None:
        """One more piece; the whole reply with the last."""
        self._texts[delta.index].append(delta.text)
        self._reports[delta.index].extend(delta.logprobs)
        self._calls[delta.index].extend(delta.tool_calls)
        self._prompts[delta.index] += delta.prompt_logprobs
        if delta.finish_reason is not None:
            self._finishes[delta.index] = (delta.finish_reason, delta.mean_logprob, delta.stop_token_logprobs)
        if delta.usage is None:
            return None
        whole = (
            ChatChoice(
                "".join(text),
                finish,
                tuple(self._reports[i]),
                merge_tool_call_deltas(self._calls[i]),
                self._prompts[i],
                mean,
                end,
            )
            for i, text in enumerate(self._texts)
            for finish, mean, end in [self._finishes[i]]
        )
        return ChatResponse(tuple(whole), delta.usage, delta.context)


Stream = Callable[[ChatRequest], AsyncGenerator[ChatDelta, None]]


async def collect_response(stream: Stream, turn: ChatRequest) -> ChatResponse:
    """The answers of a turn put together; the best of more where it asks for that."""
    wanted = expand_best_of(turn)
    gathering = DeltaAccumulator(wanted.n)
    async with aclosing(stream(wanted)) as deltas:
        async for delta in deltas:
            if (reply := gathering.add(delta)) is not None:
                return select_best(reply, turn)
    raise AssertionError("a stream ends with the usage")


async def collect_embedding(stream: Stream, prompt: str | tuple[int, ...]) -> tuple[tuple[float, ...], Usage]:
    """The vector of a text, or of its ids, and what it took."""
    async with aclosing(stream(ChatRequest((), prompt=prompt, prompt_output="embedding"))) as deltas:
        async for delta in deltas:
            if delta.embedding is not None and delta.usage is not None:
                return delta.embedding, delta.usage
    raise AssertionError("the generator gives an embedding or an error")
