"""Server-sent events over ASGI."""

import json
import secrets
import string
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from turnwise.server.leaving import ClientGone, unless_gone

DONE = b"data: [DONE]\n\n"


PADDED = 128  # bytes that a chunk's length is a multiple of, where lengths should tell little


def event(content: dict[str, Any], *, padded: bool = False, name: str | None = None) -> bytes:
    """One event, with its `name` where the interface has named events. JSON escapes line breaks, so data is one line.

    With `padded`, a field `obfuscation` of random letters fills it up: whoever sees encrypted chunks go by could else
    tell tokens by their lengths (Weiss et al. 2024).
    """
    if padded:
        bare = len(_json({**content, "obfuscation": ""}))
        content = {**content, "obfuscation": _letters(-bare % PADDED)}
    head = b"" if name is None else f"event: {name}\n".encode()
    return head + b"data: " + _json(content) + b"\n\n"


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def _letters(count: int) -> str:
    return "".join(secrets.choice(string.ascii_letters) for _ in range(count))


class EventStream(Response):
    """Sends what `events` yields as it comes, no faster than the client reads, and closes it when the client leaves.

    Starlette's own streaming response waits for a failing write to notice a client that left; a server whose writes
    do not fail would then decode to the end.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes, None], source: AsyncGenerator[Any, None]) -> None:
        """Take over `events` and the `source` they are made from: both are closed here, whatever happens."""
        super().__init__(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._events, self._source = events, source

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events until they end or the client leaves."""
        del scope
        async with aclosing(self._source), aclosing(self._events):
            with suppress(ClientGone):
                await unless_gone(receive, self._send(send))

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for content in self._events:
            await send({"type": "http.response.body", "body": content, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
