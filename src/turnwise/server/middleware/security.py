"""What stands before the routes, as plain ASGI: Starlette's `BaseHTTPMiddleware` hides a leaving client from them."""

import ipaddress
from collections.abc import Callable, Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from turnwise.core.errors import InvalidParameter
from turnwise.server.error_responses import RequestRejected, error_response, internal_error, log_exception, truncate

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_ALLOWED_METHODS = "GET, POST, PATCH, DELETE"
_EXPOSED_HEADERS = "x-request-id, retry-after"  # what a page may read besides the body
_PREFLIGHT_MAX_AGE_SECONDS = "600"
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Http1Middleware:
    """What HTTP/1.1 asks of every server and the framework leaves out (RFC 9110 9.1, RFC 9112 3.2.2 and 6.1)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on: HEAD as GET without a body, an absolute target as its path."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_head, headers = scope["method"] == "HEAD", Headers(scope=scope)
        closes = (
            "transfer-encoding" in headers and "content-length" in headers
        )  # two lengths: perhaps a smuggled request
        _to_origin_form(scope)
        if is_head:
            scope = {**scope, "method": "GET"}

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start" and closes:
                MutableHeaders(scope=message)["Connection"] = "close"
            elif message["type"] == "http.response.body" and is_head:
                message = {**message, "body": b""}
            await send(message)

        await self._app(scope, receive, sending)


def _to_origin_form(scope: Scope) -> None:
    """Where the target of a request is a whole URL, as for a proxy, its host counts and not the header's."""
    if not scope["path"].lower().startswith(("http://", "https://")):
        return
    target = urlsplit(scope["path"])
    headers = [(name, value) for name, value in scope["headers"] if name != b"host"]
    scope["headers"] = [*headers, (b"host", target.netloc.encode(errors="replace"))]
    scope["path"], scope["raw_path"] = target.path or "/", urlsplit(scope["raw_path"]).path or b"/"


class SecurityHeadersMiddleware:
    """Adds the headers that keep the page to itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; the answer's start gets the headers."""

        async def adding(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, adding)


class ServerErrorMiddleware:
    """Turns an error that nobody foresaw into a 500 without insides, and logs where it happened."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on. When the answer has begun already, all that is left is to end the connection."""
        began = False

        async def noting(message: Message) -> None:
            nonlocal began
            began = began or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except ClientDisconnect:
            pass  # it left while it sent its request; the log says 499
        except Exception as error:
            log_exception(error)
            if not began:
                await error_response(internal_error())(scope, receive, send)


class CorsMiddleware:
    """Lets the pages of some other origins use the API (CORS). Never with cookies: there are none, keys are headers."""

    def __init__(self, app: ASGIApp, origins: Collection[str]) -> None:
        self._app, self._origins = app, frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a browser's question in advance, or pass the request on and say that the page may read the answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        allowed = origin if origin in self._origins else None

        async def adding(message: Message) -> None:
            if message["type"] == "http.response.start":
                answered = MutableHeaders(scope=message)
                answered.add_vary_header("Origin")
                if allowed is not None:
                    answered["Access-Control-Allow-Origin"] = allowed
                    answered["Access-Control-Expose-Headers"] = _EXPOSED_HEADERS
            await send(message)

        if allowed is not None and scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            await Response(status_code=204, headers=_preflight(headers))(scope, receive, adding)
        else:
            await self._app(scope, receive, adding)


def _preflight(asked: Headers) -> dict[str, str]:
    said = {
        "Access-Control-Allow-Methods": _ALLOWED_METHODS,
        "Access-Control-Allow-Headers": asked.get("access-control-request-headers", "authorization, content-type"),
        "Access-Control-Max-Age": _PREFLIGHT_MAX_AGE_SECONDS,
    }
    if asked.get("access-control-request-private-network") == "true":  # a public page that asks this machine
        said["Access-Control-Allow-Private-Network"] = "true"
    return said


def parse_origin(said: str) -> str:
    """An origin as browsers send it. Raises `InvalidParameter` for anything that is none."""
    try:
        parts = urlsplit(said.strip().rstrip("/"))
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
            "allow_origin",
            f"'{truncate(said)}' is no origin; write it as https://example.org or http://localhost:3000.",
        )
    name = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{name}" + ("" if port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{port}")


class SameOriginMiddleware:
    """Keeps other web sites out; a server on this machine may ask for no key.

    A page of another origin may send requests to 127.0.0.1 (it carries `Origin`), and may even pretend to be this
    server by pointing its own name here (then `Host` is that name): both are refused. `allowed_hosts` names further
    hosts under which a proxy on this machine may pass requests on, `origins` the sites that may send requests. Where a
    key is asked for, any host will do: a page that pretends has no key.
    """

    def __init__(
        self,
        app: ASGIApp,
        allowed_hosts: Collection[str] = (),
        origins: Collection[str] = (),
        is_key_required: Callable[[], bool] = lambda: False,
    ) -> None:
        self._app, self._is_key_required = app, is_key_required
        self._allowed, self._origins = {host.lower() for host in allowed_hosts}, frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 403."""
        if scope["type"] == "http" and (rejection := self._check_headers(scope)) is not None:
            await error_response(rejection)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _check_headers(self, scope: Scope) -> RequestRejected | None:
        headers = Headers(scope=scope)
        host, origin = headers.get("host", "").lower(), headers.get("origin")
        name = _name(host)
        here = (scope.get("server") or ("",))[0]
        if is_loopback(here) and not (is_loopback(name) or name in self._allowed or self._is_key_required()):
            return RequestRejected(
                403, "host_not_allowed",
                f"This server does not answer to the host name '{truncate(host)}'. Behind a proxy, let the proxy send "
                "'Host: localhost', or start the server with --allowed-host NAME, or make an API key.",
            )  # fmt: skip
        if origin is None or origin in self._origins or scope["method"] in _SAFE_METHODS:
            return None
        if urlsplit(origin).netloc.lower() != host:
            return RequestRejected(403, "origin_not_allowed", "Requests from the pages of other web sites are refused.")
        return None


def _name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
