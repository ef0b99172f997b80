"""Draining: active requests may finish, new ones are rejected."""

import math
import time

from starlette.types import ASGIApp, Receive, Scope, Send

from turnwise.server.error_responses import RequestRejected, error_response

MONITORING_PATHS = frozenset({"/health", "/ready", "/metrics"})  # answered to the end


class DrainState:
    """Whether the server drains, and until when."""

    def __init__(self) -> None:
        self._deadline: float | None = None

    def start(self, seconds: float) -> None:
        """Start draining for at most `seconds`. Safe to call from a signal handler."""
        self._deadline = time.monotonic() + seconds

    @property
    def is_draining(self) -> bool:
        """True after `start`."""
        return self._deadline is not None

    @property
    def seconds_left(self) -> float:
        """Seconds until active requests are cancelled."""
        return 0.0 if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def rejection(self) -> RequestRejected:
        """Return the error for a new request."""
        return RequestRejected(
            503, "draining", "The server is stopping and accepts no new requests.",
            error_type="server_error", retry_after=max(1, math.ceil(self.seconds_left)),
        )  # fmt: skip


class DrainMiddleware:
    """Rejects new requests while the server drains."""

    def __init__(self, app: ASGIApp, drain: DrainState) -> None:
        self._app, self._drain = app, drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 503 and close the connection, so that the client connects elsewhere."""
        if scope["type"] != "http" or not self._drain.is_draining or scope["path"] in MONITORING_PATHS:
            await self._app(scope, receive, send)
            return
        response = error_response(self._drain.rejection())
        response.headers["Connection"] = "close"
        await response(scope, receive, send)
