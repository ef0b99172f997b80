"""The store of the text monitor: a batch is stored as a whole, and a file of an older version is migrated."""

import sqlite3
from dataclasses import replace

import pytest

from turnwise.core.errors import SaveFailed
from turnwise.core.monitor_batch import MonitorBatch, RetentionLimits
from turnwise.core.monitor_records import MonitoredText, SurgeAlert, TopicCount
from turnwise.core.stream_texts import StreamText
from turnwise.core.webhook_deliveries import WebhookEvent
from turnwise.store import open_monitor_store, open_store
from turnwise.store.sqlite import migrations

ALERT = SurgeAlert("a1", "Acme", "volume", 60, 120, None, 1.5, 9.0, 7.5, "Many texts.")


def batch(number=0):
    return MonitorBatch(
        texts=[
            MonitoredText(number, StreamText(f"id{number}", "héllo", 61.5, "s"), ("Acme", "B"), "bearish", True, None)
        ],
        counts=[TopicCount("Acme", 60, 1, 1, 1)],
        positions={"s": {"offset": number + 1}},
        states={"stream": {"next_number": number + 1}},
        figures={"texts": number + 1},
        opened=[ALERT],
        alert_texts={"a1": [number]},
        events=[WebhookEvent("a1_opened", "https://example.com", "{}", 5.0)],
    )


def everything(store):
    return (
        store.texts_from(0), store.counts(None, 0), store.positions(), store.states(), store.figures(), store.alerts(9),
        store.alert_texts("a1"), store.deliveries("pending"), store.topics(), store.stored_ids(["id0", "id1"]),
    )  # fmt: skip


@pytest.fixture
def store(tmp_path):
    opened = open_monitor_store(f"sqlite:///{tmp_path / 'monitor.db'}")
    yield opened
    opened.close()


def test_a_batch_is_returned_as_it_was_stored(store, tmp_path):
    store.commit(batch())
    before = everything(store)
    texts, counts, positions, states, figures, alerts, alert_texts, deliveries, topics, ids = before
    assert texts == alert_texts == batch().texts
    assert counts == batch().counts
    assert (positions, states, figures) == ({"s": {"offset": 1}}, {"stream": {"next_number": 1}}, {"texts": 1})
    assert alerts == [ALERT]
    assert [delivery.event for delivery in deliveries] == batch().events
    assert topics == ["Acme"]
    assert ids == {"id0"}
    store.close()
    reopened = open_monitor_store(f"sqlite:///{tmp_path / 'monitor.db'}")
    assert everything(reopened) == before
    reopened.close()


def test_a_batch_that_fails_at_its_end_changes_nothing(store):
    store.commit(batch())
    before = everything(store)
    failing = batch(1)
    failing.events = [WebhookEvent("a1_closed", "https://example.com", None, 5.0)]
    with pytest.raises(SaveFailed, match=r"NOT NULL .*Nothing was changed"):
        store.commit(failing)
    assert everything(store) == before


def test_an_alert_or_event_that_is_stored_again_stays_as_it_was(store):
    store.commit(batch())
    store.commit(MonitorBatch(closed={"a1": 300}))
    again = WebhookEvent("a1_opened", "https://example.com", "[]", 9.0)
    store.commit(MonitorBatch(opened=[ALERT], closed={"a1": 900}, events=[again]))
    assert [alert.closed for alert in store.alerts(9)] == [300]
    assert [delivery.event.body for delivery in store.deliveries("pending")] == ["{}"]


def test_old_events_are_deleted_when_they_are_delivered(store):
    events = [WebhookEvent(id, "https://example.com", "{}", created) for id, created in (("a", 1.0), ("b", 2.0))]
    store.commit(MonitorBatch(events=[*events, WebhookEvent("c", "https://example.com", "{}", 900.0)]))
    for delivery in store.deliveries("pending"):
        if delivery.event.id != "b":
            store.update_delivery(replace(delivery, state="delivered"))
    store.commit(MonitorBatch(retention=RetentionLimits(texts=0.0, ids=500.0, counts=0.0, first_number=0)))
    assert [delivery.event.id for delivery in store.deliveries("delivered")] == ["c"]
    assert [delivery.event.id for delivery in store.deliveries("pending")] == ["b"]


def test_states_can_be_deleted(store):
    store.commit(MonitorBatch(states={"a": {}, "b": {}}))
    store.commit(MonitorBatch(deleted_states=["a", "c"]))
    assert store.states() == {"b": {}}


def test_a_file_of_the_version_before_is_migrated(tmp_path, monkeypatch):
    path = tmp_path / "chats.db"
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "STEPS", migrations.STEPS[:6])
        with sqlite3.connect(path, isolation_level=None) as connection:
            migrations.migrate(connection, "here")
        connection.close()
    conversations = open_store(f"sqlite:///{path}")
    assert conversations.list() == []
    conversations.close()
    store = open_monitor_store(f"sqlite:///{path}")
    store.commit(batch())
    assert store.figures() == {"texts": 1}
    store.close()
