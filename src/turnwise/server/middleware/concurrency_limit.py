"""Limits of completions: how many at the same time, in total and per API key, and how long each may take."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from turnwise.core.api_keys import ApiKey
from turnwise.core.errors import TurnwiseError, Unavailable
from turnwise.server.error_responses import RequestRejected, error_response
from turnwise.server.middleware.timeouts import ERROR_SEND_TIMEOUT_SECONDS
from turnwise.server.request_context import current_request

# Routes that run a model.
GENERATION_PATHS = frozenset({
    "/v1/chat/completions", "/v1/responses", "/v1/responses/input_tokens", "/v1/completions", "/v1/embeddings",
    "/v1/classify", "/v1/tag", "/v1/next_token", "/v1/answer_tokens", "/v1/attention",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Limits of completions.

    Attributes:
        max_concurrent_requests: maximum number of active completions, running and waiting.
        request_timeout: maximum seconds from the request to the last byte of its response, however slowly it is read.
        max_num_seqs: how many sequences the engine runs at the same time; None if unknown.
    """

    max_concurrent_requests: int = 256
    request_timeout: float = 600.0
    max_num_seqs: int | None = None


class ConcurrencyLimiter:
    """Counts active completions. Used on the event loop only."""

    def __init__(self, limits: ServerLimits) -> None:
        self.limits = limits
        self.is_stopped = False
        self._active: dict[asyncio.Timeout, str | None] = {}  # name of the API key, by the time limit of the request

    @property
    def num_active(self) -> int:
        """Number of active completions, running and waiting."""
        return len(self._active)

    @property
    def num_running(self) -> int:
        """Estimated number of running completions; the engine decides which run, and `n` > 1 takes more sequences."""
        return self.num_active - self.num_waiting

    @property
    def num_waiting(self) -> int:
        """Estimated number of completions that wait for a sequence of the engine."""
        return 0 if self.limits.max_num_seqs is None else max(0, self.num_active - self.limits.max_num_seqs)

    @property
    def has_spare_slot(self) -> bool:
        """True if one more completion delays nobody, and leaves a slot for the next request."""
        max_num_seqs = self.limits.max_num_seqs
        has_sequence = max_num_seqs is None or self.num_active < max_num_seqs
        return has_sequence and self.num_active + 1 < self.limits.max_concurrent_requests

    def check(self, key: ApiKey | None) -> None:
        """Raise `RequestRejected` (429) if one more completion with this key is over a limit."""
        if key is not None and key.max_concurrent is not None:
            num_active_of_key = sum(name == key.name for name in self._active.values())
            if num_active_of_key >= key.max_concurrent:
                raise RequestRejected(
                    429, "rate_limit_exceeded",
                    f"The key '{key.name}' allows {key.max_concurrent} completions at the same time. Wait until one "
                    "ends.",
                    error_type="rate_limit_error",
                )  # fmt: skip
        if self.num_active >= self.limits.max_concurrent_requests:
            raise RequestRejected(
                429, "server_busy",
                f"The server is busy: it has {self.num_active} active completions, its maximum. Try again soon.",
                error_type="rate_limit_error",
            )  # fmt: skip

    def acquire(self, limit: asyncio.Timeout, key: ApiKey | None) -> None:
        """Add a completion, identified by its time limit."""
        self._active[limit] = None if key is None else key.name

    def release(self, limit: asyncio.Timeout) -> None:
        """Remove a completion. May be called twice."""
        self._active.pop(limit, None)

    def stop(self) -> None:
        """End all active completions with an error, by letting their time limits expire now."""
        self.is_stopped = True
        now = asyncio.get_running_loop().time()
        for limit in self._active:
            if not limit.expired():
                limit.reschedule(now)


class ConcurrencyLimitMiddleware:
    """Applies `ServerLimits` to the routes that run a model."""

    def __init__(self, app: ASGIApp, limiter: ConcurrencyLimiter) -> None:
        self._app, self._limiter = app, limiter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 429. After the time limit: 408, or an error event in a started stream."""
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] not in GENERATION_PATHS:
            await self._app(scope, receive, send)
            return
        try:
            self._limiter.check(current_request().key)
        except RequestRejected as rejection:
            await error_response(rejection)(scope, receive, send)
            return
        await self._run_with_timeout(scope, receive, send)

    async def _run_with_timeout(self, scope: Scope, receive: Receive, send: Send) -> None:
        context, limiter = current_request(), self._limiter
        limit = context.limit = asyncio.timeout(limiter.limits.request_timeout)
        # Released before the last byte is sent: a client that has its response may send the next request at once.
        response = _ResponseState(send, before_last=lambda: limiter.release(limit))
        try:
            async with limit:
                limiter.acquire(limit, context.key)
                try:
                    await self._app(scope, receive, response.send)
                finally:
                    limiter.release(limit)
        except TimeoutError:
            if not limit.expired():
                raise
            error = timeout_error(limiter)
            context.code = error.code
            with suppress(TimeoutError):
                async with asyncio.timeout(ERROR_SEND_TIMEOUT_SECONDS):
                    await response.end(error, scope, receive, context.encode_failure)


def timeout_error(limiter: ConcurrencyLimiter) -> TurnwiseError:
    """Return the error for a completion whose time limit has expired, or that ends because the server stops."""
    if limiter.is_stopped:
        return Unavailable("The server is stopping; this completion was cancelled.")
    return RequestRejected(
        HTTPStatus.REQUEST_TIMEOUT, "timeout",
        f"The completion took longer than the {limiter.limits.request_timeout:g} seconds that this server "
        "allows. Set a lower limit of output tokens.",
        error_type="server_error",
    )  # fmt: skip


class _ResponseState:
    """Tracks how much of a response has been sent, which decides how it can be ended."""

    def __init__(self, send: Send, before_last: Callable[[], None]) -> None:
        self._send, self._before_last = send, before_last
        self._is_started = self._is_finished = False

    async def send(self, message: Message) -> None:
        is_last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if is_last:
            self._before_last()
        await self._send(message)
        if message["type"] == "http.response.start":
            self._is_started = True
        self._is_finished = self._is_finished or is_last

    async def end(
        self, error: TurnwiseError, scope: Scope, receive: Receive, encode: Callable[[TurnwiseError], bytes] | None
    ) -> None:
        """Send `error`: as a response of its own, or, in a started stream, as `encode` encodes it.

        If a part of a JSON body has been sent, nothing can be added and the connection is closed.
        """
        if not self._is_started:
            await error_response(error)(scope, receive, self._send)
        elif encode is not None and not self._is_finished:
            await self._send({"type": "http.response.body", "body": encode(error), "more_body": False})
