"""Time limit for a request to arrive."""

import asyncio
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from turnwise.server.error_responses import RequestRejected

RECEIVE_TIMEOUT_SECONDS = 60.0  # a client that sends slowly would occupy a place in the queue
ERROR_SEND_TIMEOUT_SECONDS = 5.0  # for a slow client to receive the error that ends its response


def receive_timeout() -> float:
    """Maximum seconds from the first byte of a request to its last."""
    return RECEIVE_TIMEOUT_SECONDS


class ReceiveTimeoutMiddleware:
    """Limits the time for a request to arrive, on every route."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on. After the timeout, reading the body raises `RequestRejected` with status 408."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        deadline = asyncio.get_running_loop().time() + receive_timeout()
        has_arrived = False

        async def receive_message() -> Message:
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

        await self._app(scope, receive_message, send)
