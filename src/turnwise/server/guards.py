"""What stands before the routes, as plain ASGI: Starlette's `BaseHTTPMiddleware` hides a leaving client from them."""

import ipaddress
import logging
import time
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from turnwise.server.errors import Refusal, cut, error_response, log_mistake, unexpected

access_log = logging.getLogger("turnwise.access")

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_HARMLESS = frozenset({"GET", "HEAD", "OPTIONS"})


class AccessLog:
    """One line per request: method, path, status, time. Never a query, a header or a body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and log how it went; 499 stands for a client that left before the answer began."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, began = 499, time.perf_counter()

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            path = cut(scope["path"]).encode("unicode_escape").decode()  # no line breaks of a client's making
            access_log.info("%s %s %d %.0f ms", scope["method"], path, status, 1000 * (time.perf_counter() - began))


class SecurityHeaders:
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


class CatchMistakes:
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
        except Exception as error:
            log_mistake(error)
            if not began:
                await error_response(unexpected())(scope, receive, send)


class SameOrigin:
    """Keeps other web sites out of a server that asks for no key.

    A page of another origin may send requests to 127.0.0.1 (it carries `Origin`), and may even pretend to be this
    server by pointing its own name here (then `Host` is that name): both are refused. `allowed_hosts` names further
    hosts under which a proxy on this machine may pass requests on.
    """

    def __init__(self, app: ASGIApp, allowed_hosts: Collection[str] = ()) -> None:
        self._app = app
        self._allowed = {host.lower() for host in allowed_hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 403."""
        if scope["type"] == "http" and (refusal := self._refusal(scope)) is not None:
            await error_response(refusal)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> Refusal | None:
        headers = Headers(scope=scope)
        host, origin = headers.get("host", "").lower(), headers.get("origin")
        name = _name(host)
        here = (scope.get("server") or ("",))[0]
        if is_loopback(here) and not is_loopback(name) and name not in self._allowed:
            return Refusal(403, "host_not_allowed", f"This server does not answer to the host name '{cut(host)}'.")
        if origin is not None and scope["method"] not in _HARMLESS and urlsplit(origin).netloc.lower() != host:
            return Refusal(403, "origin_not_allowed", "Requests from the pages of other web sites are refused.")
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
