"""Webhooks: signatures of the specification, retries for a day, dead letters, and a sender that is killed."""

import base64
import hashlib
import hmac
import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnwise.app.monitor import http_client, webhooks
from turnwise.app.monitor.outbox_sender import GIVE_UP_SECONDS, OutboxSender, after_attempt
from turnwise.app.monitor.webhooks import SendResult, create_secret, make_webhook, send_event, signature
from turnwise.core.errors import InvalidParameter, SaveFailed
from turnwise.core.monitor_store import LONGEST_RETRY_SECONDS, Delivery, MonitorBatch, WebhookEvent
from turnwise.store import open_monitor_store

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


def key_of(secret):
    return base64.b64decode(secret.removeprefix("whsec_"))


def test_the_signature_is_that_of_the_specification():
    body = b'{"test": 2432232314}'
    expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert signature(key_of(SECRET), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body) == expected


@given(st.binary(min_size=24, max_size=64), st.text("abc_0", min_size=1), st.integers(0, 2**33), st.binary())
def test_a_signature_is_the_hmac_of_id_time_and_body(key, id, timestamp, body):
    version, _, digest = signature(key, id, timestamp, body).partition(",")
    assert version == "v1"
    content = b".".join([id.encode(), str(timestamp).encode(), body])
    assert base64.b64decode(digest) == hmac.new(key, content, hashlib.sha256).digest()


def test_an_event_is_sent_with_its_id_time_and_one_signature_per_secret():
    second = create_secret()
    with serve() as server:
        assert send_event(make_webhook(server.url, f"{SECRET} {second}"), event(server.url), NOW + 0.9).is_delivered
        ((headers, body),) = server.received
    names = {name.lower(): value for name, value in headers.items()}
    assert names["content-type"] == "application/json"
    assert names["webhook-id"] == "alert_opened"
    assert names["webhook-timestamp"] == str(int(NOW))
    assert names["webhook-signature"].split() == [
        signature(key_of(secret), "alert_opened", int(NOW), body) for secret in (SECRET, second)
    ]
    assert json.loads(body)["text"] == "é"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, "status 400"),
        (500, "status 500"),
        (302, "status 302, a redirect"),
        (None, "the server broke the protocol"),
    ],
)
def test_other_answers_are_failures_and_redirects_are_not_followed(status, error):
    with serve(statuses=[status]) as server:
        result = send_event(make_webhook(server.url, SECRET), event(server.url), NOW)
        assert len(server.received) == 1
    assert not result.is_delivered
    assert result.error.startswith(error)


def test_a_receiver_that_cannot_be_reached_is_a_failure():
    with serve() as server:
        url = server.url
    assert send_event(make_webhook(url, SECRET), event(url), NOW).error == "Connection refused"


def test_an_answer_that_trickles_ends_at_the_time_limit(monkeypatch):
    class Trickle(Receiver):
        def do_POST(self):
            self.send_response(200)
            self.send_header("Content-Length", "100000")
            self.end_headers()
            for _ in range(1000):
                if self.server.is_over.wait(0.02):
                    return
                try:
                    self.wfile.write(b"x")
                except OSError:
                    return

    monkeypatch.setattr(webhooks, "REQUEST_SECONDS", 0.3)
    monkeypatch.setattr(webhooks, "MAX_RESPONSE_BYTES", 90_000)
    with serve(Trickle) as server:
        server.is_over = threading.Event()
        assert send_event(make_webhook(server.url, SECRET), event(server.url), NOW).error == "no answer in time"
        server.is_over.set()


@pytest.mark.parametrize(
    ("url", "secret", "message"),
    [
        ("http://example.com/hook", SECRET, "not encrypted: use https"),
        ("ftp://example.com", SECRET, "not an http or https URL"),
        ("https://user:pass@example.com", SECRET, "user name or password"),
        ("https://example.com:99999/", SECRET, "not a URL"),
        ("https://example.com/a b", SECRET, "white space"),
        ("https://", SECRET, "not an http or https URL"),
        ("https://example.com", "", "has no secret"),
        ("https://example.com", "whsec_c2hvcnQ=", "base64 of 24 to 64 bytes"),
        ("https://example.com", SECRET.removeprefix("whsec_"), "A webhook secret is 'whsec_'"),
    ],
)
def test_wrong_receivers_are_rejected_without_repeating_the_secret(url, secret, message):
    with pytest.raises(InvalidParameter, match=message) as error:
        make_webhook(url, secret)
    assert not secret or secret not in str(error.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://a.example/services/T0/B0/SECRET", "ftp://a.example/?key=SECRET", "https://SECRET@a.example/x",
        "https://a.example:x/?SECRET", "https://a.example/ #SECRET", "https:///services/SECRET",
    ],
)  # fmt: skip
def test_messages_do_not_repeat_the_secrets_of_a_url(url):
    with pytest.raises(InvalidParameter) as error:
        make_webhook(url, SECRET)
    assert "SECRET" not in str(error.value)


@pytest.mark.parametrize("url", ["http://localhost:1/x", "http://127.0.0.1", "http://[::1]:80/", "https://example.com"])
def test_http_is_allowed_to_this_machine(url):
    assert make_webhook(url, SECRET).url == url
    assert http_client.check_url(url, needs_https=True).hostname


def delivery(**values):
    return Delivery(1, event("https://example.com"), **{
        "state": "pending", "attempts": 0, "first_attempt": None, "next_attempt": NOW, "error": "", **values
    })  # fmt: skip


@given(st.lists(st.floats(0, 1), min_size=60, max_size=60))
def test_an_event_is_retried_for_a_day_at_growing_pauses_and_then_given_up(jitters):
    now, current, pauses = NOW, delivery(), []
    for jitter in jitters:
        current = after_attempt(current, SendResult(False, error="status 500"), now, jitter)
        if current.state == "dead":
            break
        pauses.append(current.next_attempt - now)
        now = current.next_attempt
    assert current.state == "dead"
    assert now - NOW >= GIVE_UP_SECONDS, "the last attempt is a day after the first one"
    assert now - NOW <= GIVE_UP_SECONDS + LONGEST_RETRY_SECONDS
    for number, pause in enumerate(pauses):
        full = min(5 * 2**number, LONGEST_RETRY_SECONDS)
        assert full / 2 <= pause <= full


def test_the_receiver_can_ask_to_wait_or_to_send_no_more():
    waiting = after_attempt(delivery(), SendResult(False, retry_after=77.0, error="status 503"), NOW, 0.0)
    assert (waiting.state, waiting.next_attempt) == ("pending", NOW + 77)
    assert after_attempt(delivery(), SendResult(False, is_gone=True, error="status 410"), NOW, 0.0).state == "dead"


@pytest.fixture
def store(tmp_path):
    opened = open_monitor_store("sqlite:///:memory:")
    yield opened
    opened.close()


def test_every_event_is_delivered_in_the_end_and_dead_letters_can_be_sent_again(store):
    clock = [NOW]
    with serve(statuses=[500, 503, 410]) as server:
        sender = OutboxSender(store, [make_webhook(server.url, SECRET)], clock=lambda: clock[0], jitter=lambda: 0.0)
        store.commit(MonitorBatch(events=[event(server.url)]))
        store.commit(MonitorBatch(events=[event(server.url)]))  # the same event again
        assert sender.send_due() == 1
        assert sender.send_due() == 0, "the retry is not due"
        clock[0] += 5
        assert sender.send_due() == 1
        (waiting,) = store.deliveries("pending")
        assert (waiting.attempts, waiting.error, waiting.next_attempt) == (2, "status 503", clock[0] + 77)
        clock[0] += 77
        sender.send_due()
        assert [dead.error for dead in store.deliveries("dead")] == ["status 410"]
        assert store.resend("another", clock[0]) == 0
        assert store.resend("alert_opened", clock[0]) == 1
        sender.send_due()
        assert [delivered.attempts for delivered in store.deliveries("delivered")] == [1]
        assert {headers["webhook-id"] for headers, _ in server.received} == {"alert_opened"}


DEAD, HEALTHY = "https://dead.example", "https://healthy.example"


def slow_sender(store, sent, clock):
    """A sender to a receiver that does not answer within 20 seconds, and to another one."""

    def send(webhook, event, now):
        sent.append((event.id, now - NOW))
        if webhook.url == HEALTHY:
            return SendResult(True)
        clock[0] += 20
        return SendResult(False, error="no answer in time", is_timeout=True)

    receivers = [make_webhook(url, SECRET) for url in (DEAD, HEALTHY)]
    return OutboxSender(store, receivers, send=send, clock=lambda: clock[0], jitter=lambda: 0.0)


def test_a_receiver_that_does_not_answer_delays_others_by_one_attempt(store):
    clock, sent = [NOW], []
    store.commit(MonitorBatch(events=[event(DEAD, f"e{number:02}") for number in range(30)]))
    store.commit(MonitorBatch(events=[event(HEALTHY, "good")]))
    sender = slow_sender(store, sent, clock)
    while sender.send_due():
        pass
    assert sent == [("e00", 0.0), ("good", 20.0)]
    clock[0] += 60
    assert sender.send_due() == 1
    assert [id for id, _ in sent] == ["e00", "good", "e00"]
    clock[0] = NOW + 10  # the clock is set back: the pause is over
    assert sender.send_due() == 1


def test_the_pause_begins_at_the_end_of_the_attempt(store):
    clock = [NOW]
    store.commit(MonitorBatch(events=[event(DEAD)]))
    slow_sender(store, [], clock).send_due()
    (waiting,) = store.deliveries("pending")
    assert waiting.next_attempt == NOW + 20 + 5


def test_pending_events_are_sent_once_at_the_end_of_a_program_until_it_is_stopped(store):
    clock, sent = [NOW], []
    store.commit(MonitorBatch(events=[event(HEALTHY, f"e{number:02}") for number in range(30)]))
    sender = slow_sender(store, sent, clock)
    sender.send_pending(lambda: len(sent) == 3)
    assert len(sent) == 3
    store.commit(MonitorBatch(events=[event(DEAD, f"d{number}") for number in range(3)]))
    sender.stop()
    sender.send_pending()
    assert len(sent) == 31, "27 events, and one that is not answered"


def test_an_event_is_not_sent_again_while_its_result_cannot_be_stored(store, monkeypatch):
    clock, sent = [NOW], []
    store.commit(MonitorBatch(events=[event(HEALTHY)]))
    sender = slow_sender(store, sent, clock)
    with monkeypatch.context() as patch:
        patch.setattr(store, "update_delivery", Mock(side_effect=SaveFailed("The disk is full.")))
        for _ in range(3):
            with pytest.raises(SaveFailed):
                sender.send_due()
    sender.send_due()
    assert len(sent) == 1
    assert [delivered.attempts for delivered in store.deliveries("delivered")] == [1]


def test_an_event_that_was_added_while_the_clock_was_wrong_is_due(store):
    store.commit(MonitorBatch(events=[WebhookEvent("wrong", HEALTHY, "{}", NOW + 1e6)]))
    store.commit(MonitorBatch(events=[WebhookEvent("later", HEALTHY, "{}", NOW + LONGEST_RETRY_SECONDS)]))
    assert [delivery.event.id for delivery in store.due_deliveries(NOW, 9)] == ["wrong"]
    assert store.due_deliveries(NOW, 9, skipped_urls=[DEAD, HEALTHY]) == []


def test_an_event_to_a_receiver_that_is_not_configured_waits(store):
    store.commit(MonitorBatch(events=[event("https://gone.example.com")]))
    OutboxSender(store, [], clock=lambda: NOW).send_due()
    assert [pending.error for pending in store.deliveries("pending")] == ["this receiver is not configured"]


def test_the_thread_sends_until_it_is_stopped(store):
    with serve() as server:
        store.commit(MonitorBatch(events=[event(server.url, f"e{n}") for n in range(5)]))
        sender = OutboxSender(store, [make_webhook(server.url, SECRET)])
        sender.start()
        while store.deliveries("pending"):
            pass
        sender.stop()
        assert [headers["webhook-id"] for headers, _ in server.received] == [f"e{n}" for n in range(5)]


SENDER = """
import sys
from turnwise.app.monitor.outbox_sender import OutboxSender
from turnwise.app.monitor.webhooks import make_webhook
from turnwise.store import open_monitor_store

store = open_monitor_store(sys.argv[1])
sender = OutboxSender(store, [make_webhook(sys.argv[2], sys.argv[3])])
while sender.send_due():
    pass
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_sender_that_is_killed_loses_no_event(tmp_path):
    url = f"sqlite:///{tmp_path / 'monitor.db'}"
    ids = [f"e{number}" for number in range(12)]

    class Killer(Receiver):
        def do_POST(self):
            super().do_POST()
            if len(self.server.received) in (3, 8):  # accepted, and not marked as delivered yet
                self.server.child.send_signal(signal.SIGKILL)

    with serve(Killer) as server:
        store = open_monitor_store(url)
        store.commit(MonitorBatch(events=[event(server.url, id) for id in ids]))
        codes = []
        for _ in range(3):
            server.child = subprocess.Popen([sys.executable, "-c", SENDER, url, server.url, SECRET])
            codes.append(server.child.wait())
        assert codes == [-signal.SIGKILL, -signal.SIGKILL, 0]
        assert [delivered.event.id for delivered in store.deliveries("delivered")] == ids
        store.close()
        received = [headers["webhook-id"] for headers, _ in server.received]
    assert set(received) == set(ids)
    assert len(ids) <= len(received) <= len(ids) + 2, "only the event of the kill is repeated, with the same id"
