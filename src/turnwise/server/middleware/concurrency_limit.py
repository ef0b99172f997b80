"""How much a server takes on: completions at once, in all and per key, and how long each may take."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from turnwise.core.api_keys import ApiKey
from turnwise.core.errors import TurnwiseError, Unavailable
from turnwise.server.error_responses import RequestRejected, error_response
from turnwise.server.request_context import current_request

# Routes that keep a model busy.
GENERATION_PATHS = frozenset({
    "/v1/chat/completions", "/v1/responses", "/v1/responses/input_tokens", "/v1/completions", "/v1/embeddings",
})  # fmt: skip
BODY_SECONDS = 60.0  # for a request to arrive, on any route; a client that sends it drop by drop would hold a place
FAREWELL_SECONDS = 5.0  # for a client that reads slowly to take the error that ends its answer


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """How much is taken on.

    Attributes:
        queue: most completions under way, running and waiting together.
        seconds: most time for one, from its request to the last byte of its answer, however slowly it is read.
        slots: how many of them are computed at the same time; None where that is not known.
    """

    max_concurrent_requests: int = 256
    request_timeout: float = 600.0
    max_num_seqs: int | None = None


class ConcurrencyLimiter:
    """Counts the completions under way and lets no more in than there is room for. Lives on the event loop."""

    def __init__(self, limits: ServerLimits) -> None:
        self.limits = limits
        self.is_stopped = False
        self._active: dict[asyncio.Timeout, str | None] = {}

    @property
    def num_active(self) -> int:
        """Completions that were let in and have not ended."""
        return len(self._active)

    @property
    def num_running(self) -> int:
        """Those of them that have a slot, of those that ask for one answer each; the engine says who."""
        return self.num_active - self.num_waiting

    @property
    def num_waiting(self) -> int:
        """Those that wait for one."""
        return 0 if self.limits.max_num_seqs is None else max(0, self.num_active - self.limits.max_num_seqs)

    def check(self, key: ApiKey | None) -> None:
        """Raise `Refusal` where there is no room for one more with this key."""
        if key is not None and key.max_concurrent is not None:
            own = sum(name == key.name for name in self._active.values())
            if own >= key.max_concurrent:
                raise RequestRejected(
                    429, "rate_limit_exceeded",
                    f"The key '{key.name}' allows {key.max_concurrent} completions at the same time; "
                    "wait for one to end.",
                    kind="rate_limit_error",
                )  # fmt: skip
        if self.num_active >= self.limits.max_concurrent_requests:
            raise RequestRejected(
                429, "server_busy",
                f"The server is busy with {self.num_active} completions and takes no more. Try again soon.",
                kind="rate_limit_error",
            )  # fmt: skip

    def acquire(self, limit: asyncio.Timeout, key: ApiKey | None) -> None:
        """Count one more, known by its time limit."""
        self._active[limit] = None if key is None else key.name

    def release(self, limit: asyncio.Timeout) -> None:
        """Count it no more; safe to call twice."""
        self._active.pop(limit, None)

    def stop(self) -> None:
        """End everything under way, each with an error that says so. Called on the event loop."""
        self.is_stopped = True
        now = asyncio.get_running_loop().time()
        for limit in self._active:
            if not limit.expired():
                limit.reschedule(now)


def receive_timeout() -> float:
    """Most seconds for a request to arrive, from its first byte to its last."""
    return BODY_SECONDS


class ReceiveTimeoutMiddleware:
    """Lets a request take a limited time to arrive, on every route."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on. Whoever waits for its body gets a `Refusal` with 408 when the time is over."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        deadline = asyncio.get_running_loop().time() + receive_timeout()
        has_arrived = False

        async def receiving() -> Message:
            nonlocal has_arrived
            try:
                async with asyncio.timeout_at(None if has_arrived else deadline):
                    message = await receive()
            except TimeoutError:
                raise RequestRejected(
                    HTTPStatus.REQUEST_TIMEOUT, "timeout",
                    f"The request took longer than {receive_timeout():g} seconds to arrive.",
                ) from None  # fmt: skip
            has_arrived = has_arrived or not message.get("more_body", False)
            return message

        await self._app(scope, receiving, send)


class ConcurrencyLimitMiddleware:
    """Lets completions through the gate, and ends those that take too long."""

    def __init__(self, app: ASGIApp, limiter: ConcurrencyLimiter) -> None:
        self._app, self._limiter = app, limiter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, answer 429, or end it with 408, or with the stream's own event for errors."""
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] not in GENERATION_PATHS:
            await self._app(scope, receive, send)
            return
        try:
            self._limiter.check(current_request().key)
        except RequestRejected as rejection:
            await error_response(rejection)(scope, receive, send)
            return
        await self._within_time(scope, receive, send)

    async def _within_time(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_context, limiter = current_request(), self._limiter
        limit = request_context.limit = asyncio.timeout(limiter.limits.request_timeout)
        # A client that has its answer may ask again: the place is free before the last byte leaves.
        response = _ResponseState(send, before_last=lambda: limiter.release(limit))
        try:
            async with limit:
                limiter.acquire(limit, request_context.key)
                try:
                    await self._app(scope, receive, response.send)
                finally:
                    limiter.release(limit)
        except TimeoutError:
            if not limit.expired():
                raise
            error = self._reason()
            request_context.code = error.code
            with suppress(TimeoutError):
                async with asyncio.timeout(FAREWELL_SECONDS):
                    await response.end(error, scope, receive, request_context.encode_failure)

    def _reason(self) -> TurnwiseError:
        if self._limiter.is_stopped:
            return Unavailable("The server is stopping; this answer was not finished.")
        return RequestRejected(
            HTTPStatus.REQUEST_TIMEOUT, "timeout",
            f"The answer took longer than the {self._limiter.limits.request_timeout:g} seconds that this server "
            "allows. "
            "A lower limit of output tokens ends it sooner.",
            kind="server_error",
        )  # fmt: skip


class _ResponseState:
    """How far an answer has come, and so how it can be ended."""

    def __init__(self, send: Send, before_last: Callable[[], None]) -> None:
        self._send, self._before_last = send, before_last
        self._is_started = self._is_finished = False

    async def send(self, message: Message) -> None:
        last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if last:
            self._before_last()
        await self._send(message)
        if message["type"] == "http.response.start":
            self._is_started = True
        self._is_finished = self._is_finished or last

    async def end(
        self, error: TurnwiseError, scope: Scope, receive: Receive, encode: Callable[[TurnwiseError], bytes] | None
    ) -> None:
        """Send why it ends: as a response of its own, or, in a stream that has begun, as `encode` encodes it.

        Where a part of a JSON body has been sent, only the connection can be ended.
        """
        if not self._is_started:
            await error_response(error)(scope, receive, self._send)
        elif encode is not None and not self._is_finished:
            await self._send({"type": "http.response.body", "body": encode(error), "more_body": False})
