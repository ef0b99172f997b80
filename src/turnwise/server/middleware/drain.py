"""Leaving: nothing new is begun, what was begun may end."""

import math
import time

from starlette.types import ASGIApp, Receive, Scope, Send

from turnwise.server.error_responses import RequestRejected, error_response

MONITORING_PATHS = frozenset({"/health", "/ready", "/metrics"})  # what watches a server watches it to the end


class DrainState:
    """Whether the server is leaving, and until when it waits."""

    def __init__(self) -> None:
        self._until: float | None = None

    def start(self, seconds: float) -> None:
        """From now on nothing new; may be called from a signal handler."""
        self._until = time.monotonic() + seconds

    @property
    def is_draining(self) -> bool:
        """Whether it is leaving."""
        return self._until is not None

    @property
    def seconds_left(self) -> float:
        """How long it still waits for what is under way."""
        return 0.0 if self._until is None else max(0.0, self._until - time.monotonic())

    def rejection(self) -> RequestRejected:
        """What a request is told that came too late."""
        return RequestRejected(
            503, "draining", "The server is stopping and begins nothing new.",
            kind="server_error", retry_after=max(1, math.ceil(self.seconds_left)),
        )  # fmt: skip


class DrainMiddleware:
    """Turns requests away while the server is leaving."""

    def __init__(self, app: ASGIApp, drain: DrainState) -> None:
        self._app, self._drain = app, drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 503 and end the connection, so that the next one goes elsewhere."""
        if scope["type"] != "http" or not self._drain.is_draining or scope["path"] in MONITORING_PATHS:
            await self._app(scope, receive, send)
            return
        response = error_response(self._drain.rejection())
        response.headers["Connection"] = "close"
        await response(scope, receive, send)
