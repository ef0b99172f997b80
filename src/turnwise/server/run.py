"""Running the application: one process, one address, quiet logs, a clean end."""

import logging
import socket
import sys
from collections.abc import Callable
from contextlib import suppress

import uvicorn
from fastapi import FastAPI

from turnwise.core.errors import UserError
from turnwise.server.guards import is_loopback

SECONDS_TO_FINISH = 1  # for open streams, once somebody pressed Ctrl-C


class CannotListen(UserError):
    """The address is taken, not ours, or not to be opened without a word from the person."""


def announce(url: str) -> None:
    """Tell the person where to look."""
    print(f"Turnwise listens on {url}   (Ctrl-C stops it)", flush=True)


def serve(
    app: FastAPI,
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    allow_remote: bool = False,
    on_listening: Callable[[str], None] = announce,
) -> None:
    """Serve `app` until Ctrl-C or SIGTERM; requests under way get a second to finish.

    Args:
        app: what `create_app` made.
        host: name or address to listen on.
        port: 0 picks a free one.
        allow_remote: listen on an address that other machines reach, although no key is asked for.
        on_listening: called with the URL once connections are accepted.

    Raises:
        CannotListen: the port is taken, the host is unknown, or it is not a loopback address and `allow_remote` is off.
    """
    if not is_loopback(host) and not allow_remote:
        raise CannotListen(
            f"Listening on '{host}' would let other machines chat and read conversations without a key. "
            "Use --host 127.0.0.1, or say --allow-remote if the network is yours."
        )
    listener = _listen(host, port)
    _log_quietly()
    url = _url(host, listener.getsockname()[1])
    with listener, suppress(KeyboardInterrupt):
        _Server(server_config(app), lambda: on_listening(url)).run(sockets=[listener])


class _Server(uvicorn.Server):
    """A server that says when it listens."""

    def __init__(self, config: uvicorn.Config, on_listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_listening = on_listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_listening()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        self._captured_signals.clear()  # they would be raised again, and the caller could not tidy up


def server_config(app: FastAPI) -> uvicorn.Config:
    """How uvicorn is to run `app`."""
    return uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nobody is trusted to say who a client is
        timeout_graceful_shutdown=SECONDS_TO_FINISH,
    )


def _listen(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65535:  # the system would count on from 0
        raise CannotListen(f"There is no port {port}; --port takes 0 to 65535.")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise CannotListen(f"There is no address '{host}' port {port} to listen on; see --host and --port.") from error
    try:
        if sys.platform != "win32":  # there it would let two servers share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise CannotListen(
            f"Cannot listen on {host} port {port}: {(error.strerror or str(error)).lower()}. "
            "Choose another port with --port, or --port 0 for any free one."
        ) from error
    return listener


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _log_quietly() -> None:
    """Our one line per request and what went wrong, on stderr; uvicorn only speaks of errors."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
    ours = logging.getLogger("turnwise")
    if not ours.handlers:
        ours.addHandler(handler)
        ours.setLevel(logging.INFO)
        ours.propagate = False
    uvicorn_log = logging.getLogger("uvicorn.error")
    uvicorn_log.setLevel(logging.CRITICAL)  # its errors carry tracebacks that may quote a message; ours do not
