"""Cross-origin resource sharing: pages of allowed origins may use the API."""

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from turnwise.core.errors import InvalidParameter
from turnwise.server.error_responses import truncate

_ALLOWED_METHODS = "GET, POST, PATCH, DELETE"
_EXPOSED_HEADERS = "x-request-id, retry-after"
_PREFLIGHT_MAX_AGE_SECONDS = "600"
_DEFAULT_PORTS = {"http": 80, "https": 443}


class CorsMiddleware:
    """Sends CORS headers to pages of the allowed origins. Credentials are never allowed: the API has no cookies."""

    def __init__(self, app: ASGIApp, origins: Collection[str]) -> None:
        self._app, self._origins = app, frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a preflight request, or pass the request on and add the headers to its response."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        allowed_origin = origin if origin in self._origins else None

        async def send_message(message: Message) -> None:
            if message["type"] == "http.response.start":
                response_headers = MutableHeaders(scope=message)
                response_headers.add_vary_header("Origin")
                if allowed_origin is not None:
                    response_headers["Access-Control-Allow-Origin"] = allowed_origin
                    response_headers["Access-Control-Expose-Headers"] = _EXPOSED_HEADERS
            await send(message)

        if allowed_origin is not None and scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            response = Response(status_code=204, headers=_preflight_headers(headers))
            await response(scope, receive, send_message)
        else:
            await self._app(scope, receive, send_message)


def _preflight_headers(request_headers: Headers) -> dict[str, str]:
    allowed_headers = request_headers.get("access-control-request-headers", "authorization, content-type")
    headers = {
        "Access-Control-Allow-Methods": _ALLOWED_METHODS,
        "Access-Control-Allow-Headers": allowed_headers,
        "Access-Control-Max-Age": _PREFLIGHT_MAX_AGE_SECONDS,
    }
    if request_headers.get("access-control-request-private-network") == "true":  # a public page, a local server
        headers["Access-Control-Allow-Private-Network"] = "true"
    return headers


def parse_origin(origin: str) -> str:
    """Return an origin in the form that browsers send. Raises `InvalidParameter`."""
    try:
        parts = urlsplit(origin.strip().rstrip("/"))
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = urlsplit(""), None, None
    if (
        parts.scheme not in _DEFAULT_PORTS
        or not host
        or "*" in host
        or "@" in parts.netloc
        or parts.path
        or parts.query
    ):
        raise InvalidParameter(
            "allowed_origin",
            f"'{truncate(origin)}' is not an origin; write it as https://example.org or http://localhost:3000.",
        )
    name = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{name}" + ("" if port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{port}")
