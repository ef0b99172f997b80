"""A simulated stream is reproducible and holds the surges that it reports."""

from collections import Counter

import pytest

from turnwise.app.monitor.simulation import simulated_stream
from turnwise.app.monitor.simulation.simulated_stream import SimulatedStream, StreamSettings
from turnwise.app.monitor.simulation.simulated_texts import compose_post

SETTINGS = StreamSettings(posts_per_day=3000, topics=5, history_days=1, surges=4)


@pytest.fixture(scope="module")
def stream():
    return SimulatedStream(SETTINGS)


@pytest.fixture(scope="module")
def posts(stream):
    return list(stream.posts())


def test_a_seed_gives_the_same_posts(posts):
    assert list(SimulatedStream(SETTINGS).posts()) == posts


def test_posts_come_in_the_order_of_time(posts):
    times = [post.time for post in posts]
    assert times == sorted(times)


def test_posts_without_copies_are_the_counts(stream, posts):
    per_topic = Counter(post.topic for post in posts if not post.is_copy)
    negative = Counter(post.topic for post in posts if post.sentiment == "negative" and not post.is_copy)
    for index, topic in enumerate(stream.topics):
        assert per_topic[topic] == stream.counts_TW[index, -288:].sum()
        assert negative[topic] == stream.negative_TW[index, -288:].sum()


def test_a_fifth_of_the_posts_are_copies(posts):
    assert sum(post.is_copy for post in posts) / len(posts) == pytest.approx(0.2, abs=0.01)


def test_surges_are_in_the_counts(stream):
    assert len(stream.surges) == 4
    quiet = SimulatedStream(StreamSettings(posts_per_day=3000, topics=5, history_days=1, surges=0))
    mean = quiet.counts_TW[:, -288:].mean(axis=1)
    for surge in stream.surges:
        assert 2 <= surge.factor <= 6
        assert 1200 <= surge.end - surge.start <= 7200
        assert mean[stream.topics.index(surge.topic)] > 0
        during = (stream.starts_W >= surge.start) & (stream.starts_W < surge.end)
        index = stream.topics.index(surge.topic)
        if surge.kind == "negative_share":
            share = stream.negative_TW[index, during].sum() / stream.counts_TW[index, during].sum()
            assert share > 0.3


def test_the_first_posts_come_before_later_ones_are_composed(stream, monkeypatch):
    composed = []

    def compose(*arguments):
        composed.append(arguments)
        return compose_post(*arguments)

    monkeypatch.setattr(simulated_stream, "compose_post", compose)
    counts_W = stream.counts_TW[:, -288:].sum(axis=0)
    next(stream.posts())
    assert len(composed) == counts_W[counts_W > 0][0], "those of the first window"


def test_copies_come_after_their_originals(posts):
    times = {post.text: post.time for post in posts if not post.is_copy}
    unedited = [post for post in posts if post.is_copy and post.text in times]
    assert unedited
    assert all(post.time > times[post.text] for post in unedited)
