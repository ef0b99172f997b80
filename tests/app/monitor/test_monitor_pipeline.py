"""The pipeline: what is counted, when alerts open and close, and that batches and restarts change nothing."""

import json
from itertools import pairwise
from unittest.mock import Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor_stand_ins import DETECTION, START, TOPICS, WINDOW, WordClassifier, random_stream, tables, text
from turnwise.app.monitor.pipeline import MonitorPipeline
from turnwise.app.monitor.pipeline_settings import PipelineSettings
from turnwise.app.monitor.sentiment import SentimentLabeller
from turnwise.app.monitor.sources.text_records import TextRecords
from turnwise.app.monitor.window_counter import WindowSettings
from turnwise.core.errors import SaveFailed, UserError
from turnwise.store import open_monitor_store

SETTINGS = PipelineSettings(WindowSettings(WINDOW, lateness_seconds=30.0), max_future_seconds=None, snapshot_texts=40)
URL = "https://example.com/hook"


def open_pipeline(store, labeller=None, **values):
    return MonitorPipeline(
        store, DETECTION, TOPICS, labeller or SentimentLabeller(WordClassifier()), values.pop("settings", SETTINGS),
        values.pop("urls", [URL]), clock=values.pop("clock", lambda: START), **values,
    )  # fmt: skip


@pytest.fixture
def store():
    opened = open_monitor_store("sqlite:///:memory:")
    yield opened
    opened.close()


def counts(store, topic):
    return {count.start - START: (count.texts, count.count, count.negative) for count in store.counts(topic, 0)}


def test_texts_are_counted_by_topic_and_window(store):
    pipeline = open_pipeline(store)
    pipeline.process([text(0), text(59, "Acme: sell"), text(60, "acme and GBX"), text(61, "weather")])
    assert counts(store, "Acme") == {0: (2, 2, 1), 60: (1, 1, 0)}
    assert counts(store, "Globex") == {60: (1, 1, 0)}
    assert store.figures() == {"texts": 4, "without_topic": 1, "windows": 1}


def test_a_text_id_is_counted_once_within_a_batch_and_across_batches(store):
    pipeline = open_pipeline(store)
    pipeline.process([text(0, id="a"), text(0, "acme again", id="a")])
    pipeline.process([text(1, "acme once more", id="a")])
    assert counts(store, "Acme") == {0: (1, 1, 0)}
    assert store.figures()["duplicates"] == 2
    assert [entry.text.text for entry in store.texts_from(0)] == ["acme rises"]


def test_near_copies_are_stored_but_not_counted(store):
    open_pipeline(store).process([text(0), text(1, "other GBX"), text(2, "ACME rises")])
    assert counts(store, "Acme") == {0: (2, 1, 0)}
    assert [entry.copy_of for entry in store.texts_from(0)] == [None, None, 0]


def test_a_copy_is_counted_for_topics_that_its_original_was_not_counted_for(store):
    pipeline = open_pipeline(store)
    for number, topics in enumerate((("A",), ("B",), ("A", "B"), ("A", "C"), ("C",), ())):
        pipeline.process([text(number, "numbers today", topics=topics)])
        pipeline = open_pipeline(store)  # a restart
    assert counts(store, "A") == {0: (3, 1, 0)}
    assert counts(store, "B") == {0: (2, 1, 0)}
    assert counts(store, "C") == {0: (2, 1, 0)}
    assert store.figures()["copies"] == 3


def test_a_copy_of_a_late_text_is_counted(store):
    open_pipeline(store).process([text(200, "acme now"), text(0, "acme falls"), text(201, "acme falls")])
    assert counts(store, "Acme") == {180: (2, 2, 0)}


def test_the_detector_of_a_topic_that_is_forgotten_is_deleted_and_begins_anew(store):
    few = PipelineSettings(WindowSettings(WINDOW, 30.0, topic_seconds=120.0), None)
    pipeline = open_pipeline(store, settings=few)
    pipeline.process([text(0, "x", topics=("Name",)), text(95, "acme")])
    assert "detector:Name" in store.states()
    pipeline.process([text(300, "acme again")])
    assert "detector:Name" not in store.states()
    pipeline.process([text(301, "y", topics=("Name",)), text(400, "acme once more"), text(800, "acme later")])
    pipeline.process([text(1200, "z", topics=("Name",)), text(1300, "acme at last")])
    assert store.states()["detector:Name"]["last"] == START + 1200


def test_a_late_text_is_stored_and_counted_as_late(store):
    pipeline = open_pipeline(store)
    pipeline.process([text(0), text(95, "acme next"), text(10, "acme late"), text(65, "acme in time")])
    assert counts(store, "Acme") == {0: (1, 1, 0), 60: (2, 2, 0)}
    assert store.figures()["late"] == 1
    assert [entry.is_late for entry in store.texts_from(0)] == [False, False, True, False]


def test_a_text_from_the_future_is_not_counted_and_moves_no_window(store):
    pipeline = open_pipeline(store, settings=PipelineSettings(SETTINGS.windows, max_future_seconds=300.0))
    pipeline.process([text(0), text(301, "acme from the future"), text(300, "acme of a wrong clock")])
    pipeline.process([text(-29, "acme in time")])
    assert store.figures() == {"future": 1, "texts": 3}
    assert pipeline.source_times == {"test": START}


def test_given_labels_and_topics_take_precedence(store):
    classifier = WordClassifier()
    pipeline = open_pipeline(store, SentimentLabeller(classifier, ["Angry"]))
    pipeline.process([text(0, "x", sentiment="ANGRY", topics=("Weather", "Weather")), text(1, "acme sell")])
    assert classifier.num_texts == 1
    assert counts(store, "Weather") == {0: (1, 1, 1)}
    assert counts(store, "Acme") == {0: (1, 1, 0)}, "'bearish' is not a negative label here"


def surge(content="acme {}", number=5, at=0):
    return [text(at + index, content.format(index)) for index in range(number)]


def test_a_surge_opens_and_closes_one_alert_with_an_event_each(store):
    pipeline = open_pipeline(store)
    opened = pipeline.process([*surge(), text(6, "ACME 3"), text(95, "acme quiet")])
    (alert,) = opened.opened
    assert (alert.topic, alert.kind, alert.start, alert.opened, alert.closed) == (
        "Acme", "volume", START, START + 60, None
    )  # fmt: skip
    assert [entry.text.text for entry in store.alert_texts(alert.id)] == [*(f"acme {n}" for n in range(5)), "ACME 3"]
    closed = pipeline.process([text(155, "acme quiet too")])
    assert closed.closed == (alert.id,)
    assert store.alerts(10)[0].closed == START + 120
    events = [delivery.event for delivery in store.deliveries("pending")]
    assert [(event.id, event.url) for event in events] == [
        (f"{alert.id}_{phase}", URL) for phase in ("opened", "closed")
    ]
    body = json.loads(events[0].body)
    assert body["type"] == "surge.opened"
    assert body["data"]["alert_id"] == alert.id
    assert (body["data"]["texts"][0]["text"], body["data"]["texts"][0]["copies"]) == ("acme 3", 1)
    assert not {"id", "source"} & body["data"]["texts"][0].keys(), "they can hold addresses of the owner"
    assert "6 texts about Acme" in body["data"]["summary"]


def test_the_closing_adds_texts_after_the_opening_to_an_alert(store, monkeypatch):
    monkeypatch.setattr("turnwise.app.monitor.alert_recorder.MAX_ALERT_TEXTS", 5)
    pipeline = open_pipeline(store)
    (alert,) = pipeline.process([*surge(), text(61, "acme after"), text(155, "acme quiet")]).opened
    pipeline.process([text(300, "acme later")])
    assert "acme after" in [entry.text.text for entry in store.alert_texts(alert.id)]


def test_a_model_describes_a_few_alerts_of_a_batch(store):
    summaries = Mock(summary=Mock(return_value="from the model"))
    pipeline = open_pipeline(store, summaries=summaries)
    texts = [text(number, f"{number}", topics=tuple(map(str, range(6)))) for number in range(5)]
    opened = pipeline.process([*texts, text(95, "acme next")]).opened
    assert [alert.summary == "from the model" for alert in opened] == [True] * 3 + [False] * 3


def test_an_idle_monitor_writes_only_when_a_window_closes(store, monkeypatch):
    pipeline = open_pipeline(store)
    pipeline.process([text(0)])
    commit = Mock(side_effect=store.commit)
    monkeypatch.setattr(store, "commit", commit)
    for half_seconds in range(0, 200):
        pipeline.advance(START + half_seconds / 2)
    assert commit.call_count == 2, "the window before the text, and that of the text"


def test_an_alert_on_the_negative_share_has_the_negative_texts(store):
    pipeline = open_pipeline(store)
    result = pipeline.process([*surge("acme sell {}"), text(20, "acme buy"), text(95)])
    alert = next(alert for alert in result.opened if alert.kind == "negative_share")
    assert [entry.text.text for entry in store.alert_texts(alert.id)] == [f"acme sell {n}" for n in range(5)]


def test_a_batch_that_cannot_be_stored_leaves_nothing_and_can_be_repeated(store, monkeypatch):
    pipeline = open_pipeline(store)
    pipeline.process([text(0)], {"test": {"offset": 1}})
    before = tables(store)

    def fail(batch):
        raise SaveFailed("The disk is full.")

    with monkeypatch.context() as patch:
        patch.setattr(store, "commit", fail)
        with pytest.raises(SaveFailed):
            pipeline.process(surge(), {"test": {"offset": 2}})
    assert tables(store) == before
    assert pipeline.positions == {"test": {"offset": 1}}
    pipeline.process(surge(), {"test": {"offset": 2}})
    assert counts(store, "Acme") == {0: (6, 6, 0)}


def test_a_store_with_windows_of_another_length_is_rejected(store):
    open_pipeline(store).process([text(0)])
    other = DETECTION.__class__(30, DETECTION.make_window, DETECTION.open_detector, DETECTION.open_copy_index)
    with pytest.raises(UserError, match=r"windows of 60 seconds, the settings say 30\..*--db"):
        MonitorPipeline(store, other, TOPICS, SentimentLabeller(None))


def test_windows_wait_for_a_source_that_catches_up(store):
    pipeline = open_pipeline(store)
    pipeline.process([text(0), text(500, "acme live")], wait_for=START + 10)
    assert "windows" not in store.figures()
    pipeline.process([text(20, "acme behind")])
    pipeline.process([text(501, "acme next")])
    assert counts(store, "Acme")[0] == (2, 2, 0)


def test_old_records_are_deleted_but_for_the_texts_of_alerts(store):
    day = 86_400
    few = PipelineSettings(SETTINGS.windows, None, keep_texts_days=1, keep_ids_days=2, keep_counts_days=3)
    pipeline = open_pipeline(store, settings=few)
    pipeline.process([*surge(), text(10, "GBX old"), text(100, "acme quiet")])
    pipeline.process([text(1.5 * day, "acme day 1")])
    assert {entry.text.text for entry in store.texts_from(0)} == {
        *(f"acme {n}" for n in range(5)), "acme quiet", "acme day 1"
    }  # fmt: skip
    assert store.topic_texts("Globex", 0, 1e12, 10) == []
    assert store.stored_ids(["t10-GBX old"])
    pipeline.process([text(4 * day, "acme day 4")])
    assert store.stored_ids(["t10-GBX old"]) == set()
    assert min(count.start for count in store.counts(None, 0)) > START + day


def records_of(seed, number=150):
    records = TextRecords("test")
    return [records.parse_record(record, "") for record in random_stream(number, seed)]


def run(texts, cuts, *, reopen):
    """The stored tables after processing texts in batches that end at `cuts`; with a new pipeline for every batch."""
    store = open_monitor_store("sqlite:///:memory:")
    pipeline = open_pipeline(store)
    for start, end in pairwise([0, *cuts, len(texts)]):
        pipeline = open_pipeline(store) if reopen else pipeline
        pipeline.process(texts[start:end], {"test": {"number": end}})
    pipeline.finish()
    result = tables(store)
    store.close()
    return result


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), cuts=st.lists(st.integers(0, 150), max_size=6).map(sorted), reopen=st.booleans())
def test_batches_and_restarts_change_nothing(seed, cuts, reopen):
    texts = records_of(seed)
    assert run(texts, cuts, reopen=reopen) == run(texts, [], reopen=False)


def test_the_random_streams_reach_every_case():
    result = run(records_of(1, 1500), [], reopen=False)
    assert {"copies", "duplicates", "late", "without_topic"} <= {name for name, _ in result["monitor_figures"]}
    assert len(result["monitor_alerts"]) > 3
    assert len({alert[3] for alert in result["monitor_alerts"]}) == 2, "both kinds"
