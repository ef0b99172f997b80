"""All pieces of a stream put together."""

from collections.abc import AsyncGenerator

from turnwise.chat.calls import gathered_calls
from turnwise.chat.turn import Answer, Delta, Reply, TokenReport
from turnwise.core.ports import FinishReason
from turnwise.core.tools import ToolCallDelta


class Gathering:
    """Collects deltas until the last one, which carries the usage."""

    def __init__(self, answers: int) -> None:
        self._texts: list[list[str]] = [[] for _ in range(answers)]
        self._reports: list[list[TokenReport]] = [[] for _ in range(answers)]
        self._calls: list[list[ToolCallDelta]] = [[] for _ in range(answers)]
        self._finishes: dict[int, FinishReason] = {}

    def add(self, delta: Delta) -> Reply | None:
        """One more piece; the whole reply with the last."""
        self._texts[delta.index].append(delta.text)
        self._reports[delta.index].extend(delta.logprobs)
        self._calls[delta.index].extend(delta.tool_calls)
        if delta.finish is not None:
            self._finishes[delta.index] = delta.finish
        if delta.usage is None:
            return None
        whole = (
            Answer("".join(text), self._finishes[i], tuple(self._reports[i]), gathered_calls(self._calls[i]))
            for i, text in enumerate(self._texts)
        )
        return Reply(tuple(whole), delta.usage)


async def gathered(deltas: AsyncGenerator[Delta, None], answers: int) -> Reply:
    """The whole reply of a stream."""
    gathering = Gathering(answers)
    async for delta in deltas:
        if (reply := gathering.add(delta)) is not None:
            return reply
    raise AssertionError("a stream ends with the usage")
