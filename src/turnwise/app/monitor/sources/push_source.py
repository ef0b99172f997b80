"""Texts that others send: an HTTP server with the route `POST /v1/monitor/texts`.

A request is answered when its texts are stored. A client that gets no answer sends them again; texts with an id are
then counted once.
"""

import hmac
import json
import queue
import socket
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from turnwise.app.monitor.http_client import check_url, is_loopback
from turnwise.app.monitor.sources.text_records import TextRecords
from turnwise.core.errors import InvalidParameter, TurnwiseError, UserError
from turnwise.core.json_file import parse_json
from turnwise.core.stream_texts import Position, SourceBatch, StreamText

ROUTE = "/v1/monitor/texts"
MAX_REQUEST_BYTES = 4 * 2**20
MAX_TEXTS = 1000  # of one request
QUEUED_REQUESTS = 64  # more are answered with 503
STORE_SECONDS = 60.0  # time limit for storing
REQUEST_SECONDS = 30.0  # time limit for receiving a request
MAX_CONNECTIONS = 64  # more are closed at once
MAX_LENGTH_DIGITS = 10  # of a Content-Length


class _PushedTexts:
    """Texts of a request that waits until they are stored."""

    def __init__(self, texts: list[StreamText]) -> None:
        self.texts = texts
        self.is_stored = threading.Event()


class PushSource:
    """Receives texts over HTTP.

    The body is a JSON object `{"texts": [...]}`; a text has the keys of `TextRecords`, and must have an id.

    Args:
        url: address to listen at, such as http://127.0.0.1:8090.
        records: makes texts of JSON objects.
        name: name of the source.
        token: requests must have the header `Authorization: Bearer TOKEN`; None: no token, on this machine only.

    Raises:
        InvalidParameter: the address is not http, has no port, or others can reach it without a token.
        UserError: the address cannot be used.
    """

    def __init__(self, url: str, records: TextRecords, name: str, token: str | None) -> None:
        parts = check_url(url, needs_https=token is None)
        if parts.scheme != "http" or parts.port is None or parts.path not in ("", "/"):
            raise InvalidParameter("url", f"Write the address to listen at as http://HOST:PORT, not '{url[:200]}'.")
        if token == "":
            raise InvalidParameter("token_env", "The environment variable of the token is empty.")
        self.name = name
        self._queue: queue.Queue[_PushedTexts] = queue.Queue(QUEUED_REQUESTS)
        self._unconfirmed: list[_PushedTexts] = []
        try:
            self._server = _PushServer((parts.hostname or "", parts.port), self._queue, records, token)
        except OSError as error:
            raise UserError(f"Could not listen at {url}: {error.strerror or error}.") from error
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True, name="monitor-push")
        self._thread.start()

    def read(self, position: Position | None, limit: int) -> SourceBatch:
        """Return the texts of waiting requests. A request is never divided, so there may be more than `limit`."""
        with suppress(queue.Empty):
            while sum(len(request.texts) for request in self._unconfirmed) < limit:
                self._unconfirmed.append(self._queue.get_nowait())
        texts = tuple(text for request in self._unconfirmed for text in request.texts)
        return SourceBatch(texts, dict(position or {}), has_more=not self._queue.empty())

    def confirm(self, position: Position) -> None:  # noqa: ARG002
        """Answer the requests whose texts were read."""
        for request in self._unconfirmed:
            request.is_stored.set()
        self._unconfirmed.clear()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


class _PushServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(
        self,
        address: tuple[str, int],
        requests: "queue.Queue[_PushedTexts]",
        records: TextRecords,
        token: str | None,
    ) -> None:
        self.requests, self.records, self.token = requests, records, token
        self._free_connections = threading.BoundedSemaphore(MAX_CONNECTIONS)
        super().__init__(address, _PushHandler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Handle a connection in a thread, or close it if there are too many."""
        if not self._free_connections.acquire(blocking=False):
            return self.shutdown_request(request)
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread was started
            self._free_connections.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Handle a connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free_connections.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log nothing: the traceback would have the client's address. A client without an answer sends again."""


class _PushHandler(BaseHTTPRequestHandler):
    server: _PushServer
    timeout = REQUEST_SECONDS
    server_version, sys_version = "turnwise", ""

    def handle(self) -> None:
        """Handle one request, received within the time limit: that of the socket starts again with every byte."""
        self._deadline = threading.Timer(REQUEST_SECONDS, self._abort)
        self._deadline.daemon = True
        self._deadline.start()
        try:
            super().handle()
        finally:
            self._deadline.cancel()

    def do_POST(self) -> None:
        token = self.server.token
        given_token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token is not None and not hmac.compare_digest(given_token.encode(), token.encode()):
            return self._answer(401, "The token is missing or wrong.")
        if token is None and not is_loopback(_host_name(self.headers.get("Host", ""))):
            return self._answer(403, "The Host must be this machine.")  # a web page whose name leads to this machine
        if self.path != ROUTE:
            return self._answer(404, f"Post to {ROUTE}.")
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdecimal()):
            return self._answer(411, "The request needs a Content-Length.")
        if len(length) > MAX_LENGTH_DIGITS or int(length) > MAX_REQUEST_BYTES:
            return self._answer(413, f"At most {MAX_REQUEST_BYTES:,} bytes are read.")
        if self.headers.get_content_type() != "application/json":  # a web page cannot send it without permission
            return self._answer(415, "The Content-Type must be application/json.")
        body = self.rfile.read(int(length))
        self._deadline.cancel()
        try:
            texts = self._parse(body)
        except TurnwiseError as error:
            return self._answer(400, str(error))
        request = _PushedTexts(texts)
        try:
            self.server.requests.put_nowait(request)
        except queue.Full:
            return self._answer(503, "Too many requests are waiting. Send it again later.")
        if not request.is_stored.wait(STORE_SECONDS):
            return self._answer(503, "The texts are not stored yet. Send them again with the same ids.")
        return self._answer(200, None, {"accepted": len(texts)})

    def _abort(self) -> None:
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""

    def _parse(self, body: bytes) -> list[StreamText]:
        """The texts of a request. Raises `UserError`."""
        values = parse_json(body, "The request")
        items = values.get("texts") if isinstance(values, dict) else None
        if not isinstance(items, list) or not 0 < len(items) <= MAX_TEXTS:
            raise InvalidParameter("texts", f"The request should be an object with 'texts': 1 to {MAX_TEXTS} objects.")
        texts = []
        for number, item in enumerate(items):
            text = self.server.records.parse_record(item, "")
            if text is None or not self.server.records.has_id(item):
                raise InvalidParameter(
                    "texts", f"texts[{number}] needs a 'text' and an 'id', and a valid 'time' if any."
                )
            texts.append(text)
        return texts

    def _answer(self, status: int, message: str | None, values: dict[str, Any] | None = None) -> None:
        body = json.dumps({"error": {"message": message}} if message else values).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)


def _host_name(host: str) -> str:
    """The name or address in a Host header; empty if it is invalid."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
