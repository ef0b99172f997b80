"""Webhook requests: signatures of the specification, failures, and URLs and secrets that are rejected."""

import base64
import hashlib
import hmac
import json
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from webhook_receiver import NOW, SECRET, Receiver, event, serve

from turnwise.app.monitor import http_client, webhooks
from turnwise.app.monitor.webhooks import create_secret, make_webhook, send_event, signature
from turnwise.core.errors import InvalidParameter


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
