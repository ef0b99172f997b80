"""HTTP requests to servers of others: limits on time and size, no proxies, no cookies, only http and https."""

import http.client
import ipaddress
import re
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from turnwise import __version__
from turnwise.core.errors import InvalidParameter

CONNECT_SECONDS = 10.0  # also between two pieces of a response
SHOWN_PATH = 8  # characters of a path in messages
USER_AGENT = f"turnwise/{__version__}"


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A response.

    Attributes:
        status: status code.
        headers: headers with names in lower case; the last of repeated ones.
        body: content, at most the allowed number of bytes.
        is_truncated: the content is longer.
        is_public: the server has an address of the public network.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    is_truncated: bool
    is_public: bool = True


def check_url(url: str, *, needs_https: bool) -> SplitResult:
    """Return the parts of a URL.

    Args:
        url: the URL.
        needs_https: http is only allowed to this machine (loopback).

    Raises:
        InvalidParameter: it has another scheme, no host, an invalid port, or a user name.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port  # both raise ValueError if they are invalid
    except ValueError as error:
        raise InvalidParameter("url", f"'{short_url(url)}' is not a URL: {error}.") from error
    if parts.scheme not in ("http", "https") or not host:
        raise InvalidParameter("url", f"'{short_url(url)}' is not an http or https URL.")
    if parts.username is not None or parts.password is not None:
        raise InvalidParameter("url", f"The URL of {host} holds a user name or password, which would be stored.")
    if any(character <= " " or character == "\x7f" for character in url):
        raise InvalidParameter("url", f"'{short_url(url)!r}' has white space or control characters.")
    if needs_https and parts.scheme == "http" and not is_loopback(host):
        raise InvalidParameter("url", f"'{short_url(url)}' is not encrypted: use https. http is for this machine only.")
    return parts


def short_url(url: str) -> str:
    """A URL for messages and logs: host and the beginning of the path. The rest often holds secrets of the owner."""
    scheme, _, rest = url.partition("://")
    host, slash, path = re.split(r"[?#]", rest, maxsplit=1)[0].rpartition("@")[2].partition("/")
    shown = f"{scheme[:10]}://{host[:100]}{slash}{path[:SHOWN_PATH]}"
    return shown if shown == url else f"{shown}…"


def send_request(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes | None = None,
    *,
    max_bytes: int,
    seconds: float,
    only_public: bool = False,
) -> HttpResponse:
    """Send one request; redirects are not followed.

    Args:
        method: HTTP method.
        url: a URL that `check_url` accepts.
        headers: headers to add.
        body: content to send.
        max_bytes: largest content to read; the rest is left.
        seconds: time limit for everything.
        only_public: send nothing to this machine and to private networks. The address of the connection is checked,
            because a name can lead to another address the next time.

    Raises:
        OSError: the server cannot be reached, breaks the protocol, or does not answer in time.
    """
    parts = urlsplit(url)
    make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = make(parts.hostname or "", parts.port, timeout=min(CONNECT_SECONDS, seconds))
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        with _deadline(seconds) as sockets:
            connection.connect()
            sockets.append(connection.sock)
            is_public = is_public_address(connection.sock.getpeername()[0])
            if only_public and not is_public:
                raise OSError("a redirect to an address of a private network is not followed")
            connection.request(method, target, body, {"User-Agent": USER_AGENT, "Connection": "close", **headers})
            response = connection.getresponse()
            content = response.read(max_bytes + 1)
            values = {name.lower(): value for name, value in response.getheaders()}
            return HttpResponse(response.status, values, content[:max_bytes], len(content) > max_bytes, is_public)
    except (http.client.HTTPException, UnicodeError) as error:
        raise OSError(f"the server broke the protocol ({type(error).__name__})") from error
    finally:
        connection.close()


def describe_failure(error: OSError) -> str:
    """A short reason for lists and logs, without addresses or contents."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or 'failed'}"
    if isinstance(error, socket.gaierror):
        return "unknown host"
    return error.strerror or str(error)[:100] or type(error).__name__


@contextmanager
def _deadline(seconds: float) -> Iterator[list[socket.socket]]:
    """Break connections after `seconds`: a socket's own limit starts again with every byte.

    Yields a list for the connected sockets. `http.client` hands its socket over to the response, so it cannot be taken
    from the connection later. The limit of the socket holds while it connects.
    """
    is_over = threading.Event()
    sockets: list[socket.socket] = []

    def abort() -> None:
        is_over.set()
        for connected in sockets:
            with suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, abort)
    timer.daemon = True
    timer.start()
    try:
        yield sockets
    except (OSError, http.client.HTTPException) as error:
        if is_over.is_set():
            raise TimeoutError("no answer in time") from error
        raise
    finally:
        timer.cancel()
    if is_over.is_set():
        raise TimeoutError("no answer in time")


def is_loopback(host: str) -> bool:
    """True if a host name or address is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_public_address(address: str) -> bool:
    """True if an IP address is of the public network: not loopback, private, link-local or reserved."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).is_global
