"""Stored statistics of another version: an older one is learned anew and keeps the alerts, a newer one is refused."""

from dataclasses import replace

import pytest

from monitor_stand_ins import DETECTION, START, TOPICS, WINDOW, ThresholdDetector, text
from turnwise.app.monitor.classifier_identity import ClassifierIdentity
from turnwise.app.monitor.detection import load_detection
from turnwise.app.monitor.monitor_state import RELABEL_NOTICE, RELEARN_NOTICE
from turnwise.app.monitor.pipeline import MonitorPipeline
from turnwise.app.monitor.pipeline_settings import PipelineSettings
from turnwise.app.monitor.sentiment import SentimentLabeller
from turnwise.app.monitor.window_counter import WindowSettings
from turnwise.core.errors import UserError
from turnwise.core.monitor_batch import MonitorBatch
from turnwise.monitor.surge_detector import STATE_VERSION
from turnwise.store import open_monitor_store

URL = "https://example.com/hook"
NO_CLASSIFIER = ClassifierIdentity()
FIRST, RETRAINED = ClassifierIdentity("runs/a", "1"), ClassifierIdentity("runs/a", "2")


class VersionedDetector(ThresholdDetector):
    version = 1

    def state(self):
        return {**super().state(), "version": self.version}


def detection(version):
    class Detector(VersionedDetector):
        pass

    Detector.version = version
    return replace(DETECTION, open_detector=Detector, detector_version=version, copies_version=version)


@pytest.fixture
def store():
    opened = open_monitor_store("sqlite:///:memory:")
    yield opened
    opened.close()


def open_pipeline(store, version, snapshot_texts=1, labelled_by=NO_CLASSIFIER):
    settings = PipelineSettings(
        WindowSettings(WINDOW, 30.0), max_future_seconds=None, snapshot_texts=snapshot_texts, labelled_by=labelled_by
    )
    return MonitorPipeline(
        store, detection(version), TOPICS, SentimentLabeller(None), settings, [URL], clock=lambda: START
    )


def surge(at=0):
    return [text(at + second, f"acme {at} {second}") for second in range(6)]


def test_detectors_of_an_older_version_are_replaced_and_alerts_counts_and_texts_stay(store):
    open_pipeline(store, 1).process([*surge(), text(95, "acme next")])
    (alert,) = store.alerts(9)
    counts, texts = store.counts(None, 0), store.texts_from(0)
    pipeline = open_pipeline(store, 2)
    assert pipeline.notices == [RELEARN_NOTICE]
    pipeline.process([text(96, "acme again")])
    (closed,) = store.alerts(9)
    assert closed == replace(alert, closed=START + 65), "no detector will close it"
    assert store.counts(None, 0)[0] == counts[0]
    assert store.texts_from(0)[:-1] == texts
    assert [delivery.event.id for delivery in store.deliveries("pending")] == [
        f"{alert.id}_opened", f"{alert.id}_closed"
    ]  # fmt: skip
    assert "detector:Acme" not in store.states()
    again = open_pipeline(store, 2)
    assert again.notices == []
    again.process([*surge(600), text(800, "acme")])
    assert [alert.start for alert in store.alerts(9)] == [START + 600, START]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (NO_CLASSIFIER, FIRST),
        (FIRST, NO_CLASSIFIER),
        (FIRST, ClassifierIdentity("runs/b", "2")),
        (FIRST, RETRAINED),
        (ClassifierIdentity("runs/a"), ClassifierIdentity("runs/b", "1")),
    ],
)
def test_detectors_that_learned_the_labels_of_another_classifier_are_replaced(store, before, after):
    open_pipeline(store, 1, labelled_by=before).process([*surge(), text(95, "acme next")])
    (alert,) = store.alerts(9)
    pipeline = open_pipeline(store, 1, labelled_by=after)
    assert pipeline.notices == [RELABEL_NOTICE]
    pipeline.process([text(96, "acme again")])
    assert store.alerts(9) == [replace(alert, closed=START + 65)]
    assert "detector:Acme" not in store.states()
    assert open_pipeline(store, 1, labelled_by=after).notices == []


@pytest.mark.parametrize("before", [FIRST, ClassifierIdentity("runs/elsewhere", "1"), ClassifierIdentity("runs/a")])
def test_detectors_of_the_same_classifier_are_continued(store, before):
    open_pipeline(store, 1, labelled_by=before).process([*surge(), text(95, "acme next")])
    pipeline = open_pipeline(store, 1, labelled_by=FIRST)
    assert pipeline.notices == []
    pipeline.process([text(96, "acme again")])
    assert "detector:Acme" in store.states()
    assert open_pipeline(store, 1, labelled_by=RETRAINED).notices == [RELABEL_NOTICE], "the files are known now"


def test_the_index_of_near_copies_of_an_older_version_is_built_from_the_stored_texts(store):
    pipeline = open_pipeline(store, 1)
    pipeline.process([text(0, "acme of long ago")])
    pipeline.process([text(30_000, "acme repeats")])
    assert open_pipeline(store, 2).process([text(30_001, "ACME repeats")]).num_texts == 1
    assert [entry.copy_of for entry in store.texts_from(0)] == [None, None, 1]
    open_pipeline(store, 2).process([text(30_002, "Acme Repeats")])
    assert [entry.copy_of for entry in store.texts_from(0)] == [None, None, 1, 1]


def test_statistics_of_a_newer_version_are_refused_and_stay(store):
    open_pipeline(store, 2).process([*surge(), text(95, "acme next")])
    states = store.states()
    with pytest.raises(UserError, match=r"newer Turnwise.*Update Turnwise, or name another store with --db"):
        open_pipeline(store, 1)
    assert store.states() == states


def test_the_detector_writes_its_version_and_settings_that_do_not_fit_are_reported_at_the_start(store):
    loaded = load_detection({})
    assert loaded.detector_version == STATE_VERSION
    state = loaded.open_detector(None).state()
    assert state["version"] == STATE_VERSION
    store.commit(MonitorBatch(states={"detector:Acme": state}))
    elsewhere = load_detection({"time_zone": "America/New_York"})
    with pytest.raises(UserError, match="time zone UTC; it cannot continue in America/New_York"):
        MonitorPipeline(store, elsewhere, TOPICS, SentimentLabeller(None))
