"""All pieces of a stream put together."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from turnwise.chat.best_of import likeliest, widened
from turnwise.chat.tool_calling import gathered_calls
from turnwise.core.chat_request import Answer, Delta, Reply, TokenReport, Turn, Usage
from turnwise.core.ports import FinishReason
from turnwise.core.tools import ToolCallDelta


class Gathering:
    """Collects deltas until the last one, which carries the usage."""

    def __init__(self, answers: int) -> None:
        self._texts: list[list[str]] = [[] for _ in range(answers)]
        self._reports: list[list[TokenReport]] = [[] for _ in range(answers)]
        self._calls: list[list[ToolCallDelta]] = [[] for _ in range(answers)]
        self._prompts: list[tuple[TokenReport, ...]] = [()] * answers
        self._finishes: dict[int, tuple[FinishReason, float | None, TokenReport | None]] = {}

    def add(self, delta: Delta) -> Reply | None:
        """One more piece; the whole reply with the last."""
        self._texts[delta.index].append(delta.text)
        self._reports[delta.index].extend(delta.logprobs)
        self._calls[delta.index].extend(delta.tool_calls)
        self._prompts[delta.index] += delta.prompt_logprobs
        if delta.finish is not None:
            self._finishes[delta.index] = (delta.finish, delta.mean_logprob, delta.stop_token_logprobs)
        if delta.usage is None:
            return None
        whole = (
            Answer(
                "".join(text),
                finish,
                tuple(self._reports[i]),
                gathered_calls(self._calls[i]),
                self._prompts[i],
                mean,
                end,
            )
            for i, text in enumerate(self._texts)
            for finish, mean, end in [self._finishes[i]]
        )
        return Reply(tuple(whole), delta.usage, delta.context)


Stream = Callable[[Turn], AsyncGenerator[Delta, None]]


async def whole_reply(stream: Stream, turn: Turn) -> Reply:
    """The answers of a turn put together; the best of more where it asks for that."""
    wanted = widened(turn)
    gathering = Gathering(wanted.n)
    async with aclosing(stream(wanted)) as deltas:
        async for delta in deltas:
            if (reply := gathering.add(delta)) is not None:
                return likeliest(reply, turn)
    raise AssertionError("a stream ends with the usage")


async def embedding_of(stream: Stream, prompt: str | tuple[int, ...]) -> tuple[tuple[float, ...], Usage]:
    """The vector of a text, or of its ids, and what it took."""
    async with aclosing(stream(Turn((), prompt=prompt, prompt_output="embedding"))) as deltas:
        async for delta in deltas:
            if delta.embedding is not None and delta.usage is not None:
                return delta.embedding, delta.usage
    raise AssertionError("the generator gives an embedding or an error")
