"""Signs and sends webhooks as the Standard Webhooks specification says (standardwebhooks.com).

The signature is `v1,` and the base64 of HMAC-SHA256 over "ID.TIMESTAMP.BODY". A secret is `whsec_` and base64. Several
secrets, separated by white space, give several signatures, so that a secret can be replaced without a pause.
"""

import base64
import binascii
import hashlib
import hmac
import os
from dataclasses import dataclass

from turnwise.app.monitor.http_client import check_url, describe_failure, send_request, short_url
from turnwise.core.errors import InvalidParameter
from turnwise.core.webhook_deliveries import WebhookEvent

SECRET_PREFIX = "whsec_"  # noqa: S105
MIN_SECRET_BYTES, MAX_SECRET_BYTES = 24, 64  # of the specification
REQUEST_SECONDS = 20.0  # the specification says 15 to 30
MAX_RESPONSE_BYTES = 4096
GONE = 410


@dataclass(frozen=True, slots=True)
class Webhook:
    """A receiver of events.

    Attributes:
        url: https, or http to this machine.
        keys: keys that sign, at least one.
    """

    url: str
    keys: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class SendResult:
    """Result of one attempt.

    Attributes:
        is_delivered: the receiver answered with a status from 200 to 299.
        is_gone: the receiver answered 410: it wants no more events.
        error: reason of a failure.
        retry_after: seconds that the receiver asks to wait; None if it says nothing.
        is_timeout: the receiver did not answer in time.
    """

    is_delivered: bool
    is_gone: bool = False
    error: str = ""
    retry_after: float | None = None
    is_timeout: bool = False


def make_webhook(url: str, secrets: str) -> Webhook:
    """A receiver.

    Args:
        url: its URL.
        secrets: one or more secrets, separated by white space.

    Raises:
        InvalidParameter: the URL or a secret is invalid. The message does not repeat the secret.
    """
    check_url(url, needs_https=True)
    if not secrets.split():
        raise InvalidParameter(
            "secret", f"The webhook {short_url(url)} has no secret. Create one with `turnwise monitor secret`."
        )
    return Webhook(url, tuple(map(_decode_secret, secrets.split())))


def create_secret() -> str:
    """A random secret."""
    return SECRET_PREFIX + base64.b64encode(os.urandom(32)).decode()


def signature(key: bytes, id: str, timestamp: int, body: bytes) -> str:
    """The signature of one key, as in the header `webhook-signature`.

    Args:
        key: the decoded secret.
        id: id of the event.
        timestamp: Unix time of the attempt in seconds.
        body: content of the request.
    """
    digest = hmac.new(key, f"{id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def send_event(webhook: Webhook, event: WebhookEvent, now: float) -> SendResult:
    """Send an event once. Redirects are failures: a signed event goes to no other address.

    Args:
        webhook: the receiver.
        event: the event.
        now: Unix time in seconds.
    """
    body, timestamp = event.body.encode(), int(now)
    headers = {
        "Content-Type": "application/json",
        "webhook-id": event.id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signature(key, event.id, timestamp, body) for key in webhook.keys),
    }
    try:
        response = send_request(
            "POST", webhook.url, headers, body, max_bytes=MAX_RESPONSE_BYTES, seconds=REQUEST_SECONDS
        )
    except OSError as error:
        return SendResult(False, error=describe_failure(error), is_timeout=isinstance(error, TimeoutError))
    if 200 <= response.status < 300:
        return SendResult(True)
    seconds = response.headers.get("retry-after", "")
    return SendResult(
        False,
        response.status == GONE,
        f"status {response.status}" + (", a redirect" if 300 <= response.status < 400 else ""),
        float(seconds) if seconds.isascii() and seconds.isdigit() else None,
    )


def _decode_secret(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(SECRET_PREFIX) or not MIN_SECRET_BYTES <= len(key) <= MAX_SECRET_BYTES:
        raise InvalidParameter(
            "secret",
            f"A webhook secret is '{SECRET_PREFIX}' and the base64 of {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} bytes. "
            "Create one with `turnwise monitor secret`.",
        )
    return key
