"""Runs the application in uvicorn: one process, one address, graceful shutdown, our log format."""

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
from turnwise.server.middleware.log_format import LogFormat, make_formatter
from turnwise.server.middleware.same_origin import is_loopback

DRAIN_TIMEOUT_SECONDS = 30.0  # for active completions, after the first signal
CANCEL_TIMEOUT_SECONDS = 1  # after draining: for cancelled requests to send their error
KEEP_ALIVE_SECONDS = 120.0  # longer than common clients and proxies keep connections (Go: 90, nginx: 60, undici: 4)
THREAD_SWITCH_SECONDS = 0.001  # Python's default is 0.005

log = logging.getLogger("turnwise.server")


class ListenFailed(UserError):
    """The address cannot be listened on, or other machines could reach the server without a key."""


def print_url(url: str) -> None:
    """Print the URL of the server."""
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
    """Serve `app` until Ctrl-C or SIGTERM.

    The first signal starts draining: active completions may finish, new requests get a 503, so that a load balancer
    sends them elsewhere. The second signal stops the server at once.

    Args:
        app: the application from `create_app`.
        host: name or address to listen on.
        port: port to listen on; 0 picks a free one.
        allow_remote: allow an address that other machines reach, even if no API key is required.
        drain: maximum seconds for active completions to finish.
        log_format: "text" (one line per request) or "json" (one object per request).
        keep_alive: seconds that a connection may be idle between two requests.
        send_timeout: seconds after which a client that does not read is disconnected.
        on_listening: called with the URL once connections are accepted.

    Raises:
        ListenFailed: the port is taken, the host is unknown, or the address is not a loopback address although neither
            an API key is required nor `allow_remote` is set.
    """
    check_remote_access(host, allow_remote=allow_remote, requires_key=app.state.api_key_auth.check_required())
    listener = _listen(host, port)
    _configure_logging(log_format)
    url = _url(host, listener.getsockname()[1])
    config = uvicorn_config(app, keep_alive=keep_alive, send_timeout=send_timeout)
    with listener, _responsive_interpreter(), suppress(KeyboardInterrupt):
        _DrainingServer(config, app, drain, lambda: on_listening(url)).run(sockets=[listener])


@contextmanager
def _responsive_interpreter() -> Iterator[None]:
    """Reduce the time that threads wait for the interpreter lock, and that the garbage collector takes.

    A decoding step releases the lock dozens of times, and waits up to one switch interval each time to get it back.
    Objects that exist before the first request are permanent, so the collector need not scan them.
    """
    interval = sys.getswitchinterval()
    sys.setswitchinterval(THREAD_SWITCH_SECONDS)
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        sys.setswitchinterval(interval)


def check_remote_access(host: str, *, allow_remote: bool, requires_key: bool) -> None:
    """Raise `ListenFailed` if other machines could reach the server without a key and this is not allowed."""
    if not (is_loopback(host) or allow_remote or requires_key):
        raise ListenFailed(
            f"Listening on '{host}' would let other machines chat and read conversations without an API key. "
            "Use --host 127.0.0.1, add --allow-remote if you trust the network, "
            "or create a key with `turnwise keys create --name NAME`."
        )


def check_address(host: str, port: int, *, allow_remote: bool, requires_key: bool) -> None:
    """Raise what `serve` would raise about the address. For a check before the model is loaded, which takes long."""
    check_remote_access(host, allow_remote=allow_remote, requires_key=requires_key)
    _listen(host, port).close()


class _DrainingServer(uvicorn.Server):
    """A uvicorn server that reports when it listens, and drains before it stops."""

    def __init__(self, config: uvicorn.Config, app: FastAPI, seconds: float, on_listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._limiter, self._drain = app.state.limiter, app.state.drain
        self._background_answers, self._usage = app.state.background_answers, app.state.usage_recorder
        self._drain_seconds, self._is_drain_logged = seconds, False
        self._on_listening = on_listening

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Signal handler: start draining, or stop at once if draining. It may run between any two instructions."""
        del sig, frame
        if self._drain.is_draining:
            self.should_exit = self.force_exit = True
        else:
            self._drain.start(self._drain_seconds)

    async def on_tick(self, counter: int) -> bool:
        """Called ten times per second; returns whether to stop."""
        if self._drain.is_draining:
            num_active, seconds_left = self._limiter.num_active, self._drain.seconds_left
            if num_active and seconds_left and not self._is_drain_logged:
                self._is_drain_logged = True
                log.info(
                    "Waiting for %d active completions, at most %.0f s; a second Ctrl-C stops at once.",
                    num_active, seconds_left,
                )  # fmt: skip
            self.should_exit = self.should_exit or not (num_active and seconds_left)
        return await super().on_tick(counter)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_listening()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._limiter.stop()
        await self._background_answers.stop()
        await super().shutdown(sockets)
        if self._usage is not None:
            await self._usage.close()  # last, because requests that end now count
        self._captured_signals.clear()  # uvicorn raises them again, and the caller could not clean up


def uvicorn_config(
    app: FastAPI, *, keep_alive: float = KEEP_ALIVE_SECONDS, send_timeout: float = SEND_TIMEOUT_SECONDS
) -> uvicorn.Config:
    """Return the uvicorn configuration for `app`; times are in seconds."""
    config = uvicorn.Config(
        app,
        http=make_protocol_class(send_timeout),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # no proxy is trusted to name the client
        timeout_graceful_shutdown=CANCEL_TIMEOUT_SECONDS,
    )
    config.timeout_keep_alive = keep_alive  # type: ignore[assignment]  # the timer takes fractions too
    return config


def _listen(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65535:  # the system would wrap it around
        raise ListenFailed(f"There is no port {port}; --port takes 0 to 65535.")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise ListenFailed(f"There is no address '{host}' port {port} to listen on; see --host and --port.") from error
    try:
        if sys.platform != "win32":  # on Windows this option lets two servers share a port
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
    """Log to stderr: one line per request, and errors. Uvicorn logs only critical errors."""
    handler = logging.StreamHandler()
    handler.setFormatter(make_formatter(log_format))
    turnwise_log = logging.getLogger("turnwise")
    if not turnwise_log.handlers:
        turnwise_log.addHandler(handler)
        turnwise_log.setLevel(logging.INFO)
        turnwise_log.propagate = False
    uvicorn_log = logging.getLogger("uvicorn.error")
    uvicorn_log.setLevel(logging.CRITICAL)  # its tracebacks may quote a message; ours do not
