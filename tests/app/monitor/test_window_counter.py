"""Windows of event time: which texts are counted where, and when windows close."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from turnwise.app.monitor.window_counter import WindowCounter, WindowSettings

SETTINGS = WindowSettings(window_seconds=10, lateness_seconds=15.0, max_gap_seconds=100.0)
TIMES = st.lists(st.integers(1000, 1300), min_size=1, max_size=60)


def feed(counter, times):
    """Feed texts of one topic; returns the windows that closed, and the times that were late."""
    closed, late = [], []
    for time in times:
        counter.open_from(time)
        closed += [(count.start, count.count) for counts in counter.advance(time) for count in counts]
        if counter.add(["a"], time, copied_topics=(), is_negative=False) is None:
            late.append(time)
    return closed, late


def test_a_window_closes_when_the_newest_text_is_past_its_end_by_the_lateness():
    counter = WindowCounter(SETTINGS, ["a"])
    assert feed(counter, [1003, 1024])[0] == [(980, 0), (990, 0)]
    assert feed(counter, [1025])[0] == [(1000, 1)]


def test_a_text_of_a_closed_window_is_late_and_a_text_of_an_open_one_is_not():
    counter = WindowCounter(SETTINGS, ["a"])
    assert feed(counter, [1003, 1025, 1009, 1010])[1] == [1009]


def test_every_topic_has_every_window_and_a_new_topic_has_windows_from_its_first_text_on():
    counter = WindowCounter(SETTINGS, ["a", "b"])
    counter.open_from(1000)
    counter.add(["c"], 1000, copied_topics=(), is_negative=True)
    closed = list(counter.advance(1040))
    assert [[count.topic for count in counts] for counts in closed] == [["a", "b", "c"]] * 4
    assert [(c.start, c.texts, c.count, c.negative) for counts in closed for c in counts if c.texts] == [
        (1000, 1, 1, 1)
    ]


def test_a_copy_counts_as_a_text_only():
    counter = WindowCounter(SETTINGS, ["a"])
    counter.open_from(1000)
    for is_copy in (False, True, True):
        counter.add(["a"], 1000, copied_topics={"a"} if is_copy else (), is_negative=True)
    (count,) = counter.take_changed()
    assert (count.texts, count.count, count.negative) == (3, 1, 1)


def test_an_outage_is_left_out():
    counter = WindowCounter(SETTINGS, ["a"])
    closed, _ = feed(counter, [1003, 5003, 5030])
    assert [start for start, _ in closed] == [980, 990, 1000, 4980, 4990, 5000]


def test_a_topic_without_texts_is_forgotten_unless_it_is_configured():
    counter = WindowCounter(WindowSettings(10, 0, 1e9, max_topics=2, topic_seconds=100), ["a"])
    counter.open_from(1000)
    counter.add(["name"], 1000, copied_topics=(), is_negative=False)
    assert [[count.topic for count in counts] for counts in counter.advance(1110)] == [["a", "name"]] * 11
    assert counter.add(["other"], 1110, copied_topics=(), is_negative=False) == 1, "there is no room yet"
    counter = WindowCounter(WindowSettings(10, 0, 1e9, max_topics=2, topic_seconds=100), ["a"], counter.state())
    assert [[count.topic for count in counts] for counts in counter.advance(1120)] == [["a"]]
    assert counter.take_forgotten() == ["name"]
    assert counter.take_forgotten() == []
    assert counter.add(["other"], 1120, copied_topics=(), is_negative=False) == 0


def test_topics_beyond_the_limit_are_ignored():
    counter = WindowCounter(WindowSettings(10, 0, 100, max_topics=1), [])
    counter.open_from(1000)
    assert counter.add(["a", "b"], 1000, copied_topics=(), is_negative=False) == 1
    assert counter.add(["a"], 1000, copied_topics=(), is_negative=False) == 0


@given(TIMES)
def test_every_text_that_is_not_late_is_in_one_closed_window(times):
    counter = WindowCounter(SETTINGS, ["a"])
    closed, late = feed(counter, times)
    closed += [(count.start, count.count) for counts in counter.advance(2000) for count in counts]
    expected = Counter(time // 10 * 10 for time in times) - Counter(time // 10 * 10 for time in late)
    assert {start: count for start, count in closed if count} == dict(expected)
    starts = [start for start, _ in closed]
    assert starts == sorted(set(starts)), "windows close once and in order"


@given(TIMES, st.integers(0, 60))
def test_a_counter_continues_from_its_state(times, cut):
    undisturbed = WindowCounter(SETTINGS, ["a"])
    expected = feed(undisturbed, times)
    first = WindowCounter(SETTINGS, ["a"])
    closed, late = feed(first, times[:cut])
    stored = first.take_changed()
    state = first.state()
    open_counts = [count for count in stored if state["open_from"] is not None and count.start >= state["open_from"]]
    second = WindowCounter(SETTINGS, ["a"], state, open_counts)
    closed_after, late_after = feed(second, times[cut:])
    assert (closed + closed_after, late + late_after) == expected
    assert second.state() == undisturbed.state()


def merged(times_of_sources):
    """Windows of one source that has the texts of all in order, and late texts."""
    counter = WindowCounter(SETTINGS, ["a"])
    closed, late = feed(counter, sorted(time for times in times_of_sources for time in times))
    return closed + close_all(counter), late


def close_all(counter):
    return [(counts[0].start, counts[0].count) for counts in counter.advance(2000)]


SORTED_TIMES = st.lists(st.integers(1000, 1700), min_size=1, max_size=12).map(sorted)


@given(st.lists(SORTED_TIMES, min_size=2, max_size=3), st.data())
def test_sources_that_wait_for_each_other_give_the_windows_of_one_source_with_all_texts(sources, data):
    expected = merged(sources)
    counter, closed, late = WindowCounter(SETTINGS, ["a"]), [], []
    unread = [list(times) for times in sources]
    reached = [float("-inf") for _ in sources]
    while any(unread):
        number = data.draw(st.sampled_from([number for number, times in enumerate(unread) if times]))
        time = unread[number].pop(0)
        reached[number] = time
        others = [reached[other] for other, times in enumerate(unread) if other != number and times]
        counter.open_from(time)
        closed += [(counts[0].start, counts[0].count) for counts in counter.advance(min([time, *others]))]
        if counter.add(["a"], time, copied_topics=(), is_negative=False) is None:
            late.append(time)
    assert (closed + close_all(counter), late) == expected


def test_a_source_that_catches_up_over_a_quiet_gap_closes_nothing_that_it_has_not_reached():
    counter = WindowCounter(SETTINGS, ["a"])
    feed(counter, [1003])
    for time in range(1003, 1300, 10):  # a fast source; the slow one has reached 1003
        list(counter.advance(1003))
        counter.add(["a"], time, copied_topics=(), is_negative=False)
    assert [counts[0].start for counts in counter.advance(1150)][-1] == 1120
    assert counter.add(["a"], 1150, copied_topics=(), is_negative=False) == 0
