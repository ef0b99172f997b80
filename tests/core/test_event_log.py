"""Events as JSON lines: readers go on where they were, whatever a killed writer has left."""

import json

from hypothesis import given
from hypothesis import strategies as st

from turnwise.core.event_log import EventLog, open_event_log, read_events


def write(path, *values):
    with open_event_log(path) as log:
        for value in values:
            log.write("step", value=value)


def test_a_reader_continues_after_the_last_complete_line(tmp_path):
    path = tmp_path / "events.jsonl"
    write(path, 1, 2)
    first, position = read_events(path)
    with path.open("a") as file:
        file.write('{"event": "step", "val')
    assert [event["value"] for event in first] == [1, 2]
    assert read_events(path, position) == ([], position)


def test_a_line_that_a_killed_process_left_is_skipped(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_text('{"event": "step", "val')
    write(path, 3)
    assert [event["value"] for event in read_events(path)[0]] == [3]


def test_numbers_that_are_not_finite_become_null(tmp_path):
    path = tmp_path / "events.jsonl"
    write(path, float("nan"), [float("inf"), {"x": float("-inf")}])
    assert [event["value"] for event in read_events(path)[0]] == [None, [None, {"x": None}]]
    assert "NaN" not in path.read_text()


def test_a_progress_is_written_seldom_and_at_its_end(tmp_path):
    log = EventLog(tmp_path / "events.jsonl")
    for done in range(1, 101):
        log.write_progress("replay", done, 100)
    log.close()
    counts = [event["done"] for event in read_events(tmp_path / "events.jsonl")[0]]
    assert counts[0] == 1
    assert counts[-1] == 100
    assert len(counts) < 50


def test_a_missing_file_has_no_events(tmp_path):
    assert read_events(tmp_path / "none.jsonl", 7) == ([], 7)


@given(st.lists(st.text(max_size=40), max_size=20), st.integers(1, 200))
def test_all_events_are_read_once_whatever_the_size_of_a_read(tmp_path_factory, texts, max_bytes):
    path = tmp_path_factory.mktemp("events") / "events.jsonl"
    lines = [json.dumps({"event": "text", "text": text}) + "\n" for text in texts]
    path.write_text("".join(lines))
    longest = max(map(len, lines), default=1)
    read, position = [], 0
    while (chunk := read_events(path, position, max(max_bytes, longest)))[1] > position:
        read += [event["text"] for event in chunk[0]]
        position = chunk[1]
    assert read == texts
