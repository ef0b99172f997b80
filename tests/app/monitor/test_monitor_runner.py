"""The loop over the sources: stopping, waiting, catching up, and a store that is busy."""

import json
from dataclasses import replace

import pytest
from list_source import ListSource, open_pipeline, texts_of

from monitor_stand_ins import START
from turnwise.app.monitor.runner import RunOptions, run_sources
from turnwise.core.errors import Unavailable
from turnwise.store import open_monitor_store


@pytest.fixture
def store():
    opened = open_monitor_store("sqlite:///:memory:")
    yield opened
    opened.close()


def run(pipeline, sources, *, stop_after=10**9, clock=lambda: START, sleep=lambda _: None, **options):
    calls = []
    run_sources(
        pipeline, sources, RunOptions(**options), is_stopped=lambda: len(calls) >= stop_after,
        on_batch=lambda processed, _: calls.append(processed), clock=clock, sleep=sleep,
    )  # fmt: skip
    return calls


def test_a_recording_is_read_to_its_end_and_all_windows_close(store):
    run(open_pipeline(store), [ListSource("a", texts_of("a", range(0, 200, 10)))], is_recording=True, batch_size=3)
    assert store.figures()["texts"] == 20
    assert sum(count.count for count in store.counts("Acme", 0)) == 20
    assert store.states()["stream"]["windows"]["open_from"] == START + 240


def test_a_run_that_is_stopped_ends_after_a_batch_and_the_next_one_continues(store):
    source = ListSource("a", texts_of("a", range(10)))
    run(open_pipeline(store), [source], stop_after=2, batch_size=3)
    assert store.positions() == {"a": {"n": 6}}
    assert source.confirmed == 6
    run(open_pipeline(store), [source], batch_size=3)
    assert store.figures() == {"texts": 10}


def test_a_run_that_ends_after_the_first_batch_of_the_first_of_two_sources_can_be_continued(store):
    sources = [ListSource(name, texts_of(name, range(5))) for name in "ab"]
    for stop_after in (1, 10):
        run(open_pipeline(store), sources, stop_after=stop_after)
    assert store.figures() == {"texts": 10}
    assert [entry.number for entry in store.texts_from(0)] == list(range(10))


def test_a_source_that_catches_up_is_not_late(store):
    behind, live = (
        ListSource("b", texts_of("b", range(0, 600, 20))),
        ListSource("a", texts_of("a", range(500, 600, 20))),
    )
    for entry in (behind, live):
        entry.texts = [t.__class__(t.id, t.text, t.time, entry.name) for t in entry.texts]
    run(open_pipeline(store), [live, behind], batch_size=2, is_recording=True)
    assert store.figures().get("late") is None
    assert sum(count.count for count in store.counts("Acme", 0)) == 35


def test_windows_close_by_the_clock_when_no_text_comes(store):
    now = [START + 10.0]
    texts = texts_of("a", range(6))

    def sleep(seconds):
        now[0] += seconds

    pipeline = open_pipeline(store)
    run(pipeline, [ListSource("a", texts, has_end=False)], stop_after=2, clock=lambda: now[0], sleep=sleep)
    (alert,) = store.alerts(10)
    assert alert.opened == START + 60
    assert START + 90 <= now[0] < START + 92, "the end of the window and the lateness"


def test_windows_close_by_the_clock_after_it_was_set_back(store):
    now = [START + 50_000.0]

    def sleep(seconds):
        now[0] += seconds if now[0] < START + 1000 else START + 10 - now[0]

    pipeline = open_pipeline(store)
    sources = [ListSource("a", texts_of("a", range(6)), has_end=False)]
    run_sources(
        pipeline, sources, RunOptions(), is_stopped=lambda: START + 200 < now[0] < START + 1000,
        on_batch=lambda *_: None, clock=lambda: now[0], sleep=sleep,
    )  # fmt: skip
    assert store.alerts(10)


def test_a_recording_that_is_followed_is_not_closed_by_the_clock(store):
    now = [START + 100_000.0]
    stop = []

    def sleep(seconds):
        now[0] += seconds
        stop.append(now[0] > START + 101_000)

    run_sources(
        open_pipeline(store), [ListSource("a", texts_of("a", range(6)), has_end=False)], RunOptions(),
        is_stopped=lambda: any(stop), on_batch=lambda *_: None, clock=lambda: now[0], sleep=sleep,
    )  # fmt: skip
    assert store.alerts(10) == []


def test_a_busy_store_is_tried_again(store, monkeypatch):
    commit, failures = store.commit, [Unavailable("busy"), Unavailable("busy")]

    def busy_commit(batch):
        if failures:
            raise failures.pop()
        commit(batch)

    monkeypatch.setattr(store, "commit", busy_commit)
    pauses = []
    run(open_pipeline(store), [ListSource("a", texts_of("a", range(4)))], sleep=pauses.append, batch_size=3)
    assert store.figures() == {"texts": 4}
    assert len(pauses) == 2


def test_once_ends_when_the_sources_have_nothing(store):
    run(open_pipeline(store), [ListSource("a", texts_of("a", range(4)), has_end=False)], once=True)
    assert json.dumps(store.positions()) == '{"a": {"n": 4}}'


class PolledSource(ListSource):
    """A list that is asked again at a fixed time only."""

    next_read = START + 70.0

    def read(self, position, limit):
        return replace(super().read(position, limit), next_read=self.next_read)


@pytest.mark.parametrize(("next_read", "is_closed"), [(START + 89.0, False), (START + 91.0, True), (None, True)])
def test_the_clock_closes_no_window_that_a_polled_source_may_still_have_texts_for(store, next_read, is_closed):
    now = [START + 10.0]

    def sleep(seconds):
        now[0] += seconds

    polled = PolledSource("feed", [], has_end=False)
    polled.next_read = next_read
    run_sources(
        open_pipeline(store), [ListSource("a", texts_of("a", range(6)), has_end=False), polled], RunOptions(),
        is_stopped=lambda: now[0] > START + 200, on_batch=lambda *_: None, clock=lambda: now[0], sleep=sleep,
    )  # fmt: skip
    assert bool(store.alerts(10)) == is_closed
