"""Rejects requests that a page of another web site makes a browser send to this server."""

import ipaddress
from collections.abc import Callable, Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from turnwise.server.error_responses import RequestRejected, error_response, truncate

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class SameOriginMiddleware:
    """Checks `Origin` and `Host`, because a server on this machine may require no API key.

    A page of another origin can send requests to 127.0.0.1; they carry its `Origin` (cross-site request forgery). With
    a host name that points to 127.0.0.1 it can even be of the same origin; then `Host` is that name (DNS rebinding).
    Both are rejected. With a required API key any `Host` is accepted, because such a page has no key.
    """

    def __init__(
        self,
        app: ASGIApp,
        allowed_hosts: Collection[str] = (),
        origins: Collection[str] = (),
        is_key_required: Callable[[], bool] = lambda: False,
    ) -> None:
        """Check requests.

        Args:
            app: the next application.
            allowed_hosts: further values of `Host` on a loopback address, for a reverse proxy on this machine.
            origins: further origins that may send requests.
            is_key_required: whether an API key is required now.
        """
        self._app, self._is_key_required = app, is_key_required
        self._allowed_hosts, self._origins = {host.lower() for host in allowed_hosts}, frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 403."""
        if scope["type"] == "http" and (rejection := self._check_headers(scope)) is not None:
            await error_response(rejection)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _check_headers(self, scope: Scope) -> RequestRejected | None:
        headers = Headers(scope=scope)
        host, origin = headers.get("host", "").lower(), headers.get("origin")
        name = _host_name(host)
        server_address = (scope.get("server") or ("",))[0]
        is_host_allowed = is_loopback(name) or name in self._allowed_hosts or self._is_key_required()
        if is_loopback(server_address) and not is_host_allowed:
            return RequestRejected(
                403, "host_not_allowed",
                f"This server does not accept the host name '{truncate(host)}'. Behind a proxy, let the proxy send "
                "'Host: localhost', or start the server with --allowed-host NAME, or create an API key.",
            )  # fmt: skip
        if origin is None or origin in self._origins or scope["method"] in _SAFE_METHODS:
            return None
        if urlsplit(origin).netloc.lower() != host:
            return RequestRejected(
                403, "origin_not_allowed",
                "Requests from pages of other web sites are rejected. "
                "Start the server with --allowed-origin ORIGIN to allow one.",
            )  # fmt: skip
        return None


def _host_name(host: str) -> str:
    """The name in a `Host` header, without the port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """Whether a host name or address is reachable from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
