"""Delivers the stored events: at least once each, with retries for a day."""

import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from turnwise.app.monitor.webhooks import SendResult, Webhook, send_event
from turnwise.core.errors import TurnwiseError
from turnwise.core.monitor_store import Delivery, MonitorStore, WebhookEvent

FIRST_RETRY_SECONDS = 5.0
LONGEST_RETRY_SECONDS = 3 * 3600.0
GIVE_UP_SECONDS = 24 * 3600.0  # from the first attempt; the last attempt is made after this time
DELIVERIES_PER_PASS = 20
POLL_SECONDS = 1.0

Send = Callable[[Webhook, WebhookEvent, float], SendResult]


class OutboxSender:
    """Sends due events and stores the result of every attempt.

    An event is marked as delivered after the receiver accepted it. A program that is killed between the two sends the
    event again, with the same id. Events to a receiver that is no longer configured wait until it is, or give up.

    Args:
        store: the store.
        webhooks: the receivers.
        send: sends an event once.
        clock: returns Unix seconds.
        jitter: returns a number from 0 to 1 that spreads the retries.
    """

    def __init__(
        self,
        store: MonitorStore,
        webhooks: Sequence[Webhook],
        *,
        send: Send = send_event,
        clock: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._store, self._send, self._clock, self._jitter = store, send, clock, jitter
        self._webhooks = {webhook.url: webhook for webhook in webhooks}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="monitor-outbox", daemon=True)

    def send_due(self) -> int:
        """Attempt every event that is due, once. Returns the number of attempts."""
        deliveries = self._store.due_deliveries(self._clock(), DELIVERIES_PER_PASS)
        for delivery in deliveries:
            if self._stopping.is_set():
                break
            self._store.update_delivery(self._attempt(delivery))
        return len(deliveries)

    def send_pending(self) -> None:
        """Attempt every event that is due until none is, for a program that is about to end."""
        self._stopping.clear()
        while self.send_due():
            pass

    def start(self) -> None:
        """Send in a thread until `stop`."""
        self._thread.start()

    def stop(self) -> None:
        """Let the attempt that is under way end, and stop."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _attempt(self, delivery: Delivery) -> Delivery:
        webhook = self._webhooks.get(delivery.event.url)
        now = self._clock()
        if webhook is None:
            result = SendResult(False, error="this receiver is not configured")
        else:
            result = self._send(webhook, delivery.event, now)
        return after_attempt(delivery, result, now, self._jitter())

    def _run(self) -> None:
        while not self._stopping.is_set():
            num_attempts = 0
            with suppress(TurnwiseError):  # the store is busy or full: the attempt is made again
                num_attempts = self.send_due()
            if not num_attempts:
                self._stopping.wait(POLL_SECONDS)


def after_attempt(delivery: Delivery, result: SendResult, now: float, jitter: float) -> Delivery:
    """The delivery after an attempt.

    The pause doubles from 5 seconds to 3 hours; up to a half of it is taken off at random ("equal jitter").

    Args:
        delivery: before the attempt.
        result: of the attempt.
        now: Unix time of the attempt in seconds.
        jitter: a number from 0 to 1.
    """
    first = now if delivery.first_attempt is None else delivery.first_attempt
    attempted = replace(delivery, attempts=delivery.attempts + 1, first_attempt=first, error=result.error)
    if result.is_delivered:
        return replace(attempted, state="delivered")
    if result.is_gone or now - first >= GIVE_UP_SECONDS:
        return replace(attempted, state="dead")
    pause = min(FIRST_RETRY_SECONDS * 2.0 ** min(delivery.attempts, 30), LONGEST_RETRY_SECONDS)
    pause *= 1 - jitter / 2
    if result.retry_after is not None:
        pause = max(pause, min(result.retry_after, LONGEST_RETRY_SECONDS))
    return replace(attempted, next_attempt=now + pause)
