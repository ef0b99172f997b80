"""Requirements of HTTP/1.1 that Starlette does not meet (RFC 9110 section 9.1, RFC 9112 sections 3.2.2 and 6.1)."""

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Http1Middleware:
    """Answers HEAD like GET without a body, and accepts absolute URLs as request targets."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on. The connection closes after a request with two lengths: it may be request smuggling."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_head, headers = scope["method"] == "HEAD", Headers(scope=scope)
        has_two_lengths = "transfer-encoding" in headers and "content-length" in headers
        _to_origin_form(scope)
        if is_head:
            scope = {**scope, "method": "GET"}

        async def send_message(message: Message) -> None:
            if message["type"] == "http.response.start" and has_two_lengths:
                MutableHeaders(scope=message)["Connection"] = "close"
            elif message["type"] == "http.response.body" and is_head:
                message = {**message, "body": b""}
            await send(message)

        await self._app(scope, receive, send_message)


def _to_origin_form(scope: Scope) -> None:
    """Replace an absolute URL by its path. The host of the URL takes precedence over the `Host` header."""
    if not scope["path"].lower().startswith(("http://", "https://")):
        return
    target = urlsplit(scope["path"])
    headers = [(name, value) for name, value in scope["headers"] if name != b"host"]
    scope["headers"] = [*headers, (b"host", target.netloc.encode(errors="replace"))]
    scope["path"], scope["raw_path"] = target.path or "/", urlsplit(scope["raw_path"]).path or b"/"
