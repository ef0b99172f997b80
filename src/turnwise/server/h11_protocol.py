"""One HTTP/1.1 connection: uvicorn's protocol, with limits for clients that send or read too slowly.

The limits belong to the connection and not to routes, so they hold on every path, also on unknown ones.
"""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from turnwise.server.middleware.concurrency_limit import FAREWELL_SECONDS, receive_timeout

SEND_TIMEOUT_SECONDS = 60.0  # for a client to read on, once it reads slower than its answer is written


class TimeoutH11Protocol(H11Protocol):
    """Closes connections whose client stops sending in the middle of a request, or stops reading its answer."""

    send_timeout = SEND_TIMEOUT_SECONDS
    _receive_timer: asyncio.TimerHandle | None = None
    _send_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request, no longer than for any later one."""
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def data_received(self, data: bytes) -> None:
        """Take in what came. From its first byte on, a request has a limited time to arrive."""
        if self._receive_timer is None:
            # The routes answer a late request with an error a little earlier; this is for those that have answered
            # before the body came, and for requests that have not come as far as their headers.
            self._receive_timer = self.loop.call_later(receive_timeout() + FAREWELL_SECONDS, self._abort)
        super().data_received(data)
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY) or self._is_between_requests():
            self._stop("_receive_timer")

    def _is_between_requests(self) -> bool:
        return self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]

    def pause_writing(self) -> None:
        """Wait for the client to read, for a limited time."""
        super().pause_writing()
        if self._send_timer is None:
            self._send_timer = self.loop.call_later(self.send_timeout, self._abort)

    def resume_writing(self) -> None:
        """Go on: the client has read."""
        self._stop("_send_timer")
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget what was waited for."""
        self._stop("_receive_timer")
        self._stop("_send_timer")
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def _abort(self) -> None:
        """Close at once, without waiting for what was not read; whoever works for this client is told so."""
        self.transport.abort()

    def _stop(self, timer: str) -> None:
        handle: Any = getattr(self, timer)
        if handle is not None:
            handle.cancel()
            setattr(self, timer, None)


def make_protocol_class(send_timeout: float) -> type[TimeoutH11Protocol]:
    """Connections that give a client `send_seconds` to read on."""
    return type("Connection", (TimeoutH11Protocol,), {"send_timeout": send_timeout})
