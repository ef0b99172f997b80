"""Server-sent events over ASGI (WHATWG HTML, section 9.2)."""

import asyncio
import json
import secrets
import string
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from typing import Any, Generic, Protocol, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from turnwise.core.errors import TurnwiseError
from turnwise.server.disconnect import ClientDisconnected, cancel_on_disconnect
from turnwise.server.error_responses import error_body
from turnwise.server.request_context import current_request

DONE_EVENT = b"data: [DONE]\n\n"
KEEP_ALIVE_COMMENT = b": keep-alive\n\n"
SSE_KEEP_ALIVE_SECONDS = 15.0
PADDING_MULTIPLE = 128  # bytes

Item = TypeVar("Item")


def format_event(content: dict[str, Any], *, padded: bool = False, name: str | None = None) -> bytes:
    """Encode one event. JSON escapes line breaks, so the data is one line.

    Args:
        content: the data, as JSON.
        padded: add a field `obfuscation` of random letters, so that the length is a multiple of `PADDING_MULTIPLE`.
            The lengths of encrypted chunks would tell tokens apart (Weiss et al. 2024).
        name: event name, for interfaces with named events.
    """
    if padded:
        length = len(_json({**content, "obfuscation": ""}))
        content = {**content, "obfuscation": _random_letters(-length % PADDING_MULTIPLE)}
    head = b"" if name is None else f"event: {name}\n".encode()
    return head + b"data: " + _json(content) + b"\n\n"


def format_error_event(error: TurnwiseError) -> bytes:
    """Encode the event that ends a stream with an error, for interfaces without an event type for errors."""
    return format_event(error_body(error))


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def _random_letters(count: int) -> str:
    return "".join(secrets.choice(string.ascii_letters) for _ in range(count))


class EventStreamResponse(Response):
    """Streams events with back-pressure, and closes their source when the client disconnects.

    Starlette's `StreamingResponse` notices a disconnect only when a write fails, which may never happen; then the
    completion would be generated to its end.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        events: AsyncGenerator[bytes, None],
        source: "AsyncClosable",
        keep_alive: float = SSE_KEEP_ALIVE_SECONDS,
        encode_failure: Callable[[TurnwiseError], bytes] = format_error_event,
    ) -> None:
        """Stream `events`.

        Args:
            events: encoded events. Closed at the end of the response.
            source: what the events are made from. Closed at the end of the response.
            keep_alive: seconds without an event after which a comment is sent. Clients skip comments, and proxies close
                connections that are silent for long (WHATWG HTML, 9.2.7).
            encode_failure: encodes an error that ends the stream from outside: a time limit, or a server that stops.
        """
        super().__init__(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._events, self._source, self._keep_alive = events, source, keep_alive
        self._encode_failure = encode_failure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events until they end or the client disconnects."""
        del scope
        current_request().encode_failure = self._encode_failure
        async with aclosing(self._source), aclosing(self._events):
            with suppress(ClientDisconnected):
                await cancel_on_disconnect(receive, self._send(send))

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        self._last_sent = asyncio.get_running_loop().time()
        comments = asyncio.create_task(self._send_comments(send))
        try:
            async for content in self._events:
                await send({"type": "http.response.body", "body": content, "more_body": True})
                self._last_sent = asyncio.get_running_loop().time()
        finally:
            comments.cancel()
            await asyncio.gather(comments, return_exceptions=True)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_comments(self, send: Send) -> None:
        """Send comments while there are no events. Each is one ASGI message, so they cannot split an event."""
        loop = asyncio.get_running_loop()
        while True:
            if (remaining := self._keep_alive - (loop.time() - self._last_sent)) > 0:
                await asyncio.sleep(remaining)
            else:
                await send({"type": "http.response.body", "body": KEEP_ALIVE_COMMENT, "more_body": True})
                self._last_sent = loop.time()


class AsyncClosable(Protocol):
    """Anything with `aclose`."""

    async def aclose(self) -> None:
        """Close it."""


class PrefetchedStream(Generic[Item]):
    """A stream whose first item is computed before the response starts, so that an error has its own HTTP status.

    If the first item takes longer than `start` waits, the response starts without it.
    """

    def __init__(self, items: AsyncGenerator[Item, None]) -> None:
        """Start to compute the first item."""
        self._items = items
        self._first: asyncio.Task[Item] | None = asyncio.create_task(_first_item(items))

    @classmethod
    async def start(
        cls, items: AsyncGenerator[Item, None], seconds: float, receive: Receive
    ) -> "PrefetchedStream[Item]":
        """Wait for the first item of `items`, for at most `seconds`. `items` is closed if this fails.

        Raises:
            ClientDisconnected: the client disconnected first.
            Exception: whatever computing the first item raises.
        """
        stream = cls(items)
        try:
            await cancel_on_disconnect(receive, stream._wait(seconds))
        except BaseException:
            await stream.aclose()
            raise
        return stream

    async def _wait(self, seconds: float) -> None:
        assert self._first is not None
        done, _ = await asyncio.wait({self._first}, timeout=seconds)
        if done:
            self._first.result()

    async def next(self) -> Item | None:
        """Return the next item; None at the end."""
        if (first := self._first) is not None:
            item = await first
            self._first = None
            return item
        return await anext(self._items, None)

    async def aclose(self) -> None:
        """Cancel the first item if it is being computed, and close the stream."""
        if self._first is not None:
            self._first.cancel()
            await asyncio.gather(self._first, return_exceptions=True)
        await self._items.aclose()


async def _first_item(items: AsyncGenerator[Item, None]) -> Item:
    try:
        return await anext(items)
    except StopAsyncIteration:
        raise RuntimeError("the chat service ended a stream before its first delta") from None
