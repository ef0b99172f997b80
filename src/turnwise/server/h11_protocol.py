"""One HTTP/1.1 connection: uvicorn's protocol with timeouts for clients that send or read too slowly.

The timeouts belong to the connection and not to routes, so they apply to every path, also to unknown ones.
"""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from turnwise.server.middleware.timeouts import ERROR_SEND_TIMEOUT_SECONDS, receive_timeout

SEND_TIMEOUT_SECONDS = 60.0


class TimeoutH11Protocol(H11Protocol):
    """Closes the connection if the client stops sending within a request, or stops reading the response."""

    send_timeout = SEND_TIMEOUT_SECONDS
    _receive_timer: asyncio.TimerHandle | None = None
    _send_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Apply the keep-alive timeout to the first request too; uvicorn applies it after the first response."""
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def data_received(self, data: bytes) -> None:
        """Start the receive timer at the first byte of a request, and stop it at the last."""
        if self._receive_timer is None:
            # `ReceiveTimeoutMiddleware` answers earlier, with an error. This timer covers requests whose headers are
            # incomplete, and those that were answered before their body arrived.
            self._receive_timer = self.loop.call_later(receive_timeout() + ERROR_SEND_TIMEOUT_SECONDS, self._abort)
        super().data_received(data)
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY) or self._is_between_requests():
            self._stop("_receive_timer")

    def _is_between_requests(self) -> bool:
        return self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]

    def pause_writing(self) -> None:
        """Start the send timer: the write buffer is full because the client does not read."""
        super().pause_writing()
        if self._send_timer is None:
            self._send_timer = self.loop.call_later(self.send_timeout, self._abort)

    def resume_writing(self) -> None:
        """Stop the send timer: the client reads again."""
        self._stop("_send_timer")
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all timers."""
        self._stop("_receive_timer")
        self._stop("_send_timer")
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def _abort(self) -> None:
        """Close the connection without sending what is buffered. The application gets `http.disconnect`."""
        self.transport.abort()

    def _stop(self, timer: str) -> None:
        handle: Any = getattr(self, timer)
        if handle is not None:
            handle.cancel()
            setattr(self, timer, None)


def make_protocol_class(send_timeout: float) -> type[TimeoutH11Protocol]:
    """Return a protocol class with this send timeout, in seconds; uvicorn takes a class and creates the instances."""
    return type("TimeoutH11Protocol", (TimeoutH11Protocol,), {"send_timeout": send_timeout})
