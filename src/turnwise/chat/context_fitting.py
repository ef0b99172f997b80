"""Fits a chat request into the context of the model, with a context policy if necessary."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from turnwise.chat.context_policies import CONTEXT_POLICIES, DEFAULT_CONTEXT_POLICY, Truncated
from turnwise.chat.request_builder import RequestBuilder
from turnwise.chat.summary_cache import SummaryCache
from turnwise.core.chat_request import ChatRequest
from turnwise.core.chat_response import ContextReport, Usage
from turnwise.core.errors import ContextLengthExceeded, TemplateError
from turnwise.core.exchanges import SYSTEM_ROLES, Exchange, drop_exchanges, droppable_exchanges
from turnwise.core.inference import GenerationRequest
from turnwise.core.messages import Message

MAX_PROMPT_CONTEXTS = 4  # longer conversations lose their oldest exchanges before they are tokenized

GenerateInternal = Callable[[GenerationRequest], Awaitable[tuple[str, Usage]]]


@dataclass(frozen=True)
class RequestContextBudget:
    """The context budget of one request (the `context_policies.ContextBudget` port).

    Rendering and tokenization run in threads, because they take long for long conversations.
    """

    request: ChatRequest
    builder: RequestBuilder
    summaries: SummaryCache
    generate: GenerateInternal

    @property
    def scope(self) -> str:
        """Namespace of the summary cache."""
        return self.request.scheduling.cache_scope

    @property
    def context_length(self) -> int:
        """Maximum number of tokens of prompt and response together."""
        return self.builder.engine.context_length

    @property
    def max_prompt_tokens(self) -> int:
        """Maximum prompt length that leaves enough context for the response."""
        return self.builder.max_prompt_tokens(self.request)

    async def prompt_tokens(self, messages: Sequence[Message]) -> int:
        """Length of the prompt with these messages."""
        return len(await asyncio.to_thread(self.builder.prompt_ids, self._with(messages)))

    async def system_tokens(self, messages: Sequence[Message]) -> int:
        """Length of the leading system messages; 0 if there are none."""
        rendered = await asyncio.to_thread(self.builder.render, self._with(messages))
        pairs = zip(messages, rendered.spans, strict=True)
        leading = itertools.takewhile(lambda pair: pair[0].role in SYSTEM_ROLES, pairs)
        return max((span[1] for _, span in leading if span is not None), default=0)

    async def shows_message(self, messages: Sequence[Message], index: int) -> bool:
        """True if the template accepts the messages and includes the content of message `index`."""
        try:
            rendered = await asyncio.to_thread(self.builder.render, self._with(messages))
        except TemplateError:
            return False
        return rendered.spans[index] is not None

    async def text_tokens(self, text: str) -> int:
        """Length of the prompt with `text` as its only message."""
        request = await asyncio.to_thread(self.builder.build_internal_request, text, 1, self.request)
        return len(request.prompt_ids)

    async def write(self, text: str, max_tokens: int) -> tuple[str, Usage]:
        """The model's greedy response to `text`, and the usage."""
        return await self.generate(
            await asyncio.to_thread(self.builder.build_internal_request, text, max_tokens, self.request)
        )

    def _with(self, messages: Sequence[Message]) -> ChatRequest:
        return replace(self.request, messages=tuple(messages))


async def fit_to_context(
    request: ChatRequest,
    policy_name: str,
    builder: RequestBuilder,
    summaries: SummaryCache,
    generate: GenerateInternal,
) -> tuple[GenerationRequest, ContextReport | None]:
    """Build the engine request, shortened by a context policy if necessary.

    Args:
        request: chat request.
        policy_name: name of the context policy.
        builder: builds engine requests.
        summaries: summary cache.
        generate: runs an internal request.

    Returns:
        The engine request, and a report of the policy; None if the policy changed nothing.

    Raises:
        ContextLengthExceeded: the request does not fit even with the policy. The error describes the original request.
        UserError: see `RequestBuilder.build_request`.
    """
    policy = CONTEXT_POLICIES.load(policy_name)
    budget = RequestContextBudget(request, builder, summaries, generate)
    complete, error, num_dropped = None, None, 0
    try:
        complete = await asyncio.to_thread(builder.build_request, request)
        num_prompt_ids = len(complete.prompt_ids) - complete.num_answer_ids
        fits = num_prompt_ids <= budget.max_prompt_tokens and not getattr(policy, "APPLIES_ALWAYS", False)
        if request.prompt is not None or fits:
            return complete, None
    except ContextLengthExceeded as length_error:
        if request.prompt is not None:
            raise
        error = length_error
        if policy_name != DEFAULT_CONTEXT_POLICY:
            messages = await asyncio.to_thread(drop_far_excess, request.messages, builder)
            if messages is None:
                raise
            num_dropped = len(request.messages) - len(messages)
            request = replace(request, messages=messages)
            budget = replace(budget, request=request)
    truncated = await policy.truncate(request.messages, budget)
    if num_dropped:
        report = ContextReport(policy_name, 0) if truncated is None else truncated.report
        report = replace(report, dropped_messages=report.dropped_messages + num_dropped)
        truncated = replace(truncated or Truncated(request.messages, report), report=report)
    if truncated is not None:
        try:
            context = replace(request.context, window=truncated.window)
            shorter = replace(request, messages=truncated.messages, context=context)
            return await asyncio.to_thread(builder.build_request, shorter), truncated.report
        except ContextLengthExceeded:
            pass  # the messages that must stay are too long themselves: report the original request
    if complete is None:
        assert error is not None
        raise error
    return complete, None


def drop_far_excess(messages: tuple[Message, ...], builder: RequestBuilder) -> tuple[Message, ...] | None:
    """Drop the oldest exchanges of an extremely long conversation before it is tokenized.

    A policy tokenizes the messages several times. The result has at most `MAX_PROMPT_CONTEXTS` contexts by the lower
    bound of the token count. None if the messages that must stay exceed that.
    """
    max_tokens = MAX_PROMPT_CONTEXTS * builder.engine.context_length
    lengths = [builder.renderer.token_lower_bound(message.content) for message in messages]
    total = sum(lengths)
    dropped: list[Exchange] = []
    for exchange in droppable_exchanges(messages):
        if total <= max_tokens:
            break
        total -= sum(lengths[index] for index in exchange)
        dropped.append(exchange)
    return drop_exchanges(messages, dropped) if total <= max_tokens else None
