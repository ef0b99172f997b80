"""How much a server takes on: completions at once, in all and per key, and how long each may take."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from turnwise.core.errors import TurnwiseError, Unavailable
from turnwise.core.api_keys import ApiKey
from turnwise.server.error_responses import Refusal, error_response
from turnwise.server.request_context import current

# Routes that keep a model busy.
COMPUTING = frozenset({
    "/v1/chat/completions", "/v1/responses", "/v1/responses/input_tokens", "/v1/completions", "/v1/embeddings",
})  # fmt: skip
BODY_SECONDS = 60.0  # for a request to arrive, on any route; a client that sends it drop by drop would hold a place
FAREWELL_SECONDS = 5.0  # for a client that reads slowly to take the error that ends its answer


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is taken on.

    Attributes:
        queue: most completions under way, running and waiting together.
        seconds: most time for one, from its request to the last byte of its answer, however slowly it is read.
        slots: how many of them are computed at the same time; None where that is not known.
    """

    max_concurrent_requests: int = 256
    request_timeout: float = 600.0
    max_num_seqs: int | None = None


class Gate:
    """Counts the completions under way and lets no more in than there is room for. Lives on the event loop."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.stopped = False
        self._under_way: dict[asyncio.Timeout, str | None] = {}

    @property
    def under_way(self) -> int:
        """Completions that were let in and have not ended."""
        return len(self._under_way)

    @property
    def running(self) -> int:
        """Those of them that have a slot, of those that ask for one answer each; the engine says who."""
        return self.under_way - self.waiting

    @property
    def waiting(self) -> int:
        """Those that wait for one."""
        return 0 if self.limits.max_num_seqs is None else max(0, self.under_way - self.limits.max_num_seqs)

    def check(self, key: ApiKey | None) -> None:
        """Raise `Refusal` where there is no room for one more with this key."""
        if key is not None and key.max_concurrent is not None:
            own = sum(name == key.name for name in self._under_way.values())
            if own >= key.max_concurrent:
                raise Refusal(
                    429, "rate_limit_exceeded",
                    f"The key '{key.name}' allows {key.max_concurrent} completions at the same time; wait for one to end.",
                    kind="rate_limit_error",
                )  # fmt: skip
        if self.under_way >= self.limits.max_concurrent_requests:
            raise Refusal(
                429, "server_busy",
                f"The server is busy with {self.under_way} completions and takes no more. Try again soon.",
                kind="rate_limit_error",
            )  # fmt: skip

    def enter(self, limit: asyncio.Timeout, key: ApiKey | None) -> None:
        """Count one more, known by its time limit."""
        self._under_way[limit] = None if key is None else key.name

    def leave(self, limit: asyncio.Timeout) -> None:
        """Count it no more; safe to call twice."""
        self._under_way.pop(limit, None)

    def stop(self) -> None:
        """End everything under way, each with an error that says so. Called on the event loop."""
        self.stopped = True
        now = asyncio.get_running_loop().time()
        for limit in self._under_way:
            if not limit.expired():
                limit.reschedule(now)


def request_seconds() -> float:
    """Most seconds for a request to arrive, from its first byte to its last."""
    return BODY_SECONDS


class Arrival:
    """Lets a request take a limited time to arrive, on every route."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on. Whoever waits for its body gets a `Refusal` with 408 when the time is over."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        deadline = asyncio.get_running_loop().time() + request_seconds()
        has_arrived = False

        async def receiving() -> Message:
            nonlocal has_arrived
            try:
                async with asyncio.timeout_at(None if has_arrived else deadline):
                    message = await receive()
            except TimeoutError:
                raise Refusal(
                    HTTPStatus.REQUEST_TIMEOUT, "timeout",
                    f"The request took longer than {request_seconds():g} seconds to arrive.",
                ) from None  # fmt: skip
            has_arrived = has_arrived or not message.get("more_body", False)
            return message

        await self._app(scope, receiving, send)


class Bounded:
    """Lets completions through the gate, and ends those that take too long."""

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self._app, self._gate = app, gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, answer 429, or end it with 408, or with the stream's own event for errors."""
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] not in COMPUTING:
            await self._app(scope, receive, send)
            return
        try:
            self._gate.check(current().key)
        except Refusal as refusal:
            await error_response(refusal)(scope, receive, send)
            return
        await self._within_time(scope, receive, send)

    async def _within_time(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange, gate = current(), self._gate
        limit = exchange.limit = asyncio.timeout(gate.limits.request_timeout)
        # A client that has its answer may ask again: the place is free before the last byte leaves.
        answer = _Answer(send, before_last=lambda: gate.leave(limit))
        try:
            async with limit:
                gate.enter(limit, exchange.key)
                try:
                    await self._app(scope, receive, answer.send)
                finally:
                    gate.leave(limit)
        except TimeoutError:
            if not limit.expired():
                raise
            error = self._reason()
            exchange.code = error.code
            with suppress(TimeoutError):
                async with asyncio.timeout(FAREWELL_SECONDS):
                    await answer.end(error, scope, receive, exchange.encode_failure)

    def _reason(self) -> TurnwiseError:
        if self._gate.stopped:
            return Unavailable("The server is stopping; this answer was not finished.")
        return Refusal(
            HTTPStatus.REQUEST_TIMEOUT, "timeout",
            f"The answer took longer than the {self._gate.limits.request_timeout:g} seconds that this server allows. "
            "A lower limit of output tokens ends it sooner.",
            kind="server_error",
        )  # fmt: skip


class _Answer:
    """How far an answer has come, and so how it can be ended."""

    def __init__(self, send: Send, before_last: Callable[[], None]) -> None:
        self._send, self._before_last = send, before_last
        self._begun = self._ended = False

    async def send(self, message: Message) -> None:
        last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if last:
            self._before_last()
        await self._send(message)
        if message["type"] == "http.response.start":
            self._begun = True
        self._ended = self._ended or last

    async def end(
        self, error: TurnwiseError, scope: Scope, receive: Receive, encode: Callable[[TurnwiseError], bytes] | None
    ) -> None:
        """Send why it ends: as a response of its own, or, in a stream that has begun, as `encode` encodes it.

        Where a part of a JSON body has been sent, only the connection can be ended.
        """
        if not self._begun:
            await error_response(error)(scope, receive, self._send)
        elif encode is not None and not self._ended:
            await self._send({"type": "http.response.body", "body": encode(error), "more_body": False})
