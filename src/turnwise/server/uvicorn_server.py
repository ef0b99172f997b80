"""Running the application: one process, one address, quiet logs, a clean end."""

import gc
import logging
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import uvicorn
from fastapi import FastAPI

from turnwise.core.errors import UserError
from turnwise.server.h11_protocol import SEND_TIMEOUT_SECONDS, make_protocol_class
from turnwise.server.middleware.access_log import LogFormat, make_formatter
from turnwise.server.middleware.security import is_loopback

DRAIN_TIMEOUT_SECONDS = 30.0  # for completions under way, once somebody pressed Ctrl-C
KEEP_ALIVE_SECONDS = 120.0  # longer than common clients and proxies keep connections (Go: 90, nginx: 60, undici: 4)
THREAD_SWITCH_SECONDS = 0.001  # Python's own is 0.005
CANCEL_TIMEOUT_SECONDS = 1  # after that: for what was cut off to say so

log = logging.getLogger("turnwise.server")


class ListenFailed(UserError):
    """The address is taken, not ours, or not to be opened without a word from the person."""


def print_url(url: str) -> None:
    """Tell the person where to look."""
    print(f"Turnwise listens on {url}   (Ctrl-C stops it)", flush=True)


def serve(
    app: FastAPI,
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    allow_remote: bool = False,
    drain: float = DRAIN_TIMEOUT_SECONDS,
    log_format: LogFormat = "text",
    keep_alive: float = KEEP_ALIVE_SECONDS,
    send_timeout: float = SEND_TIMEOUT_SECONDS,
    on_listening: Callable[[str], None] = print_url,
) -> None:
    """Serve `app` until Ctrl-C or SIGTERM, let the completions under way finish, and end; a second one ends at once.

    While they finish, new requests are answered with 503, so that whoever distributes them goes elsewhere.

    Args:
        app: what `create_app` made.
        host: name or address to listen on.
        port: 0 picks a free one.
        allow_remote: listen on an address that other machines reach, although no key is asked for.
        drain: most seconds for the completions under way.
        log_format: "text" writes lines for people, "json" an object per request.
        keep_alive: seconds that a connection may be idle between two requests.
        send_timeout: seconds for a client to read on, once it reads slower than its answer is written.
        on_listening: called with the URL once connections are accepted.

    Raises:
        CannotListen: the port is taken, the host is unknown, or it is not a loopback address, no key is asked for and
            `allow_remote` is off.
    """
    check_remote_access(host, allow_remote=allow_remote, requires_key=app.state.api_key_auth.check_required())
    listener = _listen(host, port)
    _configure_logging(log_format)
    url = _url(host, listener.getsockname()[1])
    config = uvicorn_config(app, keep_alive=keep_alive, send_timeout=send_timeout)
    with listener, _short_thread_switches(), suppress(KeyboardInterrupt):
        _DrainingServer(config, app, drain, lambda: on_listening(url)).run(sockets=[listener])


@contextmanager
def _short_thread_switches() -> Iterator[None]:
    """Let other threads run soon: a decoding step takes the interpreter dozens of times, each time after such a wait.

    What is there before the first request stays, so the garbage collector need not look at it again.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(THREAD_SWITCH_SECONDS)
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        sys.setswitchinterval(before)


def check_remote_access(host: str, *, allow_remote: bool, requires_key: bool) -> None:
    """Raise `CannotListen` where other machines would reach the server without a key, and nobody said that they may."""
    if not (is_loopback(host) or allow_remote or requires_key):
        raise ListenFailed(
            f"Listening on '{host}' would let other machines chat and read conversations without a key. "
            "Use --host 127.0.0.1, or say --allow-remote if the network is yours, "
            "or make a key with `turnwise keys create --name NAME`."
        )


def check_address(host: str, port: int, *, allow_remote: bool, requires_key: bool) -> None:
    """Raise what `serve` would raise about the address. Called before a model is loaded, which takes longer."""
    check_remote_access(host, allow_remote=allow_remote, requires_key=requires_key)
    _listen(host, port).close()


class _DrainingServer(uvicorn.Server):
    """A server that says when it listens, and that drains before it ends."""

    def __init__(self, config: uvicorn.Config, app: FastAPI, seconds: float, on_listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._limiter, self._drain = app.state.limiter, app.state.drain
        self._seconds, self._is_announced = seconds, False
        self._on_listening = on_listening

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal begins to drain, the second ends at once. Runs between any two instructions."""
        del sig, frame
        if self._drain.is_draining:
            self.should_exit = self.force_exit = True
        else:
            self._drain.start(self._seconds)

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: whether to end. What is still under way then is told so."""
        if self._drain.is_draining:
            num_active, left = self._limiter.num_active, self._drain.seconds_left
            if num_active and left and not self._is_announced:
                self._is_announced = True
                log.info("Finishing %d under way, at most %.0f s; a second Ctrl-C ends at once.", num_active, left)
            self.should_exit = self.should_exit or not (num_active and left)
        return await super().on_tick(counter)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_listening()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._limiter.stop()
        await super().shutdown(sockets)
        self._captured_signals.clear()  # they would be raised again, and the caller could not tidy up


def uvicorn_config(
    app: FastAPI, *, keep_alive: float = KEEP_ALIVE_SECONDS, send_timeout: float = SEND_TIMEOUT_SECONDS
) -> uvicorn.Config:
    """How uvicorn is to run `app`."""
    config = uvicorn.Config(
        app,
        http=make_protocol_class(send_timeout),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nobody is trusted to say who a client is
        timeout_graceful_shutdown=CANCEL_TIMEOUT_SECONDS,
    )
    config.timeout_keep_alive = keep_alive  # type: ignore[assignment]  # the timer takes fractions too
    return config


def _listen(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65535:  # the system would count on from 0
        raise ListenFailed(f"There is no port {port}; --port takes 0 to 65535.")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise ListenFailed(f"There is no address '{host}' port {port} to listen on; see --host and --port.") from error
    try:
        if sys.platform != "win32":  # there it would let two servers share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise ListenFailed(
            f"Cannot listen on {host} port {port}: {(error.strerror or str(error)).lower()}. "
            "Choose another port with --port, or --port 0 for any free one."
        ) from error
    return listener


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _configure_logging(log_format: LogFormat) -> None:
    """Our one line per request and what went wrong, on stderr; uvicorn only speaks of errors."""
    handler = logging.StreamHandler()
    handler.setFormatter(make_formatter(log_format))
    ours = logging.getLogger("turnwise")
    if not ours.handlers:
        ours.addHandler(handler)
        ours.setLevel(logging.INFO)
        ours.propagate = False
    uvicorn_log = logging.getLogger("uvicorn.error")
    uvicorn_log.setLevel(logging.CRITICAL)  # its errors carry tracebacks that may quote a message; ours do not
