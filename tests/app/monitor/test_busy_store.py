"""A store that another process uses: the batch waits, and nothing is loaded or computed again."""

import sqlite3
from contextlib import closing

import pytest
from list_source import ListSource, texts_of

from monitor_stand_ins import DETECTION, START, TOPICS, WINDOW, WordClassifier, text
from turnwise.app.monitor.pipeline import MonitorPipeline
from turnwise.app.monitor.pipeline_settings import PipelineSettings
from turnwise.app.monitor.runner import RunOptions, run_sources
from turnwise.app.monitor.sentiment import SentimentLabeller
from turnwise.app.monitor.window_counter import WindowSettings
from turnwise.core.errors import Unavailable
from turnwise.store import open_monitor_store
from turnwise.store.sqlite import database


@pytest.fixture
def store(tmp_path):
    opened = open_monitor_store(f"sqlite:///{tmp_path / 'monitor.db'}")
    yield opened
    opened.close()


def count_calls(monkeypatch, store, names):
    """Numbers of calls of a store's methods."""
    calls = dict.fromkeys(names, 0)

    def counted(name, method):
        def call(*arguments, **values):
            calls[name] += 1
            return method(*arguments, **values)

        return call

    for name in names:
        monkeypatch.setattr(store, name, counted(name, getattr(store, name)))
    return calls


def follow(store, classifier, sources, **values):
    settings = PipelineSettings(WindowSettings(WINDOW, 30.0), max_future_seconds=None)
    pipeline = MonitorPipeline(store, DETECTION, TOPICS, SentimentLabeller(classifier), settings, clock=lambda: START)
    values = {"is_stopped": lambda: False, "on_batch": lambda *_: None, "clock": lambda: START, **values}
    run_sources(pipeline, sources, RunOptions(once=True, batch_size=8), **values)


def test_a_batch_waits_until_another_process_releases_the_store(store, monkeypatch):
    monkeypatch.setattr(database, "LOCK_SECONDS", 0.05)
    calls, classifier = count_calls(monkeypatch, store, ["states", "stored_ids", "commit"]), WordClassifier()
    pauses, reports = [], []
    with closing(sqlite3.connect(store._path, isolation_level=None, timeout=0.1)) as other:
        other.execute("BEGIN IMMEDIATE")

        def sleep(seconds):
            pauses.append(seconds)
            if len(pauses) == 2:
                other.execute("COMMIT")

        source = ListSource("a", texts_of("a", [*range(6), 95]), has_end=False)
        follow(store, classifier, [source], sleep=sleep, on_busy_store=reports.append)
    assert len(pauses) == 2
    assert calls == {"states": 1, "stored_ids": 1, "commit": 3}
    assert classifier.num_texts == 7, "texts are labelled once"
    assert store.figures()["texts"] == 7
    assert len(store.alerts(9)) == 1
    assert len(reports) == 1
    assert "another process has been using it" in reports[0]
    assert source.confirmed == 7


@pytest.mark.parametrize("name", ["stored_ids", "topic_texts", "commit"])
def test_every_call_of_a_batch_is_repeated_alone(store, monkeypatch, name):
    method, failures = getattr(store, name), [Unavailable("busy")] * 3
    loads = count_calls(monkeypatch, store, ["states"])

    def busy(*arguments, **values):
        if failures:
            raise failures.pop()
        return method(*arguments, **values)

    monkeypatch.setattr(store, name, busy)
    pauses = []
    follow(store, None, [ListSource("a", texts_of("a", [*range(6), 95]), has_end=False)], sleep=pauses.append)
    assert (len(pauses), loads["states"]) == (3, 1)
    assert sum(count.count for count in store.counts("Acme", 0)) == 7
    assert len(store.alert_texts(store.alerts(9)[0].id)) == 6


def test_a_run_that_is_stopped_while_it_waits_stores_nothing_and_the_next_one_continues(store, monkeypatch):
    stop = []
    source = ListSource("a", texts_of("a", range(4)), has_end=False)
    with monkeypatch.context() as patch:
        patch.setattr(store, "commit", lambda batch: (_ for _ in ()).throw(Unavailable("busy")))
        follow(store, None, [source], is_stopped=lambda: bool(stop), sleep=stop.append)
    assert (store.figures(), source.confirmed) == ({}, 0)
    follow(store, None, [source])
    assert store.figures() == {"texts": 4}


def test_a_pipeline_without_a_loop_raises(store, monkeypatch):
    monkeypatch.setattr(store, "stored_ids", lambda ids: (_ for _ in ()).throw(Unavailable("busy")))
    pipeline = MonitorPipeline(store, DETECTION, TOPICS, SentimentLabeller(None))
    with pytest.raises(Unavailable):
        pipeline.process([text(0)])
