"""A local HTTP server that receives webhooks, and events to send to it."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from turnwise.core.webhook_deliveries import WebhookEvent

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NOW = 1_700_000_000.0


class Receiver(BaseHTTPRequestHandler):
    """Answers with `server.statuses` in turn, then with 204; keeps what it gets in `server.received`."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((dict(self.headers.items()), body))
        status = self.server.statuses.pop(0) if self.server.statuses else 204
        if status is None:  # the connection breaks before the answer
            return
        self.send_response(status)
        if status == 302:
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/elsewhere")
        if status == 503:
            self.send_header("Retry-After", "77")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@contextmanager
def serve(handler=Receiver, statuses=()):
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads, server.block_on_close = True, False
    server.statuses, server.received = list(statuses), []
    server.url = f"http://127.0.0.1:{server.server_port}/hook?a=b"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def event(url, id="alert_opened"):
    return WebhookEvent(id, url, json.dumps({"type": "surge.opened", "text": "é"}, ensure_ascii=False), NOW)
