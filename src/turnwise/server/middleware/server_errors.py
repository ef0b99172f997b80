"""Unexpected exceptions: a 500 without internals, and a traceback in the log."""

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from turnwise.server.error_responses import error_response, internal_error, log_exception


class ServerErrorMiddleware:
    """Answers unexpected exceptions. Starlette's middleware of that name sends the exception on to the server's log."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on. After an exception in a response that has started, only the connection is closed."""
        has_started = False

        async def send_message(message: Message) -> None:
            nonlocal has_started
            has_started = has_started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, send_message)
        except ClientDisconnect:
            pass  # the client disconnected while it sent the request; the access log has status 499
        except Exception as error:
            log_exception(error)
            if not has_started:
                await error_response(internal_error())(scope, receive, send)
