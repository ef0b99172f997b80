"""Delivery of events: retries for a day, dead letters, pauses of receivers, and a sender that is killed."""

import os
import signal
import subprocess
import sys
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from webhook_receiver import NOW, SECRET, Receiver, event, serve

from turnwise.app.monitor.outbox_sender import GIVE_UP_SECONDS, OutboxSender, after_attempt
from turnwise.app.monitor.webhooks import SendResult, make_webhook
from turnwise.core.errors import SaveFailed
from turnwise.core.monitor_batch import MonitorBatch
from turnwise.core.webhook_deliveries import LONGEST_RETRY_SECONDS, Delivery, WebhookEvent
from turnwise.store import open_monitor_store


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
