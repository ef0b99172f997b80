"""A turn that fits the model: as it is, or as the context policy has it."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from turnwise.chat.context_policies import DEFAULT_CONTEXT_POLICY as REFUSE
from turnwise.chat.context_policies import Truncated, get_context_policy
from turnwise.chat.request_builder import RequestBuilder, cache_scope
from turnwise.chat.summary_cache import SummaryCache
from turnwise.core.chat_request import ChatRequest, ContextReport, Usage
from turnwise.core.errors import ContextLengthExceeded, TemplateError
from turnwise.core.exchanges import Exchange, drop_exchanges, droppable_exchanges
from turnwise.core.messages import Message
from turnwise.core.ports import GenerationRequest

MAX_PROMPT_CONTEXTS = 4  # contexts; of a longer conversation the oldest exchanges are dropped before it is tokenized

Write = Callable[[GenerationRequest], Awaitable[tuple[str, Usage]]]


@dataclass(frozen=True)
class RequestContextBudget:
    """The room that one turn has (`context.Room`). Renders in threads: a long conversation takes a while."""

    turn: ChatRequest
    maker: RequestBuilder
    summaries: SummaryCache
    answer: Write

    @property
    def scope(self) -> str:
        """Whose summaries may be used."""
        return cache_scope(self.turn)

    @property
    def context_length(self) -> int:
        """Most tokens of prompt and answer together."""
        return self.maker.engine.context_length

    @property
    def max_prompt_tokens(self) -> int:
        """Most tokens of a prompt that leaves the answer its room."""
        return self.maker.max_prompt_tokens(self.turn)

    async def prompt_tokens(self, messages: Sequence[Message]) -> int:
        """The length of the prompt with these messages."""
        return len(await asyncio.to_thread(self.maker.prompt_ids, replace(self.turn, messages=tuple(messages))))

    async def system_tokens(self, messages: Sequence[Message]) -> int:
        """The length of the system messages that the prompt begins with; 0 where there are none."""
        rendered = await asyncio.to_thread(self.maker.render, replace(self.turn, messages=tuple(messages)))
        pairs = zip(messages, rendered.spans, strict=True)
        leading = itertools.takewhile(lambda pair: pair[0].role in ("system", "developer"), pairs)
        return max((span[1] for _, span in leading if span is not None), default=0)

    async def shows_message(self, messages: Sequence[Message], index: int) -> bool:
        """Whether the template accepts these messages and writes out what the one at `index` says."""
        try:
            shown = await asyncio.to_thread(self.maker.render, replace(self.turn, messages=tuple(messages)))
        except TemplateError:
            return False
        return shown.spans[index] is not None

    async def text_tokens(self, text: str) -> int:
        """The length of the prompt that has this text as its only message."""
        return len((await asyncio.to_thread(self.maker.build_internal_request, text, 1, self.turn)).prompt_ids)

    async def write(self, text: str, most: int) -> tuple[str, Usage]:
        """The model's own, greedy answer to this text."""
        return await self.answer(await asyncio.to_thread(self.maker.build_internal_request, text, most, self.turn))


async def fit_to_context(
    turn: ChatRequest, name: str, maker: RequestBuilder, summaries: SummaryCache, answer: Write
) -> tuple[GenerationRequest, ContextReport | None]:
    """The request for a turn, and what the policy `name` did to make it fit; None where it did nothing.

    Raises:
        ContextLengthExceeded: it does not fit, whatever the policy could do. The error is about the turn as it came.
        UserError: see `RequestMaker.request`.
    """
    chosen = get_context_policy(name)
    room = RequestContextBudget(turn, maker, summaries, answer)
    whole, refusal, dropped = None, None, 0
    try:
        whole = await asyncio.to_thread(maker.build_request, turn)
        if turn.prompt is not None or len(whole.prompt_ids) <= room.max_prompt_tokens:
            return whole, None
    except ContextLengthExceeded as error:
        if turn.prompt is not None:
            raise
        refusal = error
        if name != REFUSE:
            messages = await asyncio.to_thread(drop_far_excess, turn.messages, maker)
            if messages is None:
                raise
            dropped = len(turn.messages) - len(messages)
            turn = replace(turn, messages=messages)
            room = replace(room, turn=turn)
    shortened = await chosen.truncate(turn.messages, room)
    if dropped:
        report = ContextReport(name, 0) if shortened is None else shortened.report
        report = replace(report, dropped_messages=report.dropped_messages + dropped)
        shortened = replace(shortened or Truncated(turn.messages, report), report=report)
    if shortened is not None:
        try:
            shorter = replace(turn, messages=shortened.messages, window=shortened.window)
            request = await asyncio.to_thread(maker.build_request, shorter)
        except ContextLengthExceeded:
            pass  # what may not be dropped is too long by itself
        else:
            return request, shortened.report
    if whole is None:
        assert refusal is not None
        raise refusal
    return whole, None


def drop_far_excess(messages: tuple[Message, ...], maker: RequestBuilder) -> tuple[Message, ...] | None:
    """The messages without their oldest exchanges, as many as make the rest worth tokenizing.

    A policy tokenizes what it is given several times. The result has at most `HOPELESS` contexts by the lower bound;
    it is None where the messages that must stay have more.
    """
    most = MAX_PROMPT_CONTEXTS * maker.engine.context_length
    lengths = [maker.renderer.token_lower_bound(message.content) for message in messages]
    total = sum(lengths)
    gone: list[Exchange] = []
    for places in droppable_exchanges(messages):
        if total <= most:
            break
        total -= sum(lengths[place] for place in places)
        gone.append(places)
    return drop_exchanges(messages, gone) if total <= most else None
