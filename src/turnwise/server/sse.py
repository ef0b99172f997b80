"""Server-sent events over ASGI."""

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

Item = TypeVar("Item")

PADDING_MULTIPLE = 128  # bytes that a chunk's length is a multiple of, where lengths should tell little


def format_event(content: dict[str, Any], *, padded: bool = False, name: str | None = None) -> bytes:
    """One event, with its `name` where the interface has named events. JSON escapes line breaks, so data is one line.

    With `padded`, a field `obfuscation` of random letters fills it up: whoever sees encrypted chunks go by could else
    tell tokens by their lengths (Weiss et al. 2024).
    """
    if padded:
        bare = len(_json({**content, "obfuscation": ""}))
        content = {**content, "obfuscation": _letters(-bare % PADDING_MULTIPLE)}
    head = b"" if name is None else f"event: {name}\n".encode()
    return head + b"data: " + _json(content) + b"\n\n"


def format_error_event(error: TurnwiseError) -> bytes:
    """The event that ends a stream with an error, where the interface has no event type for it."""
    return format_event(error_body(error))


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def _letters(count: int) -> str:
    return "".join(secrets.choice(string.ascii_letters) for _ in range(count))


class EventStreamResponse(Response):
    """Sends what `events` yields as it comes, no faster than the client reads, and closes it when the client leaves.

    Starlette's own streaming response waits for a failing write to notice a client that left; a server whose writes
    do not fail would then decode to the end.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        events: AsyncGenerator[bytes, None],
        source: "AsyncClosable",
        keep_alive: float = SSE_KEEP_ALIVE_SECONDS,
        encode_failure: Callable[[TurnwiseError], bytes] = format_error_event,
    ) -> None:
        """Take over `events` and the `source` they are made from: both are closed here, whatever happens.

        Args:
            events: what is sent.
            source: what the events are made from.
            keep_alive: seconds without an event after which a comment is sent. Clients skip comments, and proxies close
                connections that are silent for long (WHATWG HTML, 9.2.7).
            encode_failure: encodes the error that ends the stream from outside: a time limit, or a server that stops.
        """
        super().__init__(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._events, self._source, self._keep_alive = events, source, keep_alive
        self._encode_failure = encode_failure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events until they end or the client leaves."""
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
        """Events and comments are whole messages, so they may be sent from two tasks."""
        loop = asyncio.get_running_loop()
        while True:
            if (silence := self._keep_alive - (loop.time() - self._last_sent)) > 0:
                await asyncio.sleep(silence)
            else:
                await send({"type": "http.response.body", "body": KEEP_ALIVE_COMMENT, "more_body": True})
                self._last_sent = loop.time()


class AsyncClosable(Protocol):
    """What can be closed."""

    async def aclose(self) -> None:
        """Close it."""


class PrefetchedStream(Generic[Item]):
    """A stream whose first item is awaited before the answer begins, so that an error still gets its own status.

    Where the first item takes longer than that wait, the answer begins without it.
    """

    def __init__(self, items: AsyncGenerator[Item, None]) -> None:
        """Take over `items` and begin to compute the first."""
        self._items = items
        self._first: asyncio.Task[Item] | None = asyncio.create_task(_first(items))

    @classmethod
    async def start(
        cls, items: AsyncGenerator[Item, None], seconds: float, receive: Receive
    ) -> "PrefetchedStream[Item]":
        """Take over `items` and wait for the first, at most so long.

        Raises:
            ClientGone: the client left meanwhile.
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
        """The next item; None at the end."""
        if (first := self._first) is not None:
            item = await first
            self._first = None
            return item
        return await anext(self._items, None)

    async def aclose(self) -> None:
        """Close the stream, whatever it is doing."""
        if self._first is not None:
            self._first.cancel()
            await asyncio.gather(self._first, return_exceptions=True)
        await self._items.aclose()


async def _first(items: AsyncGenerator[Item, None]) -> Item:
    try:
        return await anext(items)
    except StopAsyncIteration:
        raise RuntimeError("the chat service ended a stream before its first delta") from None
