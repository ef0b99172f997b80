"""Streams the answer to one request to a writer, or to standard output."""

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from turnwise.core.chat_request import ChatRequest
from turnwise.core.chat_response import ContextReport
from turnwise.core.chat_service import ChatService
from turnwise.core.inference import FinishReason
from turnwise.core.messages import Message
from turnwise.core.scenario import Scenario


async def stream_answer(service: ChatService, request: ChatRequest, write: Callable[[str], None]) -> list[str]:
    """Stream the answer to `write` and return notes on it: what the context policy dropped, and a truncated answer."""
    context: ContextReport | None = None
    finish_reason: FinishReason | None = None
    async with aclosing(service.stream(request)) as deltas:
        async for delta in deltas:
            if delta.text:
                write(delta.text)
            context = delta.context or context
            finish_reason = delta.finish_reason or finish_reason
    notes = [] if context is None else [context.description]
    return [*notes, "cut off at the length limit"] if finish_reason == "length" else notes


def print_answer(
    service: ChatService, messages: Sequence[Message], *, scenario: Scenario, sampling: Mapping[str, Any]
) -> None:
    """Stream the answer to the messages to standard output."""

    def write(chunk: str) -> None:
        sys.stdout.write(chunk)
        sys.stdout.flush()

    request = ChatRequest(scenario.prepend_to(messages), sampling, preset="chat")
    asyncio.run(stream_answer(service, request, write))
    sys.stdout.write("\n")
