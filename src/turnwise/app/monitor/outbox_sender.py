"""Delivers the stored events: at least once each, with retries for a day."""

import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from turnwise.app.monitor.webhooks import SendResult, Webhook, send_event
from turnwise.core.errors import TurnwiseError
from turnwise.core.monitor_store import MonitorStore
from turnwise.core.webhook_deliveries import LONGEST_RETRY_SECONDS, Delivery, WebhookEvent

FIRST_RETRY_SECONDS = 5.0
RECEIVER_PAUSE_SECONDS = (
    60.0  # after a time-out nothing is sent to the receiver for so long, so that others need not wait
)
GIVE_UP_SECONDS = 24 * 3600.0  # from the first attempt; the last attempt is made after this time
DELIVERIES_PER_PASS = 20
UNLIMITED = 2**62
POLL_SECONDS = 1.0

Send = Callable[[Webhook, WebhookEvent, float], SendResult]


class OutboxSender:
    """Sends due events and stores the result of every attempt.

    An event is marked as delivered after the receiver accepted it. A program that is killed between the two sends the
    event again, with the same id. While the store cannot be written, results are kept in memory, so that no event is
    sent again meanwhile. Events to a receiver that is no longer configured wait until it is, or give up.

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
        self._store, self._send_event, self._clock, self._jitter = store, send, clock, jitter
        self._webhooks = {webhook.url: webhook for webhook in webhooks}
        self._paused_until: dict[str, float] = {}  # Unix times, by URL
        self._unsaved: dict[int, Delivery] = {}  # results by number of the delivery
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="monitor-outbox", daemon=True)

    def send_due(self) -> int:
        """Attempt up to `DELIVERIES_PER_PASS` events that are due, each once. Returns the number of attempts.

        Raises:
            Unavailable: the store is busy. SaveFailed: it cannot be written. The next call saves the results.
        """
        return self._send(DELIVERIES_PER_PASS, self._stopping.is_set)

    def send_pending(self, is_stopped: Callable[[], bool] = lambda: False) -> None:
        """Attempt every event that is due once, for a program that is about to end, until `is_stopped` returns True."""
        self._send(UNLIMITED, is_stopped)

    def start(self) -> None:
        """Send in a thread until `stop`."""
        self._thread.start()

    def stop(self) -> None:
        """Let the attempt that is under way end, and stop."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _send(self, limit: int, is_stopped: Callable[[], bool]) -> int:
        self._save()
        num_attempts = 0
        for delivery in self._store.due_deliveries(self._clock(), limit, skipped_urls=self._paused_urls()):
            if is_stopped():
                break
            if delivery.event.url in self._paused_until:  # since this pass
                continue
            self._unsaved[delivery.number] = self._attempt(delivery)
            num_attempts += 1
            self._save()
        return num_attempts

    def _save(self) -> None:
        for number in list(self._unsaved):
            self._store.update_delivery(self._unsaved[number])
            del self._unsaved[number]

    def _paused_urls(self) -> list[str]:
        now = self._clock()
        for url, end in list(self._paused_until.items()):
            if not now < end <= now + RECEIVER_PAUSE_SECONDS:  # it is over, or the clock was set back
                del self._paused_until[url]
        return list(self._paused_until)

    def _attempt(self, delivery: Delivery) -> Delivery:
        """The delivery after an attempt. Its pause begins at the end of the attempt, which can take 20 seconds."""
        url = delivery.event.url
        webhook = self._webhooks.get(url)
        if webhook is None:
            result = SendResult(False, error="this receiver is not configured")
        else:
            result = self._send_event(webhook, delivery.event, self._clock())
        now = self._clock()
        if result.is_timeout:
            self._paused_until[url] = now + RECEIVER_PAUSE_SECONDS
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
        now: Unix time at the end of the attempt in seconds.
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
