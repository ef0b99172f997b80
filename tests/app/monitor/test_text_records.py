"""Records: text, time, id and labels of a line."""

import pytest
from source_batches import RECORDS

from turnwise.app.monitor.sources.text_records import TextRecords, parse_time
from turnwise.core.errors import InvalidParameter


def test_a_json_line_gives_text_time_id_and_labels():
    line = '{"text": " hé ", "time": "2023-11-14T22:13:20Z", "id": 7, "sentiment": "bearish", "topics": ["A"]}'
    text = RECORDS.parse_line(line.encode(), "p")
    assert (text.id, text.text, text.time, text.source) == ("s:7", "hé", 1_700_000_000.0, "s")
    assert (text.sentiment, text.topics) == ("bearish", ("A",))


def test_a_plain_line_has_the_time_of_its_arrival_and_an_id_of_its_place():
    first, second, again = (RECORDS.parse_line(b"hello", place) for place in ("p1", "p2", "p1"))
    assert (first.text, first.time) == ("hello", 99.0)
    assert first.id == again.id != second.id


@pytest.mark.parametrize(
    "line",
    [b'{"text": 3}', b'{"text": ""}', b"{", b'{"text": "x", "time": "soon"}', b'{"text": "x", "time": -1}', b"  "],
)
def test_a_line_without_a_text_or_with_an_invalid_time_is_malformed(line):
    assert RECORDS.parse_line(line, "p") is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (1_700_000_000, 1.7e9), (1_700_000_000_500, 1_700_000_000.5), ("2023-11-14T22:13:20", 1.7e9),
        ("2023-11-14T23:13:20+01:00", 1.7e9), (True, None), ("", None), (float("inf"), None), (10**400, None),
        ([], None),
    ],
    ids=lambda value: str(value)[:20],
)  # fmt: skip
def test_times_are_seconds_milliseconds_or_iso(value, seconds):
    assert parse_time(value) == seconds


def test_number_and_length_of_topics_are_limited():
    topics = ["x" * 300, "", *(f"t{number}" for number in range(30)), "t1"]
    text = RECORDS.parse_record({"text": "a", "topics": topics}, "p")
    assert text.topics == ("x" * 200, *(f"t{number}" for number in range(19)))


def test_fields_can_have_other_names_and_unknown_ones_are_rejected():
    assert TextRecords("s", {"text": "body"}).parse_line(b'{"body": "x", "text": 1}', "p").text == "x"
    with pytest.raises(InvalidParameter, match="did you mean 'text'"):
        TextRecords("s", {"txt": "body"})


def test_a_text_that_utf_8_cannot_hold_is_repaired():
    assert RECORDS.parse_line(rb'{"text": "a\ud800b", "id": "\ud800"}', "p").text == "a?b"
